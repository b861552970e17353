//! A renewal, which runs in a task of its own.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio::time::Instant;
use tracing::Instrument;

use crate::{
    cache::{
        cache_core::{CacheCore, Renewed},
        refusals::{Admission, SharedRefusals},
        served_token::ServedToken,
        single_flight::{Joined, Leader, Noted, Waiter},
    },
    error::Error,
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

/// What a renewal asks its source with.
struct RenewalContext {
    credentials_version: u64,
    /// Set if these credentials had not been accepted yet, and others wait for the outcome.
    trial: Option<Leader<()>>,
    /// When the source was asked last.
    asked: Instant,
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

/// Waits for `future` until a second after the renewal's deadline.
async fn bounded<F: Future>(core: &CacheCore, future: F) -> Option<F::Output> {
    let deadline = core.settings.renewal_deadline.saturating_add(Duration::from_secs(1));
    timeout(deadline, future).await
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
            Joined::Waiting(waiter) => return Ok(PendingRenewal { waiter, rejected }),
            Joined::Leading(waiter, leader) => (waiter, leader),
        };
        let runtime = runtime::current()?;
        let renewal = Renewing::scope(self.id(), Arc::clone(self).renew(leader));
        // Not a child of the request that began it, which may end long before.
        let span = tracing::debug_span!(parent: None, "renew token");
        span.follows_from(tracing::Span::current());
        sync::spawn(&runtime, renewal.instrument(span));
        Ok(PendingRenewal { waiter, rejected })
    }

    /// Waits for the renewal in progress to end, if there is one.
    pub(crate) async fn wait_for_renewal_in_progress(&self) {
        if let Some(Joined::Waiting(mut waiter)) = self.flight.join(|_, renewing| ((), renewing)).1 {
            bounded(self, waiter.wait()).await;
        }
    }

    async fn renew(self: Arc<Self>, leader: Leader<Renewed>) {
        let reason = self.flight.look(|state, _| state.reason());
        let began = Instant::now();
        tracing::debug!(reason = reason_name(&reason), "requesting a token");
        let deadline = self.settings.renewal_deadline;
        let credentials_version = self.credentials_version();
        let mut context = RenewalContext { credentials_version, trial: None, asked: began };
        let attempt = AssertUnwindSafe(timeout(deadline, async {
            (context.credentials_version, context.trial) = self.admitted().await.map_err(Some)?;
            // During the wait, a reset may have come, or this was abandoned. Then the next renewal asks, and only that one.
            if !self.flight.is_wanted(&leader) {
                return Err(None);
            }
            Ok(self.ask(&leader, reason, &mut context, began).await)
        }));
        let obtained = match attempt.catch_unwind().await {
            Ok(Some(Ok(obtained))) => obtained,
            Ok(Some(Err(refused))) => return self.not_asked(leader, refused.as_ref()),
            Ok(None) => Err(Error::source_timeout(deadline)),
            Err(_) => Err(Error::panicked()),
        };
        let took = began.elapsed();
        // Logged after the renewal is complete: a subscriber is user code, and must not run under the lock.
        match obtained {
            Ok(token) => self.issued(leader, token, context, took),
            Err(error) => self.failed(leader, &error, context, took),
        }
    }

    /// Asks the source. While requests wait, a failure that may be over soon is tried again a few times, unless the renewal
    /// before, of this or of a narrowed cache, has failed too: then this is an outage, and the waiting requests learn it at
    /// once. The deadline counts from `began`.
    async fn ask(
        &self,
        leader: &Leader<Renewed>,
        reason: Reason,
        context: &mut RenewalContext,
        began: Instant,
    ) -> Renewed {
        let ends = began.checked_add(self.settings.renewal_deadline);
        let is_outage =
            self.flight.look(|state, _| state.is_failing()) || self.family.look(|shared, _| shared.is_outage());
        let waits = if is_outage { &[] } else { self.settings.retry_waits() };
        for wait in waits {
            context.asked = Instant::now();
            let error = match self.source.obtain(reason.clone()).await {
                Err(error) if error.may_be_over_soon() => error,
                obtained => return obtained,
            };
            // Half of the wait is random, so that the machines of a fleet do not come at the same moment.
            let wait = wait.mul_f64(0.5 + fastrand::f64() / 2.0).max(self.settings.requested_wait(&error));
            let is_too_long = ends.is_some_and(|ends| ends.saturating_duration_since(Instant::now()) <= wait);
            if is_too_long || !self.flight.is_awaited(leader) {
                return Err(error);
            }
            tracing::debug!(%error, ?wait, "token request failed, trying again");
            timer::sleep(wait).await;
            if !self.flight.is_awaited(leader) || !self.is_still_admitted(context) {
                return Err(error);
            }
        }
        context.asked = Instant::now();
        self.source.obtain(reason).await
    }

    /// Returns whether a renewal may ask once more: its credentials have not changed, and have not been refused to another
    /// cache meanwhile. New credentials must be [admitted](Self::admitted) first. If another cache tries the credentials now,
    /// that is enough.
    fn is_still_admitted(&self, context: &RenewalContext) -> bool {
        let version = self.credentials_version();
        let works = self.flight.look(|state, _| state.works_with(version));
        let is_refused = self.family.look(|shared, _| shared.backing_off(works, version, Instant::now()).is_some());
        let is_taken_over = context.trial.as_ref().is_some_and(|trial| !self.family.is_wanted(trial));
        version == context.credentials_version && !is_refused && !is_taken_over
    }

    /// Waits until this cache may ask the issuer, and returns with which credentials. Credentials that were not accepted yet are tried by one cache at a time:
    /// it gets a leader, and must [share](Self::share) the outcome. If that takes too long, another one tries. The version of
    /// the credentials is read when the wait is over, because they may change during it.
    ///
    /// # Errors
    /// When the client or the credentials were refused, maybe during the wait.
    async fn admitted(&self) -> Result<(u64, Option<Leader<()>>), Error> {
        let patience = self.settings.renewal_deadline.mul_f64(0.75);
        loop {
            let credentials_version = self.credentials_version();
            let works = self.flight.look(|state, _| state.works_with(credentials_version));
            let (admission, joined) = self.family.join(|shared, trying| {
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
                        self.family.abandon(&waiter, |_| {});
                    }
                }
                (_, Some(Joined::Leading(_, trial))) => return Ok((credentials_version, Some(trial))),
                (_, _) => return Ok((credentials_version, None)),
            }
        }
    }

    /// Tells the other caches of the same source what came out. `worked` says whether this cache's renewal before succeeded
    /// with the same credentials.
    ///
    /// It is called under the lock of this cache, so that a reset comes before both changes or after both. What it returns is
    /// dropped after that lock is released.
    ///
    /// If the credentials have changed since, it says nothing of the new ones, which another cache may have tried already.
    fn share(
        &self,
        context: &mut RenewalContext,
        current_version: u64,
        worked: bool,
        error: Option<&Error>,
    ) -> Noted<SharedRefusals, ()> {
        let credentials_version = context.credentials_version;
        self.family.note(context.trial.take(), |shared| match error {
            _ if credentials_version != current_version => {}
            None => shared.succeeded(worked, credentials_version),
            Some(error) => shared.failed(error, credentials_version, Instant::now(), &self.settings),
        })
    }

    /// Ends a renewal whose source was not asked, because another cache's credentials were refused meanwhile. Without an
    /// error, the renewal is not wanted any more.
    fn not_asked(&self, leader: Leader<Renewed>, refused: Option<&Error>) {
        let Some(error) = refused else {
            return tracing::debug!("no token requested, because of a reset or a newer request");
        };
        self.complete(leader, |state| {
            state.keep_rejected();
            Err(error.clone())
        });
        tracing::debug!(%error, "no token requested");
    }

    fn issued(&self, leader: Leader<Renewed>, token: AccessToken, mut context: RenewalContext, took: Duration) {
        let (now, wall) = (Instant::now(), self.wall_now());
        // If nobody drove the renewal for some time, the answer may have waited that long.
        let is_late = now.saturating_duration_since(context.asked) > self.settings.renewal_deadline;
        let token = if is_late { token.issued_before(context.asked) } else { token };
        let issued = ServedToken::new(token, &self.settings, now, wall);
        let expires_in = issued.expires_in(now, wall);
        let (mut generation, mut shared) = (0, None);
        let current_version = self.credentials_version();
        let counted = self.complete(leader, |state| {
            let credentials_version = context.credentials_version;
            shared = Some(self.share(&mut context, current_version, state.works_with(credentials_version), None));
            let token = state.issued(&issued, credentials_version, now);
            generation = token.generation();
            Ok(token)
        });
        drop(shared);
        if !counted {
            return tracing::info!(?took, "token not used, because it was requested before a reset or a newer request");
        }
        tracing::info!(generation, ?expires_in, ?took, "token issued");
    }

    fn failed(&self, leader: Leader<Renewed>, error: &Error, mut context: RenewalContext, took: Duration) {
        // They may have changed after the first question and before they were sent.
        let current_version = self.credentials_version();
        if error.credentials_version() == Some(current_version) {
            context.credentials_version = current_version;
        }
        let now = Instant::now();
        let (mut wait, mut shared) = (Duration::ZERO, None);
        let counted = self.complete(leader, |state| {
            let credentials_version = context.credentials_version;
            let worked = state.works_with(credentials_version);
            shared = Some(self.share(&mut context, current_version, worked, Some(error)));
            let streak = state.failed(error, credentials_version, now, &self.settings);
            wait = streak.wait(now).unwrap_or_default();
            Err(error.clone())
        });
        drop(shared);
        if !counted {
            return tracing::warn!(%error, ?took, "token request failed, but it was made before a reset or a newer request");
        }
        tracing::warn!(%error, class = ?error.class(), ?wait, ?took, "token request failed");
    }
}

fn reason_name(reason: &Reason) -> &'static str {
    match reason {
        Reason::First => "first",
        Reason::Ageing => "ageing",
        Reason::Rejected { .. } => "rejected",
    }
}
