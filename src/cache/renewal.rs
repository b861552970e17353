//! A renewal, which runs in a task of its own.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio::{
    runtime::Handle,
    time::{Instant, timeout},
};
use tracing::Instrument;

use crate::{
    cache::{
        cache_core::{CacheCore, Renewed},
        served_token::ServedToken,
        single_flight::{Joined, Leader, Waiter},
    },
    error::Error,
    recursion::Renewing,
    source::{Reason, TokenSource},
    sync,
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
    /// second later, and then abandons the renewal.
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

/// Waits for `future` until a second after the renewal's deadline. Outside a runtime, where no timer runs, it waits on.
async fn bounded<F: Future>(core: &CacheCore, future: F) -> Option<F::Output> {
    if Handle::try_current().is_err() {
        return Some(future.await);
    }
    let deadline = core.settings.renewal_deadline.saturating_add(Duration::from_secs(1));
    timeout(deadline, future).await.ok()
}

impl CacheCore {
    /// Starts the task of a renewal that the caller leads, or waits for the one in progress. `rejected` is the generation of
    /// the token that the caller's first attempt was rejected with.
    ///
    /// # Errors
    /// When the caller leads, and calls from outside a Tokio runtime, where the task cannot be spawned.
    pub(crate) fn start(
        self: &Arc<Self>,
        joined: Joined<Renewed>,
        rejected: Option<u64>,
    ) -> Result<PendingRenewal, Error> {
        let (waiter, leader) = match joined {
            Joined::Waiting(waiter) => return Ok(PendingRenewal { waiter, rejected }),
            Joined::Leading(waiter, leader) => (waiter, leader),
        };
        let runtime = Handle::try_current().map_err(|_| Error::no_runtime())?;
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
        let credentials_version = self.credentials_version();
        let reason = self.flight.look(|state, _| state.reason());
        let began = Instant::now();
        tracing::debug!(reason = reason_name(&reason), "requesting a token");
        let deadline = self.settings.renewal_deadline;
        let attempt = AssertUnwindSafe(async { timeout(deadline, self.source.obtain(reason)).await });
        let obtained = match attempt.catch_unwind().await {
            Ok(Ok(obtained)) => obtained,
            Ok(Err(_)) => Err(Error::source_timeout(deadline)),
            Err(_) => Err(Error::panicked()),
        };
        let took = began.elapsed();
        // Logged after the renewal is complete: a subscriber is user code, and must not run under the lock.
        match obtained {
            Ok(token) => self.issued(leader, token, took),
            Err(error) => self.failed(leader, &error, credentials_version, took),
        }
    }

    fn issued(&self, leader: Leader<Renewed>, token: AccessToken, took: Duration) {
        let (now, wall) = (Instant::now(), self.wall_now());
        let issued = ServedToken::new(token, &self.settings, now, wall);
        let expires_in = issued.expires_in(now, wall);
        let mut generation = 0;
        let counted = self.complete(leader, |state| {
            let token = state.issued(issued, now);
            generation = token.generation();
            self.refusal.set(None);
            Ok(token)
        });
        if !counted {
            return tracing::info!(?took, "token not used, because it was requested before a reset or a newer request");
        }
        tracing::info!(generation, ?expires_in, ?took, "token issued");
    }

    fn failed(&self, leader: Leader<Renewed>, error: &Error, credentials_version: u64, took: Duration) {
        // They may have changed after the first question and before they were sent.
        let changed = self.credentials_version();
        let credentials_version =
            if error.credentials_version() == Some(changed) { changed } else { credentials_version };
        let now = Instant::now();
        let mut wait = Duration::ZERO;
        let counted = self.complete(leader, |state| {
            let streak = state.failed(error, credentials_version, now, &self.settings);
            wait = streak.wait(now).unwrap_or_default();
            if streak.refuses_credentials() {
                self.refusal.set(Some(streak.clone()));
            }
            Err(error.clone())
        });
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
