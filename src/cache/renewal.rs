//! A renewal, which runs apart from those who wait for it.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::FutureExt;
use tokio::{
    runtime::Handle,
    time::{Instant, timeout},
};
use tracing::Instrument;

use crate::{
    cache::{
        entry::Entry,
        flight::{Boarded, Pilot, Ticket},
        requests::Look,
        token_cache::TokenCache,
    },
    error::Error,
    recursion::Renewing,
    source::{Reason, TokenSource},
    token::AccessToken,
};

/// So many renewals in a row may be lost to one who waits.
const MOST_LOST: u32 = 8;

pub(crate) type Renewed = Result<AccessToken, Error>;

/// A renewal that is under way in a task of its own.
#[derive(Debug)]
pub(crate) struct Awaited(Ticket<Renewed>);

impl<T: TokenSource> TokenCache<T> {
    /// Waits for a renewal. Should its task be lost with its runtime, another one is begun; not for ever, because the
    /// runtime in which this is polled may itself be shut down.
    pub(crate) async fn arrival(self, mut awaited: Awaited) -> Renewed {
        for _ in 0..MOST_LOST {
            match self.bounded(awaited.0.arrival()).await {
                Some(Some(renewed)) => return renewed,
                Some(None) => {}
                None => {
                    self.shared.flight.give_up(&awaited.0);
                    return Err(Error::source_timeout(self.shared.settings.renewal_deadline));
                }
            }
            match self.look_again(|entry| entry.token.clone())? {
                Look::Hit(token) => return Ok(token),
                Look::Wait(next) => awaited = next,
            }
        }
        Err(Error::no_runtime())
    }

    /// A renewal keeps its deadline itself, in its task; but that is in the runtime of whoever began it, which may not be
    /// driven any more, or blocked. So those who wait have an eye on it too, a second later.
    pub(crate) async fn bounded<F: Future>(&self, arrival: F) -> Option<F::Output> {
        if Handle::try_current().is_err() {
            return Some(arrival.await);
        }
        let deadline = self.shared.settings.renewal_deadline.saturating_add(Duration::from_secs(1));
        timeout(deadline, arrival).await.ok()
    }

    /// Sends a flight that has just begun on its way, in a task that no caller can cancel.
    pub(crate) fn depart(&self, boarded: Boarded<Renewed>) -> Result<Option<Awaited>, Error> {
        let (ticket, pilot) = match boarded {
            Boarded::Stayed => return Ok(None),
            Boarded::Joined(ticket) => return Ok(Some(Awaited(ticket))),
            Boarded::Began(ticket, pilot) => (ticket, pilot),
        };
        let runtime = Handle::try_current().map_err(|_| Error::no_runtime())?;
        let renewal = Renewing::scope(self.id(), self.clone().renew(pilot));
        // Not a part of the request that happened to begin it, which may be over long before.
        let span = tracing::debug_span!(parent: None, "renew token");
        span.follows_from(tracing::Span::current());
        runtime.spawn(renewal.instrument(span));
        Ok(Some(Awaited(ticket)))
    }

    async fn renew(self, pilot: Pilot<Renewed>) {
        let shared = &*self.shared;
        let credentials_version = self.credentials_version();
        let why = shared.flight.board(|state, _| (state.reason(), false)).0;
        let began = Instant::now();
        tracing::debug!(reason = reason_name(&why), "asking for a token");
        let deadline = shared.settings.renewal_deadline;
        let attempt = AssertUnwindSafe(async { timeout(deadline, shared.source.obtain(why)).await });
        let obtained = match attempt.catch_unwind().await {
            Ok(Ok(obtained)) => obtained,
            Ok(Err(_)) => Err(Error::source_timeout(deadline)),
            Err(_) => Err(Error::panicked()),
        };
        let (now, wall) = (Instant::now(), self.wall_now());
        let took = now - began;
        // Logged after landing: a subscriber may ask the cache, or take its time, and must not do so under the lock.
        match obtained {
            Ok(token) => {
                let (mut generation, mut expires_in) = (0, Duration::ZERO);
                shared.flight.land(pilot, |state| {
                    let token = state.issued(token, now);
                    shared.limited.store(state.budget.is_limited(), Ordering::Relaxed);
                    let entry = Entry::new(token.clone(), &shared.settings, wall);
                    (generation, expires_in) = (token.generation(), entry.expires_in(now, wall));
                    shared.current.store(Some(Arc::new(entry)));
                    Ok(token)
                });
                tracing::info!(generation, ?expires_in, ?took, "token issued");
            }
            Err(error) => {
                let mut wait = Duration::ZERO;
                shared.flight.land(pilot, |state| {
                    wait = state.failed(&error, credentials_version, now, &shared.settings);
                    Err(error.clone())
                });
                tracing::warn!(%error, class = ?error.class(), ?wait, ?took, "no token");
            }
        }
    }
}

fn reason_name(reason: &Reason) -> &'static str {
    match reason {
        Reason::First => "first",
        Reason::Ageing => "ageing",
        Reason::Rejected(_) => "rejected",
    }
}
