//! A token request under a lease, and what others learn of it.

use std::{pin::pin, sync::Arc, time::Duration};

use futures_util::future::{Either, select};
use tokio::time::{Instant, sleep};

use crate::{
    after_commit::AfterCommit,
    error::Error,
    events, runtime,
    source::TokenSource,
    store::{
        fields::Hash,
        link::{Unavailable, Urgency},
        names::{Names, refresh_token_hash},
        record::Record,
        shared_failure::SharedFailure,
        shared_token::SharedToken,
        sharing::{Outcome, Said, Sharing, Wanted},
        token_store::{Lease, LeaseAnswer, LeaseOwner},
    },
    token::AccessToken,
};

/// The wait before an outcome is committed again that the store did not take.
const COMMIT_WAIT: Duration = Duration::from_millis(100);

/// How long it is tried in the background.
const COMMITS_LATER_FOR: Duration = Duration::from_secs(120);

/// How a commit ended.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Committed {
    Yes,
    /// The lease is not held any more.
    Refused,
    /// The store did not answer. It may have committed.
    Unknown,
}

/// What a token request brought.
struct Brought {
    result: Result<AccessToken, Error>,
    /// The refresh tokens that were used and received.
    used: Vec<Hash>,
    /// The stored token whose place it takes, because it may have ended.
    doubtful: Option<Hash>,
}

impl Sharing {
    /// Gets a token from the source, with the lease that was asked for at this time, and tells the others.
    pub(super) async fn exchange(self: &Arc<Self>, lease: Lease, asked: Instant, wanted: &mut Wanted) -> Outcome {
        let shared = self.shared();
        let names = wanted.names.clone();
        // Another process may have had the lease since the last reading.
        let Ok((_, record)) = self.load(&names).await else { return Outcome::Done(self.alone(wanted).await) };
        if let Said::Done(done) = self.ask_record(record.as_ref(), wanted).await {
            shared.link.release(names.key, lease).await;
            return Outcome::Done(done);
        }
        let mut record = record.unwrap_or_default();
        // A doubtful one stays doubtful for all, until there is another one.
        if let (Some(rejected), None) = (&wanted.rejected, &wanted.doubtful)
            && record.slot_mut(&names.slot).end(rejected, shared.now())
        {
            // Before the request, so that nobody takes the token meanwhile.
            record.fence = lease.fence;
            match self.commit(&names, lease, &record).await {
                Committed::Yes => wanted.is_told = true,
                Committed::Refused => {
                    shared.link.release(names.key, lease).await;
                    return Outcome::Again;
                }
                Committed::Unknown => {}
            }
        }

        let requesting = self.requesting.read().await;
        if asked.elapsed() >= shared.lease {
            // Nobody drove this for some time. Another process may use the refresh token now.
            return Outcome::Again;
        }
        self.continue_with_stored(record.refresh.as_ref(), &names).await;
        let before = self.source.refresh_token().map(|token| refresh_token_hash(shared, &token));
        {
            // This may end at any time, and then the source's own refresh token may be the newer one.
            let mut memory = self.memory();
            memory.outdated_refresh = memory.outdated_refresh.take().or_else(|| memory.shared_refresh.clone());
        }
        shared.link.counters.exchanges.add();
        let after_commit = AfterCommit::default();
        let (result, is_lost) = after_commit.scope(self.drive(lease, asked, wanted)).await;
        let after = self.source.refresh_token().map(|token| refresh_token_hash(shared, &token));
        let used = names.given.iter().cloned().chain(before).chain(after).collect();
        if let Ok(token) = &result {
            self.note_issued(token);
        }
        let doubtful = wanted.doubtful.as_ref().map(|token| token.hash.clone());
        let brought = Brought { result, used, doubtful };
        let answer = self.publish(lease, is_lost, record, &brought, wanted).await;
        drop(requesting);
        drop(after_commit);
        Outcome::Done(answer)
    }

    /// Asks the source, and keeps the lease meanwhile. Returns whether the lease was lost.
    async fn drive(&self, lease: Lease, asked: Instant, wanted: &Wanted) -> (Result<AccessToken, Error>, bool) {
        let asking = pin!(self.source.obtain(wanted.why.clone()));
        let losing = pin!(self.extend_until_lost(lease, asked, &wanted.names));
        match select(asking, losing).await {
            Either::Left((result, _)) => (result, false),
            Either::Right(((), asking)) => {
                self.note_lease_lost();
                (asking.await, true)
            }
        }
    }

    fn note_lease_lost(&self) {
        self.shared().link.counters.lost_leases.add();
        events::lease_lost(self.shared().link.name());
    }

    /// Extends the lease each third of its time. Ends when it is lost.
    async fn extend_until_lost(&self, lease: Lease, asked: Instant, names: &Names) {
        let shared = self.shared();
        // It counts from before the request, not from the answer.
        let mut held_until = asked + shared.lease;
        while Instant::now() < held_until {
            sleep(shared.lease / 3).await;
            let asked = Instant::now();
            match shared.link.lease(names.key, lease.owner, shared.lease, Urgency::Urgent).await {
                Ok(LeaseAnswer::Given(extended)) if extended == lease => held_until = asked + shared.lease,
                Ok(LeaseAnswer::Given(another)) => {
                    // Nobody needs it.
                    shared.link.release(names.key, another).await;
                    return;
                }
                Ok(LeaseAnswer::Held(_)) => return,
                Err(Unavailable) => {}
            }
        }
    }

    /// Commits what a token request brought, and ends the lease. Returns what this process uses.
    async fn publish(
        self: &Arc<Self>,
        lease: Lease,
        is_lost: bool,
        mut record: Record,
        brought: &Brought,
        wanted: &mut Wanted,
    ) -> Result<AccessToken, Error> {
        let (shared, names) = (self.shared(), wanted.names.clone());
        // What was committed under a later lease is another process's.
        let base = lease.fence;
        self.note(&mut record, brought, lease, &names);
        let committed = if is_lost { Committed::Refused } else { self.commit(&names, lease, &record).await };
        match committed {
            Committed::Yes => {
                wanted.is_told = true;
                self.note_committed(&record);
                shared.link.release(names.key, lease).await;
                return brought.result.clone();
            }
            Committed::Unknown => {
                self.commit_later(lease, base, record, names);
                return brought.result.clone();
            }
            Committed::Refused if is_lost => {}
            Committed::Refused => self.note_lease_lost(),
        }
        // It may still be held if the store is at fault.
        shared.link.release(names.key, lease).await;
        // Another process may have had the lease since, and a newer token. If not, this one is the newest.
        let owner = LeaseOwner(fastrand::u128(..));
        let leased = shared.link.lease(names.key, owner, shared.lease, Urgency::Urgent).await;
        let (mut newer, mut held) = (None, Lease { owner, fence: base });
        if let (Ok(answer), Ok((_, found))) = (leased, self.load(&names).await) {
            let is_newest = found.as_ref().is_none_or(|found| found.fence <= base);
            if let LeaseAnswer::Given(lease) = answer {
                held = lease;
            }
            if let (LeaseAnswer::Given(lease), true) = (answer, is_newest) {
                record.fence = lease.fence;
                let committed = self.commit(&names, lease, &record).await;
                if committed == Committed::Yes {
                    wanted.is_told = true;
                    self.note_committed(&record);
                }
                if committed != Committed::Unknown {
                    // A store that refuses the lease that it gave does not get better.
                    shared.link.release(names.key, lease).await;
                    return brought.result.clone();
                }
            }
            if let Said::Done(Ok(token)) = self.ask_record(found.as_ref(), wanted).await {
                newer = Some(token);
            }
        }
        self.commit_later(held, base, record, names);
        newer.map_or_else(|| brought.result.clone(), Ok)
    }

    /// Writes into a record what a token request brought.
    fn note(&self, record: &mut Record, brought: &Brought, lease: Lease, names: &Names) {
        let now = self.shared().now();
        record.fence = lease.fence;
        let own = self.source.refresh_token();
        // Wrong credentials bring nothing that could take the place of the refresh token that others use.
        let is_wrong = brought.result.as_ref().is_err_and(|error| own.is_none() || error.is_terminal());
        let is_of_others = record.refresh.as_ref().is_some_and(|refresh| names.differ_from(refresh));
        if !(is_wrong && is_of_others) {
            record.continue_with(own.as_ref(), &names.tag, brought.used.clone());
        }
        let rejected = self.memory().rejected.clone();
        let slot = record.slot_mut(&names.slot);
        for hash in rejected {
            slot.end(&hash, now);
        }
        match &brought.result {
            Ok(token) => {
                let hash = self.token_hash(token);
                if let Some(doubtful) = &brought.doubtful {
                    slot.end(doubtful, now);
                }
                slot.ended.retain(|(ended, _)| *ended != hash);
                slot.token = Some(SharedToken::new(token, hash, now));
                slot.failures.clear();
            }
            Err(error) => {
                let before = slot.failure(&names.tag);
                if let Some(failure) = SharedFailure::after(before, error, lease.fence, &names.tag, now) {
                    slot.fail(failure);
                }
            }
        }
    }

    /// Commits in the background what the store did not take yet, if only this process has the successor of the refresh token that was
    /// used. Meanwhile, nobody else gets the lease. Otherwise the lease ends, because others can ask the issuer too.
    fn commit_later(self: &Arc<Self>, lease: Lease, base: u64, mut record: Record, names: Arc<Names>) {
        let Ok(runtime) = runtime::current() else { return };
        let (sharing, owner) = (Arc::clone(self), lease.owner);
        runtime.spawn(async move {
            let (shared, began) = (Arc::clone(sharing.shared()), Instant::now());
            if names.given.is_none() {
                return shared.link.release(names.key, lease).await;
            }
            while began.elapsed() < COMMITS_LATER_FOR {
                sleep(COMMIT_WAIT).await;
                // The same owner: if the lease is still held, it is extended.
                let leased = shared.link.lease(names.key, owner, shared.lease, Urgency::Urgent).await;
                let Ok(LeaseAnswer::Given(lease)) = leased else { continue };
                let Ok((_, found)) = sharing.load(&names).await else { continue };
                let is_newest = found.as_ref().is_none_or(|found| found.fence <= base);
                if is_newest {
                    record.fence = lease.fence;
                    match sharing.commit(&names, lease, &record).await {
                        Committed::Yes => {}
                        Committed::Unknown => continue,
                        Committed::Refused => return shared.link.release(names.key, lease).await,
                    }
                }
                if is_newest || found.is_some_and(|found| found.fence == record.fence) {
                    sharing.note_committed(&record);
                }
                return shared.link.release(names.key, lease).await;
            }
        });
    }

    /// Notes that the others have the refresh token of the source.
    fn note_committed(&self, record: &Record) {
        let stored = record.refresh.as_ref().and_then(|refresh| refresh.token.as_ref());
        let stored = stored.map(|token| refresh_token_hash(self.shared(), &token.0));
        let mut memory = self.memory();
        (memory.outdated_refresh, memory.shared_refresh) = (None, stored);
    }

    pub(super) async fn commit(&self, names: &Names, lease: Lease, record: &Record) -> Committed {
        let shared = self.shared();
        let sealed = match names.seal(shared, record) {
            Ok(sealed) => sealed,
            Err(error) => {
                events::token_not_shared(shared.link.name(), &error);
                return Committed::Unknown;
            }
        };
        match shared.link.commit(names.key, lease, sealed, record.keep(shared.now())).await {
            Ok(true) => Committed::Yes,
            Ok(false) => Committed::Refused,
            Err(Unavailable) => Committed::Unknown,
        }
    }
}
