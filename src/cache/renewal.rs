//! A renewal, which runs in a task of its own.

use std::{panic::AssertUnwindSafe, pin::pin, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio::time::Instant;
use tracing::Instrument;

use crate::{
    asking::{self, Asking},
    cache::{
        cache_core::{CacheCore, Renewed},
        permission::{Entry, RenewalContext},
        permits::Permits,
        served_token::ServedToken,
        single_flight::{Joined, Leader, Waiter},
    },
    error::Error,
    events::{self, Issued},
    recursion::Renewing,
    runtime,
    source::{Reason, TokenSource},
    sync,
    timer::{self, timeout},
    token::AccessToken,
};

/// A renewal that is in progress in a task of its own.
#[derive(Debug)]
pub(crate) struct PendingRenewal {
    waiter: Waiter<Renewed>,
    rejected: Option<u64>,
}

/// How the wait for a renewal ended.
pub(crate) enum Waited {
    Renewed(Renewed),
    /// The renewal's task was dropped with its runtime, or the renewal no longer counts: look again.
    LeaderLost,
}

impl PendingRenewal {
    /// Returns the generation of the token that the first attempt of the waiting request was rejected with, if it was.
    pub(crate) fn rejected(&self) -> Option<u64> {
        self.rejected
    }

    /// Waits for the renewal to end.
    ///
    /// The renewal has a deadline itself, but nobody may be driving the runtime that it runs in. So the wait has one too, a
    /// second later, and then abandons the renewal. It counts the time in which this wait is driven. Where both stop and go on
    /// together, neither loses time.
    pub(crate) async fn wait(&mut self, core: &CacheCore) -> Waited {
        match bounded(core, self.waiter.wait()).await {
            Some(Some(renewed)) => Waited::Renewed(renewed),
            Some(None) => Waited::LeaderLost,
            None => {
                core.abandon(&self.waiter);
                Waited::Renewed(Err(Error::source_timeout(core.settings.renewal_deadline)))
            }
        }
    }
}

/// Waits for `future` until a second after the renewal's deadline. That time begins again if the renewal was in the queue of its
/// pool meanwhile.
async fn bounded<F: Future>(core: &CacheCore, future: F) -> Option<F::Output> {
    let deadline = core.settings.renewal_deadline.saturating_add(Duration::from_secs(1));
    let mut future = pin!(future);
    loop {
        let began = Instant::now();
        let output = timeout(deadline, future.as_mut()).await;
        if output.is_some() || !core.flight.look(|state, _| state.was_queued_since(began)) {
            return output;
        }
    }
}

/// Runs an attempt up to its deadline. The time does not count in which it waits for the tries of others.
async fn within<F: Future>(deadline: Duration, permits: Option<&Permits>, attempt: F) -> Option<F::Output> {
    let (mut attempt, mut left) = (pin!(attempt), deadline);
    loop {
        let output = timeout(left, attempt.as_mut()).await;
        left = permits.map_or(Duration::ZERO, Permits::take_waited);
        if output.is_some() || left.is_zero() {
            return output;
        }
    }
}

impl CacheCore {
    /// Starts the task of a renewal that the caller leads, or waits for the one in progress. `rejected` is the generation of
    /// the token that the caller's first attempt was rejected with.
    ///
    /// # Errors
    /// When the caller leads, and the task cannot run where it is called: outside a Tokio runtime, or in one without timers.
    pub(crate) fn start(
        self: &Arc<Self>,
        joined: Joined<Renewed>,
        rejected: Option<u64>,
    ) -> Result<PendingRenewal, Error> {
        let (waiter, leader) = match joined {
            Joined::Waiting(waiter) => {
                self.is_awaited_now();
                return Ok(PendingRenewal { waiter, rejected });
            }
            Joined::Leading(waiter, leader) => (waiter, leader),
        };
        self.begin(leader)?;
        Ok(PendingRenewal { waiter, rejected })
    }

    /// Starts the task of a renewal.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub(crate) fn begin(self: &Arc<Self>, leader: Leader<Renewed>) -> Result<(), Error> {
        let runtime = runtime::current()?;
        let renewal = Renewing::scope(self.id(), Arc::clone(self).renew(leader));
        sync::spawn(&runtime, renewal.instrument(events::renewal_span(self.named())));
        Ok(())
    }

    /// Waits for the renewal in progress to end, if there is one.
    pub(crate) async fn wait_for_renewal_in_progress(&self) {
        if let Some(Joined::Waiting(mut waiter)) = self.flight.join(|_, renewing| ((), renewing)).1 {
            bounded(self, waiter.wait()).await;
        }
    }

    async fn renew(self: Arc<Self>, leader: Leader<Renewed>) {
        match self.check_source() {
            Ok(()) => self.ask_in_turn(leader).await,
            Err(error) => {
                let context = RenewalContext::new(self.credentials_version(), None);
                self.failed(leader, &error, context, Duration::ZERO);
            }
        }
        if let Some(shared) = &self.family.shared {
            shared.after_renewal().await;
        }
    }

    async fn ask_in_turn(self: &Arc<Self>, leader: Leader<Renewed>) {
        let mut counted = self.family.shared.as_ref().map(|shared| shared.renewals.wait());
        let entry = self.enter(&leader).await;
        if let (Some(counted), Ok(_)) = (&mut counted, &entry) {
            counted.begin();
        }
        match entry {
            Ok(Entry { place: Some(place), permits }) => place.drive(self.request(leader, permits)).await,
            Ok(Entry { place: None, permits }) => self.request(leader, permits).await,
            Err(refused) => self.not_asked(leader, refused.as_ref()),
        }
    }

    async fn request(&self, leader: Leader<Renewed>, permits: Option<Arc<Permits>>) {
        let reason = self.flight.look(|state, _| state.reason());
        let (began, why) = (Instant::now(), reason_name(&reason));
        events::requesting_token(why);
        let deadline = self.settings.renewal_deadline;
        let mut context = RenewalContext::new(self.credentials_version(), permits.clone());
        let attempt = AssertUnwindSafe(async {
            (context.credentials_version, context.trial) = self.admitted().await.map_err(Some)?;
            // During the wait, a reset may have come, or this was abandoned. Then the next renewal asks, and only that one.
            if !self.flight.is_wanted(&leader) {
                return Err(None);
            }
            if let Some(permits) = &permits {
                permits.permit_own().await.map_err(Some)?;
            }
            Ok(self.ask(&leader, reason, &mut context, began).await)
        });
        let attempt = within(deadline, permits.as_deref(), attempt.catch_unwind()).await;
        let obtained = match attempt {
            Some(Ok(Ok(obtained))) => obtained,
            Some(Ok(Err(refused))) => return self.not_asked(leader, refused.as_ref()),
            Some(Err(_)) => Err(Error::panicked()),
            None => Err(Error::source_timeout(deadline)),
        };
        if obtained.is_err()
            && let Some(refused) = permits.as_ref().and_then(|permits| permits.refused())
        {
            return self.not_asked(leader, Some(&refused));
        }
        let took = began.elapsed();
        // Logged after the renewal is complete: a subscriber is user code, and must not run under the lock.
        match obtained {
            Ok(token) => self.issued(leader, token, context, why, took),
            Err(error) => self.failed(leader, &error, context, took),
        }
    }

    /// Asks the source. While requests wait, a failure that may be over soon is tried again a few times, unless the renewal
    /// before, of this cache or of one that it shares with, has failed too: then this is an [outage](Self::is_outage), and the
    /// waiting requests learn it at once. The deadline counts from `began`.
    async fn ask(
        &self,
        leader: &Leader<Renewed>,
        reason: Reason,
        context: &mut RenewalContext,
        began: Instant,
    ) -> Renewed {
        let ends = began.checked_add(self.settings.renewal_deadline);
        let waits = if self.is_outage(context) { &[] } else { self.settings.retry_waits() };
        for wait in waits {
            context.asked = Instant::now();
            let error = match self.obtain(reason.clone(), context).await {
                Err(error) if error.may_be_over_soon() => error,
                obtained => return obtained,
            };
            // Half of the wait is random, so that the machines of a fleet do not come at the same moment.
            let wait = wait.mul_f64(0.5 + fastrand::f64() / 2.0).max(self.settings.requested_wait(&error));
            let is_too_long = ends.is_some_and(|ends| ends.saturating_duration_since(Instant::now()) <= wait);
            if is_too_long || !self.flight.is_awaited(leader) {
                return Err(error);
            }
            events::token_request_retried(self.named(), &error, wait);
            timer::sleep(wait).await;
            if !self.flight.is_awaited(leader) || !self.is_still_admitted(context) {
                return Err(error);
            }
        }
        context.asked = Instant::now();
        self.obtain(reason, context).await
    }

    async fn obtain(&self, reason: Reason, context: &RenewalContext) -> Renewed {
        let permits = context.permits.clone().map(|permits| permits as Arc<dyn Asking>);
        asking::scope(permits, self.source.obtain(reason)).await
    }

    /// Ends a renewal whose source was not asked, because another cache's credentials were refused meanwhile. Without an
    /// error, the renewal is not wanted any more.
    fn not_asked(&self, leader: Leader<Renewed>, refused: Option<&Error>) {
        let Some(error) = refused else {
            return events::token_not_wanted();
        };
        self.complete(leader, |state| {
            state.keep_rejected();
            Err(error.clone())
        });
        events::token_not_requested(error);
    }

    fn issued(
        &self,
        leader: Leader<Renewed>,
        token: AccessToken,
        mut context: RenewalContext,
        reason: &'static str,
        took: Duration,
    ) {
        let (now, wall) = (Instant::now(), self.wall_now());
        // If nobody drove the renewal for some time, the answer may have waited that long.
        let is_late = now.saturating_duration_since(context.asked) > self.settings.renewal_deadline;
        let token = if is_late { token.issued_before(context.asked) } else { token };
        let issued = ServedToken::new(token, &self.settings, self.family.shared.is_some(), now, wall);
        let expires_in = issued.expires_in(now, wall);
        let (mut generation, mut shared) = (0, None);
        let presents = self.presents();
        let counted = self.complete(leader, |state| {
            let credentials_version = context.credentials_version;
            self.family.note_success();
            shared = Some(self.share(&mut context, presents, state.works_with(credentials_version), None));
            let token = state.issued(&issued, credentials_version, now);
            generation = token.generation();
            Ok(token)
        });
        drop(shared);
        if !counted {
            return events::token_issued_late(self.named(), took);
        }
        self.count(|totals| &totals.renewals);
        events::token_issued(self.named(), &Issued { generation, expires_in, took, reason });
    }

    fn failed(&self, leader: Leader<Renewed>, error: &Error, mut context: RenewalContext, took: Duration) {
        // They may have changed after the first question and before they were sent.
        let presents = self.presents();
        if error.credentials_version() == Some(presents.credentials_version) {
            context.credentials_version = presents.credentials_version;
        }
        let recovery = context.permits.as_ref().and_then(|permits| permits.recovery());
        let now = Instant::now();
        let (mut wait, mut shared) = (Duration::ZERO, None);
        let counted = self.complete(leader, |state| {
            let credentials_version = context.credentials_version;
            let worked = state.works_with(credentials_version);
            shared = Some(self.share(&mut context, presents, worked, Some(error)));
            state.forget_outage(recovery);
            let streak = state.failed(error, credentials_version, now, &self.settings);
            wait = streak.wait(now).unwrap_or_default();
            Err(error.clone())
        });
        drop(shared);
        // The user's own token has expired.
        if counted && error.is_unsent() && !error.is_config() {
            return events::token_not_requested(error);
        }
        self.count(|totals| &totals.failures);
        if !counted {
            return events::token_failed_late(self.named(), error, took);
        }
        events::token_failed(self.named(), error, wait, took);
    }
}

fn reason_name(reason: &Reason) -> &'static str {
    match reason {
        Reason::First => "first",
        Reason::Ageing => "ageing",
        Reason::Rejected { .. } => "rejected",
    }
}
