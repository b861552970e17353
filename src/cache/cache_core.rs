//! What all clones of a cache share.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::SystemTime,
};

use tokio::time::Instant;

use crate::{
    cache::{
        decision::{Conditions, Decision},
        published::Published,
        refusals::SharedRefusals,
        settings::Settings,
        single_flight::{Joined, Leader, SingleFlight, Waiter},
        state::CacheState,
    },
    error::Error,
    recursion,
    source::{BoxTokenSource, TokenSource},
    token::AccessToken,
};

/// What a renewal brings to everyone who waits for it.
pub(crate) type Renewed = Result<AccessToken, Error>;

/// The source, the settings, the state, and what is published of it.
pub(crate) struct CacheCore {
    pub(crate) source: BoxTokenSource,
    pub(crate) settings: Arc<Settings>,
    pub(crate) published: Published,
    pub(crate) flight: SingleFlight<CacheState, Renewed>,
    pub(crate) family: Family,
}

/// What a cache and its narrowed caches share: refusals, and the one that tries credentials which were not accepted yet.
pub(crate) type Family = Arc<SingleFlight<SharedRefusals, ()>>;

pub(crate) fn new_family() -> Family {
    Arc::new(SingleFlight::new(SharedRefusals::default()))
}

impl CacheCore {
    pub(crate) fn new(source: BoxTokenSource, settings: Arc<Settings>, family: Family) -> Self {
        let flight = SingleFlight::new(CacheState::new(&settings));
        Self { source, settings, published: Published::default(), flight, family }
    }

    /// Changes the state, and publishes it.
    pub(crate) fn change<A>(&self, mut change: impl FnMut(&mut CacheState) -> A) -> A {
        self.flight.look(|state, _| self.publishing(state, &mut change))
    }

    /// Forgets the token and every failure. A renewal in progress no longer counts.
    pub(crate) fn reset(&self) {
        self.flight.supersede(|state| self.publishing(state, |state| state.reset(&self.settings)));
        self.family.supersede(|shared| *shared = SharedRefusals::default());
    }

    /// Makes a decision, publishes the state, and takes part in a renewal if the decision says so.
    pub(crate) fn decide(
        &self,
        mut decide: impl FnMut(&mut CacheState, &Conditions) -> Decision,
    ) -> (Decision, Option<Joined<Renewed>>) {
        // User code, so before the lock is taken.
        let (credentials_version, wall) = (self.credentials_version(), self.wall_now());
        let refusals = self.family.look(|shared, _| shared.clone());
        let mut at = Conditions { now: Instant::now(), wall, renewing: false, credentials_version, refusals };
        self.flight.join(|state, renewing| {
            (at.now, at.renewing) = (Instant::now(), renewing);
            let decision = self.publishing(state, |state| decide(state, &at));
            let joins = decision.joins();
            (decision, joins)
        })
    }

    /// Ends a renewal: changes the state, publishes it, and then gives everyone who waits what the renewal brought. Returns
    /// `false` if it changed nothing, because it no longer counts.
    pub(crate) fn complete(&self, leader: Leader<Renewed>, mut change: impl FnMut(&mut CacheState) -> Renewed) -> bool {
        self.flight.complete(leader, |state| self.publishing(state, &mut change))
    }

    /// Abandons a renewal that makes no progress. A rejected token is served again, as if the renewal had failed.
    pub(crate) fn abandon(&self, waiter: &Waiter<Renewed>) {
        self.flight.abandon(waiter, |state| self.publishing(state, CacheState::keep_rejected));
    }

    /// Makes a change under the lock of the state, and publishes the state.
    fn publishing<A>(&self, state: &mut CacheState, mut change: impl FnMut(&mut CacheState) -> A) -> A {
        let answer = change(state);
        self.published.publish(state);
        answer
    }

    /// Returns an address that belongs to this cache alone while any clone of it lives.
    pub(crate) fn id(self: &Arc<Self>) -> usize {
        Arc::as_ptr(self).cast::<()>() as usize
    }

    /// Returns whether this cache waits for the very task that asks.
    pub(crate) fn is_renewed_here(self: &Arc<Self>) -> bool {
        recursion::is_renewing(self.id())
    }

    /// Returns the source's version of its credentials. User code, which may panic.
    pub(crate) fn credentials_version(&self) -> u64 {
        catch_unwind(AssertUnwindSafe(|| self.source.credentials_version())).unwrap_or(0)
    }

    pub(crate) fn wall_now(&self) -> SystemTime {
        self.settings.wall_clock.now()
    }
}

impl fmt::Debug for CacheCore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheCore").field("published", &self.published).finish_non_exhaustive()
    }
}
