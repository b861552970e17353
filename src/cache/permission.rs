//! When a renewal may ask the issuer, and what its outcome tells the others.
//!
//! In a pool, a renewal first waits for its place, and then asks for its [permits](crate::cache::permits). One that has to wait for
//! the try of another one gives its place back meanwhile. Then, as without a pool, it asks what is known of its credentials.

use std::{pin::pin, sync::Arc, time::Duration};

use futures_util::future::{Either, select};
use tokio::time::Instant;

use crate::{
    cache::{
        cache_core::{CacheCore, Renewed},
        family::{Presents, Shared},
        permits::{Permits, Permitted, Told},
        places::Place,
        refusals::{Admission, SharedRefusals},
        single_flight::{Joined, Leader, Noted},
    },
    error::Error,
    recursion::Renewing,
    timer::{sleep, timeout},
};

/// How long a renewal of a pool waits until it may ask, while no issuer answers any renewal of the pool.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How often a renewal that waits shows that it is driven.
const BEAT: Duration = Duration::from_secs(2);

/// What a renewal has in its pool while it asks. Without a pool it is empty.
#[derive(Default)]
pub(crate) struct Entry {
    pub(crate) place: Option<Place>,
    pub(crate) permits: Option<Arc<Permits>>,
}

/// What a renewal asks its source with.
pub(crate) struct RenewalContext {
    pub(crate) credentials_version: u64,
    /// Set if these credentials had not been accepted yet, and others wait for the outcome.
    pub(crate) trial: Option<Leader<()>>,
    pub(crate) permits: Option<Arc<Permits>>,
    /// When the source was asked last.
    pub(crate) asked: Instant,
}

/// What came out, for the other caches. Its drop wakes those who wait.
#[must_use = "dropping it under a lock runs user code there"]
pub(crate) struct SharedOutcome {
    _refusals: Noted<SharedRefusals, ()>,
    _others: Option<Told>,
}

impl RenewalContext {
    pub(crate) fn new(credentials_version: u64, permits: Option<Arc<Permits>>) -> Self {
        Self { credentials_version, trial: None, permits, asked: Instant::now() }
    }
}

impl CacheCore {
    /// Waits until the pool lets a renewal ask.
    ///
    /// # Errors
    /// When the client was refused, when its issuer has an outage, or when nothing has moved for [`LONGEST_WAIT`]. Without an
    /// error, the renewal is not wanted any more.
    pub(crate) async fn enter(self: &Arc<Self>, leader: &Leader<Renewed>) -> Result<Entry, Option<Error>> {
        let Some(shared) = &self.family.shared else { return Ok(Entry::default()) };
        let mut entering = pin!(self.enter_pool(shared, leader));
        loop {
            let began = Instant::now();
            if let Some(entered) = timeout(LONGEST_WAIT, entering.as_mut()).await {
                return entered;
            }
            if !shared.places.has_moved_since(began) {
                return Err(Some(Error::queued(LONGEST_WAIT)));
            }
        }
    }

    async fn enter_pool(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        leader: &Leader<Renewed>,
    ) -> Result<Entry, Option<Error>> {
        loop {
            let permits = Permits::new(self, shared);
            let place = self.place(shared, &permits, leader).await?;
            // A renewal that is part of another one must not wait for it.
            let may_wait = place.is_some();
            match permits.look(may_wait) {
                Permitted::Yes => return Ok(Entry { place, permits: Some(permits) }),
                Permitted::Refused(error) => return Err(Some(error)),
                Permitted::Wait(others) => {
                    drop(place);
                    self.while_wanted(leader, others.wait()).await;
                }
            }
        }
    }

    /// Waits for a place. One that is part of another renewal gets none: that one has a place, and waits for it.
    async fn place(
        &self,
        shared: &Arc<Shared>,
        permits: &Permits,
        leader: &Leader<Renewed>,
    ) -> Result<Option<Place>, Option<Error>> {
        if Renewing::is_nested() {
            return Ok(None);
        }
        let mut place = shared.places.line_up(self.flight.is_awaited(leader), permits.share_of_places());
        loop {
            self.flight.look(|state, _| state.note_queued(Instant::now()));
            let called = match select(pin!(place.wait()), pin!(self.nudge.notified())).await {
                Either::Left((called, _)) => called,
                Either::Right(_) => false,
            };
            if !self.flight.is_wanted(leader) {
                return Err(None);
            }
            // Also if it was just called: nobody waits for it, and others are waited for.
            let has_moved = place.move_to(self.flight.is_awaited(leader));
            if called && !has_moved {
                return Ok(Some(place));
            }
            if self.take_urgency() {
                return Ok(None);
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

    /// Waits for `future`, and shows that the renewal is driven.
    pub(crate) async fn while_queued<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        loop {
            self.flight.look(|state, _| state.note_queued(Instant::now()));
            if let Either::Left((output, _)) = select(future.as_mut(), pin!(sleep(BEAT))).await {
                return output;
            }
        }
    }

    /// Returns how long others wait for one that tries the client or the credentials.
    pub(crate) fn patience_with_tries(&self) -> Duration {
        self.settings.renewal_deadline.mul_f64(0.75)
    }

    /// Returns how long others still wait for the one that has been trying since `began`. Nobody may have driven the try until now, so
    /// it always has a part of that time.
    pub(crate) fn patience_with_try(&self, began: Instant) -> Duration {
        let patience = self.patience_with_tries();
        patience.saturating_sub(began.elapsed()).max(patience / 4)
    }

    /// Returns whether the renewal before, of this cache or of another one that it shares with, has failed in a way that
    /// concerns all. Then a failure is not tried again at once.
    pub(crate) fn is_outage(&self, context: &RenewalContext) -> bool {
        self.flight.look(|state, _| state.is_failing())
            || self.family.refusals.look(|refusals, _| refusals.is_outage())
            || context.permits.as_ref().is_some_and(|permits| permits.is_outage_likely())
    }

    /// Returns whether a renewal may ask once more: its client and its credentials have not changed, and have not been refused to
    /// another cache meanwhile. New credentials must be [admitted](Self::admitted) first. If another cache tries them
    /// now, that is enough.
    pub(crate) fn is_still_admitted(&self, context: &RenewalContext) -> bool {
        let Presents { credentials_version: version, numbers } = self.presents();
        let works = self.flight.look(|state, _| state.works_with(version));
        let refusals = &self.family.refusals;
        let is_refused = refusals.look(|shared, _| shared.backing_off(works, version, Instant::now()).is_some());
        let is_taken_over = context.trial.as_ref().is_some_and(|trial| !refusals.is_wanted(trial));
        let is_client_admitted = context.permits.as_ref().is_none_or(|permits| permits.are_valid(numbers));
        version == context.credentials_version && !is_refused && !is_taken_over && is_client_admitted
    }

    /// Waits until this cache may ask the issuer, and returns with which credentials. Credentials that were not accepted yet are
    /// tried by one cache at a time: it gets a leader, and must [share](Self::share) the outcome. If that takes too long,
    /// another one tries. The version of the credentials is read when the wait is over, because they may change during it.
    ///
    /// # Errors
    /// When the client or the credentials were refused, maybe during the wait.
    pub(crate) async fn admitted(&self) -> Result<(u64, Option<Leader<()>>), Error> {
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
                    if timeout(self.patience_with_try(began), waiter.wait()).await.is_none() {
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
        let (credentials_version, permits) = (context.credentials_version, context.permits.take());
        // A refusal of the client is known of the client alone, so that its end is its end for all.
        let is_of_client = permits.as_ref().is_some_and(|permits| permits.share_client());
        let is_of_client = is_of_client && error.is_some_and(Error::refuses_client);
        let refusals = self.family.refusals.note(context.trial.take(), |shared| match error {
            // It says nothing about the new credentials.
            None if credentials_version != now.credentials_version => shared.end_outage(),
            _ if credentials_version != now.credentials_version || is_of_client => {}
            None => shared.succeeded(worked, credentials_version),
            Some(error) => shared.failed(error, credentials_version, Instant::now(), &self.settings),
        });
        let others = permits.map(|permits| permits.tell(now.numbers, error));
        SharedOutcome { _refusals: refusals, _others: others }
    }
}
