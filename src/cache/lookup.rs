//! What a request does to get a token.

use std::sync::Arc;

use tokio::time::Instant;

use crate::{
    cache::{
        cache_core::{CacheCore, Renewed},
        decision::{Conditions, Decision},
        renewal::{PendingRenewal, Waited},
        served_token::ServedToken,
        state::CacheState,
    },
    error::Error,
    token::AccessToken,
};

/// How often in a row one caller looks again because the renewal's task was dropped or no longer counts.
const MAX_LOST: u32 = 8;

/// What a request finds.
pub(crate) enum Lookup<U> {
    /// A token to send the request with, and what was taken from it.
    Hit(U),
    /// A token is being requested.
    Wait(PendingRenewal),
}

impl CacheCore {
    /// Looks for a token. This is the hot path: a fresh token is read without a lock, and its reference count stays unchanged.
    #[inline]
    pub(crate) fn lookup<U>(self: &Arc<Self>, take: impl FnOnce(&ServedToken) -> U) -> Result<Lookup<U>, Error> {
        if let Some(served) = &*self.published.served()
            && served.is_leased(Instant::now(), &self.settings.wall_clock)
            // While limited, a rejected token is served during its own renewal, but not to that renewal.
            && !(self.published.is_limited() && self.is_renewed_here())
        {
            return Ok(Lookup::Hit(take(served)));
        }
        self.lookup_under_lock(take)
    }

    /// Leases a fresh token. Otherwise decides under the lock, and starts a renewal where one is due.
    #[cold]
    fn lookup_under_lock<U>(self: &Arc<Self>, take: impl FnOnce(&ServedToken) -> U) -> Result<Lookup<U>, Error> {
        let is_renewed_here = self.is_renewed_here();
        if !(is_renewed_here && self.published.is_limited()) {
            let wall = self.wall_now();
            // First, because a fresh token needs nothing of its source.
            if let Some(served) = self.change(|state| state.lease(Instant::now(), wall)) {
                return Ok(Lookup::Hit(take(&served)));
            }
        }
        if is_renewed_here {
            return Err(Error::recursion());
        }
        let (decision, joined) = self.decide(|state: &mut CacheState, at: &Conditions| state.decide_lookup(at));
        let pending = joined.map(|joined| self.start(joined));
        match (decision, pending) {
            // Also where the renewal could not be started, outside a runtime.
            (Decision::Serve { token, .. }, _) => Ok(Lookup::Hit(take(&token))),
            (Decision::Fail(error), _) | (_, Some(Err(error))) => Err(error),
            (_, Some(Ok(pending))) => Ok(Lookup::Wait(pending)),
            (_, None) => unreachable!("a decision to wait joins a renewal"),
        }
    }

    /// Waits for a renewal. If its task is dropped with its runtime, or no longer counts, looks again and begins another one.
    /// This has a limit, because the runtime in which it is polled may itself be shutting down.
    pub(crate) async fn wait(self: Arc<Self>, mut pending: PendingRenewal) -> Renewed {
        for _ in 0..MAX_LOST {
            match pending.wait(&self).await {
                Waited::Renewed(renewed) => return renewed,
                Waited::LeaderLost => {}
            }
            match self.lookup_under_lock(|served| served.token.clone())? {
                Lookup::Hit(token) => return Ok(token),
                Lookup::Wait(next) => pending = next,
            }
        }
        Err(Error::no_runtime())
    }

    /// Returns the token to send in the place of one that was waited for, if a newer one has come since.
    pub(crate) fn newest(&self, waited_for: AccessToken) -> AccessToken {
        match &*self.published.served() {
            Some(served) if served.token.generation() > waited_for.generation() => served.token.clone(),
            _ => waited_for,
        }
    }
}
