//! What requests ask of a cache: a token, what to do after a rejection; and what they tell it.

use std::{
    sync::{Arc, atomic::Ordering},
    time::SystemTime,
};

use tokio::time::Instant;

use crate::{
    cache::{entry::Entry, renewal::Awaited, state::State, token_cache::TokenCache},
    error::Error,
    recursion,
    source::TokenSource,
    token::AccessToken,
};

/// What a request finds.
pub(crate) enum Look<U> {
    /// A token to send it with, and what it took of that.
    Hit(U),
    /// One is being fetched.
    Wait(Awaited),
}

/// What a rejected request is to do.
pub(crate) enum AfterRejection {
    /// There is a newer token already.
    Newer(AccessToken),
    /// One is being fetched.
    Wait(Awaited),
    /// Too many fresh tokens were rejected: pass the rejection on.
    BudgetSpent,
    /// The source is being left alone after this failure.
    Failed(Error),
}

/// What looking at the state under the lock decided.
enum Decision {
    Serve(Arc<Entry>),
    Wait,
    BudgetSpent,
    Fail(Error),
}

impl<T: TokenSource> TokenCache<T> {
    /// The hot path: a fresh token is read without a lock, and without being counted as in use.
    #[inline]
    pub(crate) fn look<U>(&self, take: impl FnOnce(&Entry) -> U) -> Result<Look<U>, Error> {
        let shared = &self.shared;
        if let Some(entry) = &*shared.current.load()
            && entry.is_leased(Instant::now(), &shared.settings.wall_clock)
            // While limited, a rejected token is served during its own renewal; not to that renewal.
            && !(shared.limited.load(Ordering::Relaxed) && self.is_renewed_here())
        {
            return Ok(Look::Hit(take(entry)));
        }
        self.look_again(take)
    }

    /// Leases a fresh token; else looks under the lock, and sees to it that a renewal is under way where one is due.
    #[cold]
    pub(crate) fn look_again<U>(&self, take: impl FnOnce(&Entry) -> U) -> Result<Look<U>, Error> {
        let (shared, wall, renewed_here) = (&self.shared, self.wall_now(), self.is_renewed_here());
        // First: a fresh token asks nothing of its source, and nobody waits for it.
        if !(renewed_here && shared.limited.load(Ordering::Relaxed))
            && let Some(entry) = self.lease(wall)
        {
            return Ok(Look::Hit(take(&entry)));
        }
        if renewed_here {
            return Err(Error::recursion());
        }
        let version = self.credentials_version();
        let (decision, boarded) = shared.flight.board(|state, under_way| {
            let now = Instant::now();
            match &*shared.current.load() {
                Some(entry) if !entry.is_expired(now, wall) => {
                    let renew = entry.is_stale(now) && !under_way && state.blocked(now, version).is_none();
                    (Decision::Serve(Arc::clone(entry)), renew)
                }
                _ => want(state, under_way, version, now),
            }
        });
        match (decision, self.depart(boarded)) {
            // Also where nothing can renew it: outside a runtime.
            (Decision::Serve(entry), _) => Ok(Look::Hit(take(&entry))),
            (Decision::Fail(error), _) | (_, Err(error)) => Err(error),
            (_, Ok(Some(awaited))) => Ok(Look::Wait(awaited)),
            (_, Ok(None)) => unreachable!("a decision to wait asks for a place"),
        }
    }

    /// A fresh token, leased anew. Without the lock: unless something took its place meanwhile, it is the same token still.
    fn lease(&self, wall: SystemTime) -> Option<Arc<Entry>> {
        let (current, now) = (self.shared.current.load(), Instant::now());
        let entry = current.as_ref().filter(|entry| !entry.is_stale(now) && !entry.is_expired(now, wall))?;
        // Another thread may have been first.
        if entry.is_leased(now, &self.shared.settings.wall_clock) {
            return Some(Arc::clone(entry));
        }
        let leased = Arc::new(entry.leased(now));
        self.shared.current.compare_and_swap(&current, Some(Arc::clone(&leased)));
        Some(leased)
    }

    /// A first attempt that carried this generation was rejected.
    pub(crate) fn rejected(&self, generation: u64) -> AfterRejection {
        if self.is_renewed_here() {
            return AfterRejection::Failed(Error::recursion());
        }
        let shared = &self.shared;
        let (version, wall) = (self.credentials_version(), self.wall_now());
        let (decision, boarded) = shared.flight.board(|state, under_way| {
            let now = Instant::now();
            let current = shared.current.load();
            if generation != state.generation() {
                // A late rejection of a token that was replaced since.
                return match &*current {
                    Some(entry) if !entry.is_expired(now, wall) => (Decision::Serve(Arc::clone(entry)), false),
                    _ => want(state, under_way, version, now),
                };
            }
            let limited = state.budget.is_limited();
            if !under_way && !state.rejected {
                let accepted = current.as_ref().and_then(|entry| entry.accepted_at());
                let may_renew = state.budget.may_renew(accepted, now);
                shared.limited.store(state.budget.is_limited(), Ordering::Relaxed);
                if !may_renew {
                    return (Decision::BudgetSpent, false);
                }
            }
            state.rejected = true;
            if !limited {
                // While limited it is still served: other endpoints may well accept it.
                shared.current.store(None);
            }
            want(state, under_way, version, now)
        });
        match (decision, self.depart(boarded)) {
            (_, Err(error)) | (Decision::Fail(error), _) => AfterRejection::Failed(error),
            (Decision::Serve(entry), _) => AfterRejection::Newer(entry.token.clone()),
            (Decision::Wait, Ok(Some(awaited))) => AfterRejection::Wait(awaited),
            (Decision::BudgetSpent | Decision::Wait, _) => AfterRejection::BudgetSpent,
        }
    }

    /// A retry that carried this generation was accepted, or rejected.
    pub(crate) fn retried(&self, generation: u64, accepted: bool) {
        self.shared.flight.board(|state, _| {
            if state.generation() == generation {
                state.budget.retried(accepted, Instant::now());
                self.shared.limited.store(state.budget.is_limited(), Ordering::Relaxed);
            }
            ((), false)
        });
    }

    /// An API accepted this generation. Reads one flag unless the budget is limited.
    #[inline]
    pub(crate) fn accepted(&self, generation: u64) {
        if self.shared.limited.load(Ordering::Relaxed) {
            self.note_accepted(generation);
        }
    }

    #[cold]
    fn note_accepted(&self, generation: u64) {
        if let Some(entry) = &*self.shared.current.load()
            && entry.token.generation() == generation
        {
            entry.note_accepted(Instant::now());
        }
    }

    /// The token to send in the place of one that had to wait, if a newer one has come since.
    pub(crate) fn newest(&self, waited: AccessToken) -> AccessToken {
        match &*self.shared.current.load() {
            Some(entry) if entry.token.generation() > waited.generation() => entry.token.clone(),
            _ => waited,
        }
    }

    /// Whether this cache is waiting for the very task that asks.
    pub(crate) fn is_renewed_here(&self) -> bool {
        recursion::is_renewing(self.id())
    }
}

/// A place on the renewal, unless the source is being left alone.
fn want(state: &State, under_way: bool, credentials_version: u64, now: Instant) -> (Decision, bool) {
    if under_way {
        return (Decision::Wait, true);
    }
    match state.blocked(now, credentials_version) {
        Some(error) => (Decision::Fail(error), false),
        None => (Decision::Wait, true),
    }
}
