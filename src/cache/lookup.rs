//! What a request does to get a token.

use std::{ops::Deref, sync::Arc};

use arc_swap::Guard;
use tokio::time::Instant;

use crate::{
    cache::{
        cache_core::{CacheCore, Renewed},
        decision::{Conditions, Decision},
        rejection::AfterRejection,
        renewal::{PendingRenewal, Waited},
        served_token::ServedToken,
        single_flight::Joined,
        state::CacheState,
    },
    error::Error,
    scope::Scopes,
    token::AccessToken,
};

/// How often in a row one caller looks again because the renewal's task was dropped or no longer counts.
const MAX_LOST: u32 = 8;

/// What a request finds.
pub(crate) enum Lookup {
    /// A token to send the request with.
    Hit(Found),
    /// A token is being requested.
    Wait(PendingRenewal),
}

/// A token that was found. It is read where it is published, and its reference count stays unchanged.
pub(crate) struct Found(Guard<Option<Arc<ServedToken>>>);

impl From<Arc<ServedToken>> for Found {
    fn from(served: Arc<ServedToken>) -> Self {
        Self(Guard::from_inner(Some(served)))
    }
}

impl Deref for Found {
    type Target = ServedToken;

    #[inline]
    fn deref(&self) -> &ServedToken {
        self.0.as_deref().expect("it was found")
    }
}

impl CacheCore {
    /// Looks for a token.
    pub(crate) fn lookup(self: &Arc<Self>) -> Result<Lookup, Error> {
        self.leased().map_or_else(|| self.lookup_unleased(), |found| Ok(Lookup::Hit(found)))
    }

    /// Returns a token that needs no decision. This is the hot path: it reads without a lock.
    #[expect(clippy::inline_always, reason = "26 instructions of each hit: what it finds stays in registers")]
    #[inline(always)]
    pub(crate) fn leased(self: &Arc<Self>) -> Option<Found> {
        let published = self.published.served();
        if let Some(served) = &*published
            && served.is_leased(Instant::now(), &self.settings.wall_clock)
            // While watched, a rejected token may be served during its own renewal, but not to that renewal.
            && !(self.published.is_watched() && self.is_renewed_here())
        {
            return Some(Found(published));
        }
        None
    }

    /// Returns a fresh token, and leases it where that pays. Otherwise decides under the lock, and starts a renewal where one is
    /// due.
    #[cold]
    pub(crate) fn lookup_unleased(self: &Arc<Self>) -> Result<Lookup, Error> {
        let now = Instant::now();
        let is_lease_worth_it = self.note_use(now);
        let is_renewed_here = self.is_renewed_here();
        if !(is_renewed_here && self.published.is_watched()) {
            let wall = self.wall_now();
            // First, because a fresh token needs nothing of its source. The lock is taken only for one that can be leased.
            let published = self.published.served();
            if published.as_ref().is_some_and(|served| served.is_fresh(now, wall)) {
                if !is_lease_worth_it {
                    return Ok(Lookup::Hit(Found(published)));
                }
                drop(published);
                if let Some(served) = self.change(|state| state.lease(Instant::now(), wall)) {
                    return Ok(Lookup::Hit(served.into()));
                }
            }
        }
        if is_renewed_here {
            return Err(Error::recursion());
        }
        let (decision, joined) = self.decide(|state: &mut CacheState, at: &Conditions| state.decide_lookup(at));
        match (decision, joined) {
            (Decision::Serve { token, .. }, joined) => {
                if let Some(Joined::Leading(waiter, leader)) = joined {
                    // First, so that the renewal knows that nobody waits for it.
                    drop(waiter);
                    // It cannot be started outside a runtime.
                    let _ = self.begin(leader);
                }
                Ok(Lookup::Hit(token.into()))
            }
            (Decision::Fail(error), _) => Err(error),
            (_, Some(joined)) => self.start(joined, None).map(Lookup::Wait),
            (_, None) => unreachable!("a decision to wait joins a renewal"),
        }
    }

    /// Returns the token to use now, and whether it had to be waited for.
    pub(crate) async fn token(self: &Arc<Self>) -> Result<(AccessToken, bool), Error> {
        match self.lookup()? {
            Lookup::Hit(found) => Ok((found.token.clone(), false)),
            Lookup::Wait(pending) => Ok((Arc::clone(self).wait(pending).await?, true)),
        }
    }

    /// Waits for a renewal. If its task is dropped with its runtime, or no longer counts, looks again and begins another one.
    /// This has a limit, because the runtime in which it is polled may itself be shutting down.
    ///
    /// If the renewal fails, a token that is still served is better than the error, but not for a request whose first
    /// attempt it was rejected with.
    pub(crate) async fn wait(self: Arc<Self>, mut pending: PendingRenewal) -> Renewed {
        for _ in 0..MAX_LOST {
            match pending.wait(&self).await {
                Waited::Renewed(Ok(token)) => return Ok(token),
                Waited::Renewed(Err(error)) => return self.usable_despite(error, pending.rejected()),
                Waited::LeaderLost => {}
            }
            pending = match pending.rejected() {
                None => match self.lookup_unleased()? {
                    Lookup::Hit(found) => return Ok(found.token.clone()),
                    Lookup::Wait(next) => next,
                },
                Some(generation) => match self.rejected(generation) {
                    AfterRejection::Newer(token) => return Ok(token),
                    AfterRejection::Wait(next) => next,
                    AfterRejection::Failed(error) => return Err(error),
                    AfterRejection::BudgetSpent => return Err(Error::no_runtime()),
                },
            };
        }
        Err(Error::no_runtime())
    }

    /// Returns the token that is served although a renewal failed, unless it is the one that was `rejected`.
    ///
    /// # Errors
    /// Returns `error` when there is no such token.
    pub(crate) fn usable_despite(&self, error: Error, rejected: Option<u64>) -> Renewed {
        let wall = self.wall_now();
        let usable = self.flight.look(|state, _| {
            let usable = state.usable(Instant::now(), wall).map(|served| &served.token);
            usable.filter(|token| Some(token.generation()) != rejected).cloned()
        });
        usable.ok_or(error)
    }

    /// Returns the token to send in the place of one that was waited for, if a newer one has come since.
    pub(crate) fn newest(&self, waited_for: AccessToken) -> AccessToken {
        match &*self.published.served() {
            Some(served) if served.token.generation() > waited_for.generation() => served.token.clone(),
            _ => waited_for,
        }
    }

    /// Returns whether the token of `generation` is known to lack these scopes.
    pub(crate) fn lacks(&self, generation: u64, needed: &Scopes) -> bool {
        self.scopes_of(generation).is_some_and(|granted| !granted.is_empty() && !granted.covers(needed))
    }

    /// Returns the scopes that the token of `generation` was granted, while it is served.
    pub(crate) fn scopes_of(&self, generation: u64) -> Option<Scopes> {
        let served = self.published.served();
        let served = served.as_ref().filter(|served| served.token.generation() == generation)?;
        served.token.scopes().cloned()
    }
}
