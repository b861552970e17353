//! When a renewal may ask the issuer, and what its outcome tells the others.
//!
//! In a pool, a renewal first waits for its place, and then asks what is known of its client. One that has to wait for the try
//! of another one gives its place back meanwhile. Then, as without a pool, it asks what is known of its credentials.

use std::{pin::pin, sync::Arc, time::Duration};

use futures_util::future::{Either, select};
use tokio::time::Instant;

use crate::{
    cache::{
        cache_core::{CacheCore, Renewed},
        client_state::{ClientState, Failed},
        clients::Client,
        family::{NumberedClient, Presents, Shared},
        places::Place,
        refusals::{Admission, SharedRefusals},
        single_flight::{Joined, Leader, Noted},
    },
    error::Error,
    recursion::Renewing,
    timer::{sleep, timeout},
};

/// How long a renewal of a pool may wait until it may ask. With places for 64 and an issuer that takes 50 ms, 76,000 renewals
/// are made in that time.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How often a renewal that waits shows that it is driven.
const BEAT: Duration = Duration::from_secs(2);

/// What a renewal has in its pool while it asks. Without a pool it is empty.
#[derive(Default)]
pub(crate) struct Entry {
    pub(crate) place: Option<Place>,
    pub(crate) client: Option<AskedClient>,
}

/// The client as which a renewal asks.
pub(crate) struct AskedClient {
    numbered: NumberedClient,
    /// Set if others wait for the outcome, or fail until it is there.
    trial: Option<Leader<()>>,
}

/// What a renewal asks its source with.
pub(crate) struct RenewalContext {
    pub(crate) credentials_version: u64,
    /// Set if these credentials had not been accepted yet, and others wait for the outcome.
    pub(crate) trial: Option<Leader<()>>,
    pub(crate) client: Option<AskedClient>,
    /// When the source was asked last.
    pub(crate) asked: Instant,
}

/// What came out, for the other caches. Its drop wakes those who wait.
#[must_use = "dropping it under a lock runs user code there"]
pub(crate) struct SharedOutcome {
    _refusals: Noted<SharedRefusals, ()>,
    _client: Option<(Noted<ClientState, ()>, Arc<Client>)>,
}

impl CacheCore {
    /// Waits until the pool lets a renewal ask.
    ///
    /// # Errors
    /// When the client was refused, when its issuer has an outage, or after [`LONGEST_WAIT`]. Without an error, the renewal is
    /// not wanted any more.
    pub(crate) async fn enter(&self, leader: &Leader<Renewed>) -> Result<Entry, Option<Error>> {
        let Some(shared) = &self.family.shared else { return Ok(Entry::default()) };
        let entered = timeout(LONGEST_WAIT, self.enter_pool(shared, leader)).await;
        entered.unwrap_or_else(|| Err(Some(Error::queued(LONGEST_WAIT))))
    }

    async fn enter_pool(&self, shared: &Arc<Shared>, leader: &Leader<Renewed>) -> Result<Entry, Option<Error>> {
        loop {
            let place = self.place(shared, leader).await?;
            let Some(numbered) = self.family.client(self.client()) else { return Ok(Entry { place, client: None }) };
            let patience = self.patience_with_tries();
            // A renewal that is part of another one must not wait for it.
            let is_urgent = place.is_none();
            let (admission, joined) = numbered.client.join(|client, is_trying| {
                let admission = client.admit(is_trying, patience, Instant::now());
                let joins = matches!(admission, Admission::Try { .. }) && !(is_urgent && is_trying);
                (admission, joins)
            });
            let trial = match (admission, joined) {
                (Admission::Refuse(error), _) => return Err(Some(error)),
                (Admission::Try { began }, Some(Joined::Waiting(mut waiter))) => {
                    drop(place);
                    let patience = patience.saturating_sub(began.elapsed()).max(patience / 4);
                    if timeout(patience, self.while_wanted(leader, waiter.wait())).await.is_none() {
                        numbered.client.abandon(&waiter, |_| {});
                    }
                    continue;
                }
                (_, Some(Joined::Leading(_, trial))) => Some(trial),
                (_, _) => None,
            };
            return Ok(Entry { place, client: Some(AskedClient { numbered, trial }) });
        }
    }

    /// Waits for a place. One that is part of another renewal gets none: that one has a place, and waits for it.
    async fn place(&self, shared: &Arc<Shared>, leader: &Leader<Renewed>) -> Result<Option<Place>, Option<Error>> {
        if Renewing::is_nested() {
            return Ok(None);
        }
        let mut place = shared.places.line_up(self.flight.is_awaited(leader));
        loop {
            self.flight.look(|state, _| state.note_queued(Instant::now()));
            let called = match select(pin!(place.wait()), pin!(self.nudge.notified())).await {
                Either::Left((called, _)) => called,
                Either::Right(_) => false,
            };
            if !self.flight.is_wanted(leader) {
                return Err(None);
            }
            if called {
                return Ok(Some(place));
            }
            if self.take_urgency() {
                return Ok(None);
            }
            if self.flight.is_awaited(leader) {
                place.move_up();
            }
        }
    }

    /// Waits for `future` while the renewal is wanted, and shows that it is driven.
    async fn while_wanted<F: Future>(&self, leader: &Leader<Renewed>, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        loop {
            self.flight.look(|state, _| state.note_queued(Instant::now()));
            let (nudged, beat) = (pin!(self.nudge.notified()), pin!(sleep(BEAT)));
            match select(future.as_mut(), select(nudged, beat)).await {
                Either::Left((output, _)) => return Some(output),
                Either::Right(_) if !self.flight.is_wanted(leader) => return None,
                Either::Right(_) => {}
            }
        }
    }

    /// Returns how long others wait for one that tries the client or the credentials.
    pub(crate) fn patience_with_tries(&self) -> Duration {
        self.settings.renewal_deadline.mul_f64(0.75)
    }

    /// Returns whether the renewal before, of this cache or of another one that it shares with, has failed in a way that
    /// concerns all. Then a failure is not tried again at once.
    pub(crate) fn is_outage(&self, context: &RenewalContext) -> bool {
        self.flight.look(|state, _| state.is_failing())
            || self.family.refusals.look(|refusals, _| refusals.is_outage())
            || context
                .client
                .as_ref()
                .is_some_and(|asked| asked.numbered.client.look(|client, _| client.is_outage_likely()))
    }

    /// Returns whether a renewal may ask once more: its client and its credentials have not changed, and have not been refused to
    /// another cache meanwhile. New credentials must be [admitted](Self::admitted) first. If another cache tries them
    /// now, that is enough.
    pub(crate) fn is_still_admitted(&self, context: &RenewalContext) -> bool {
        let Presents { credentials_version: version, client } = self.presents();
        let works = self.flight.look(|state, _| state.works_with(version));
        let (refusals, patience) = (&self.family.refusals, self.patience_with_tries());
        let is_refused = refusals.look(|shared, _| shared.backing_off(works, version, Instant::now()).is_some());
        let is_taken_over = context.trial.as_ref().is_some_and(|trial| !refusals.is_wanted(trial));
        let is_client_admitted = context.client.as_ref().is_none_or(|asked| {
            let AskedClient { numbered: NumberedClient { number, client: known }, trial } = asked;
            let is_admitted = match trial {
                Some(trial) => known.is_wanted(trial),
                None => known.look(|state, _| state.backing_off(true, patience, Instant::now())).is_none(),
            };
            client == Some(*number) && is_admitted
        });
        version == context.credentials_version && !is_refused && !is_taken_over && is_client_admitted
    }

    /// Waits until this cache may ask the issuer, and returns with which credentials. Credentials that were not accepted yet are
    /// tried by one cache at a time: it gets a leader, and must [share](Self::share) the outcome. If that takes too long,
    /// another one tries. The version of the credentials is read when the wait is over, because they may change during it.
    ///
    /// # Errors
    /// When the client or the credentials were refused, maybe during the wait.
    pub(crate) async fn admitted(&self) -> Result<(u64, Option<Leader<()>>), Error> {
        let patience = self.patience_with_tries();
        loop {
            let credentials_version = self.credentials_version();
            let works = self.flight.look(|state, _| state.works_with(credentials_version));
            let (admission, joined) = self.family.refusals.join(|shared, trying| {
                let admission = shared.admit(works, trying, credentials_version, Instant::now());
                let joins = matches!(admission, Admission::Try { .. });
                (admission, joins)
            });
            match (admission, joined) {
                (Admission::Refuse(error), _) => return Err(error),
                (Admission::Try { began }, Some(Joined::Waiting(mut waiter))) => {
                    // Nobody may have driven the try until now. So it always has a part of that time.
                    let patience = patience.saturating_sub(began.elapsed()).max(patience / 4);
                    if timeout(patience, waiter.wait()).await.is_none() {
                        self.family.refusals.abandon(&waiter, |_| {});
                    }
                }
                (_, Some(Joined::Leading(_, trial))) => return Ok((credentials_version, Some(trial))),
                (_, _) => return Ok((credentials_version, None)),
            }
        }
    }

    /// Tells the other caches of the same source what came out, and the other identities of the same client. `worked` says
    /// whether this cache's renewal before succeeded with the same credentials.
    ///
    /// It is called under the lock of this cache, so that a reset comes before all changes or after all. What it returns is
    /// dropped after that lock is released.
    ///
    /// If the credentials have changed since, it says nothing of the new ones, which another cache may have tried already.
    pub(crate) fn share(
        &self,
        context: &mut RenewalContext,
        now: Presents,
        worked: bool,
        error: Option<&Error>,
    ) -> SharedOutcome {
        let (asked, credentials_version) = (context.asked, context.credentials_version);
        // A refusal of the client is known of the client alone, so that its end is its end for all.
        let is_of_client = context.client.is_some() && error.is_some_and(Error::refuses_client);
        let refusals = self.family.refusals.note(context.trial.take(), |shared| match error {
            _ if credentials_version != now.credentials_version || is_of_client => {}
            None => shared.succeeded(worked, credentials_version),
            Some(error) => shared.failed(error, credentials_version, Instant::now(), &self.settings),
        });
        let client = context.client.take().map(|AskedClient { numbered: NumberedClient { number, client }, trial }| {
            let (is_try, identity) = (trial.is_some(), self.family.id());
            let noted = client.note(trial, |state| match error {
                _ if now.client != Some(number) => {}
                None => state.succeeded(Instant::now()),
                Some(error) => {
                    let failed = Failed { error, identity, asked, is_try };
                    state.failed(&failed, Instant::now(), &self.settings);
                }
            });
            // This may be the last of a client whose number has changed.
            (noted, client)
        });
        SharedOutcome { _refusals: refusals, _client: client }
    }
}
