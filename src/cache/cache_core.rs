//! What all clones of a cache share.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::SystemTime,
};

use tokio::{sync::Notify, time::Instant};

use crate::{
    asking::Numbers,
    cache::{
        bounded_map::BoundedMap,
        decision::{ClientConditions, Conditions, Decision},
        family::{Family, Presents, Server},
        gauges::Gauges,
        published::Published,
        settings::Settings,
        single_flight::{Joined, Leader, SingleFlight, Waiter},
        state::CacheState,
        totals::Totals,
    },
    error::Error,
    recursion::{self, Renewing},
    source::{BoxTokenSource, CacheHandle, KeepsToken, Narrowing, TokenSource},
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
    pub(crate) family: Arc<Family>,
    pub(super) totals: Totals,
    /// `None` without a name of its own: narrowed caches and the identities of a pool would show different numbers in one gauge.
    pub(super) gauges: Option<Box<Gauges>>,
    /// The caches of narrowed tokens, made with the first of them.
    pub(super) narrowed: OnceLock<Box<BoundedMap<Narrowing, Arc<Self>>>>,
    /// Its place in the order of its map.
    pub(super) place: AtomicU64,
    /// Whether it was used since its map asked last. Only a use that finds no lease is noted, so a hit is not.
    is_used: AtomicBool,
    /// Wakes the renewal that waits in a pool's queue, so that it looks again whether it is wanted and awaited.
    pub(crate) nudge: Notify,
    /// Whether another renewal waits for that one.
    is_urgent: AtomicBool,
}

impl CacheCore {
    pub(crate) fn new(source: BoxTokenSource, settings: Arc<Settings>, family: Arc<Family>) -> Self {
        let flight = SingleFlight::new(CacheState::new(&settings));
        Self {
            source,
            settings,
            published: Published::default(),
            flight,
            family,
            totals: Totals::default(),
            gauges: None,
            narrowed: OnceLock::new(),
            place: AtomicU64::new(0),
            is_used: AtomicBool::new(false),
            nudge: Notify::new(),
            is_urgent: AtomicBool::new(false),
        }
    }

    /// Shows the state of this cache in gauges.
    pub(crate) fn with_gauges(self) -> Self {
        let core = Self { gauges: Some(Box::default()), ..self };
        core.show_gauges();
        core
    }

    /// Gives the source a handle of this cache. User code, which may panic.
    pub(crate) fn attached(self) -> Arc<Self> {
        let core = Arc::new(self);
        let weak: Weak<Self> = Arc::downgrade(&core);
        let handle = CacheHandle::new(weak);
        let _ = catch_unwind(AssertUnwindSafe(|| core.source.attach(handle)));
        core
    }

    /// Notes a use of this cache that found no lease, and of its identity. Returns whether a lease is worth its cost: not in a pool
    /// where the use before was so long ago that the next one would find the lease ended.
    pub(crate) fn note_use(&self, now: Instant) -> bool {
        self.is_used.store(true, Relaxed);
        self.family.note_use(now)
    }

    /// Returns whether this cache was used since this was asked last.
    pub(super) fn take_use(&self) -> bool {
        self.is_used.swap(false, Relaxed)
    }

    /// Changes the state, and publishes it.
    pub(crate) fn change<A>(&self, mut change: impl FnMut(&mut CacheState) -> A) -> A {
        let answer = self.flight.look(|state, _| self.publishing(state, &mut change));
        self.show_gauges();
        answer
    }

    /// Forgets the token and every failure. A renewal in progress no longer counts.
    pub(crate) fn reset(&self) {
        // User code, which may panic.
        let _ = catch_unwind(AssertUnwindSafe(|| self.source.reset()));
        self.flight.supersede(|state| self.publishing(state, |state| state.reset(&self.settings)));
        self.family.reset();
        self.show_gauges();
        self.nudge.notify_one();
    }

    /// Makes a decision, publishes the state, and takes part in a renewal if the decision says so.
    pub(crate) fn decide(
        &self,
        mut decide: impl FnMut(&mut CacheState, &Conditions) -> Decision,
    ) -> (Decision, Option<Joined<Renewed>>) {
        // User code, so before the lock is taken.
        let (Presents { credentials_version, numbers }, wall) = (self.presents(), self.wall_now());
        let refusals = self.family.refusals.look(|shared, _| shared.clone());
        let client = self.family.server(numbers).map(|server| self.client_conditions(&server));
        let mut at = Conditions { now: Instant::now(), wall, renewing: false, credentials_version, refusals, client };
        let decided = self.flight.join(|state, renewing| {
            (at.now, at.renewing) = (Instant::now(), renewing);
            let decision = self.publishing(state, |state| decide(state, &at));
            let joins = decision.joins();
            (decision, joins)
        });
        self.show_gauges();
        decided
    }

    /// Ends a renewal: changes the state, publishes it, and then gives everyone who waits what the renewal brought. Returns
    /// `false` if it changed nothing, because it no longer counts.
    pub(crate) fn complete(&self, leader: Leader<Renewed>, mut change: impl FnMut(&mut CacheState) -> Renewed) -> bool {
        let counted = self.flight.complete(leader, |state| self.publishing(state, &mut change));
        self.show_gauges();
        counted
    }

    /// Abandons a renewal that makes no progress. A rejected token is served again, as if the renewal had failed.
    pub(crate) fn abandon(&self, waiter: &Waiter<Renewed>) {
        self.flight.abandon(waiter, |state| self.publishing(state, CacheState::keep_rejected));
        self.show_gauges();
    }

    /// Returns what may hold back this cache as one of several identities.
    fn client_conditions(&self, Server { client, issuer, .. }: &Server) -> ClientConditions {
        let client = client.look(|state, _| state.clone());
        let issuer = issuer.known.look(|state, _| state.clone());
        ClientConditions { client, issuer, patience: self.patience_with_tries() }
    }

    /// Makes a change under the lock of the state, and publishes the state.
    fn publishing<A>(&self, state: &mut CacheState, mut change: impl FnMut(&mut CacheState) -> A) -> A {
        let answer = change(state);
        self.published.publish(state);
        if let Some(gauges) = &self.gauges {
            gauges.note(state);
        }
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

    /// Returns the source's numbers for its client and its issuer. User code, which may panic. It is not called where nothing is
    /// shared.
    pub(crate) fn numbers(&self) -> Option<Numbers> {
        self.family.shared.as_ref()?;
        let numbers = || {
            let client = self.source.client()?;
            Some(Numbers { client, issuer: self.source.issuer().unwrap_or(client) })
        };
        catch_unwind(AssertUnwindSafe(numbers)).unwrap_or(None)
    }

    /// Returns what the source presents to its issuer now.
    pub(crate) fn presents(&self) -> Presents {
        Presents { credentials_version: self.credentials_version(), numbers: self.numbers() }
    }

    /// Asks the source whether it can get a token at all. User code, which may panic.
    pub(crate) fn check_source(&self) -> Result<(), Error> {
        catch_unwind(AssertUnwindSafe(|| self.source.check())).unwrap_or(Err(Error::panicked()))
    }

    /// Tells a renewal that waits in the pool's queue that somebody waits for it.
    pub(crate) fn is_awaited_now(&self) {
        if self.family.shared.is_some() {
            if Renewing::is_any() {
                self.is_urgent.store(true, Relaxed);
            }
            self.nudge.notify_one();
        }
    }

    /// Returns whether another renewal waits for the one of this cache, which then must not wait for a place.
    pub(crate) fn take_urgency(&self) -> bool {
        self.is_urgent.swap(false, Relaxed)
    }

    pub(crate) fn wall_now(&self) -> SystemTime {
        self.settings.wall_clock.now()
    }
}

impl KeepsToken for CacheCore {
    fn served(&self) -> Option<AccessToken> {
        self.published.served().as_ref().map(|served| served.token.clone())
    }

    fn withdraw(&self, token: &AccessToken) -> bool {
        self.change(|state| state.withdraw(token))
    }
}

impl fmt::Debug for CacheCore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheCore").field("published", &self.published).finish_non_exhaustive()
    }
}
