//! The cache: what callers ask it, and the renewal that runs apart from them.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwapOption;
use futures_util::FutureExt;
use tokio::{
    runtime::Handle,
    time::{Instant, timeout},
};
use tracing::Instrument;

use crate::{
    cache::{
        builder::TokenCacheBuilder,
        entry::Entry,
        flight::{Boarded, Flight, Pilot, Ticket},
        narrowed::Narrowed,
        settings::Settings,
        state::{Failing, State},
        status::{Age, CacheStatus},
    },
    error::Error,
    recursion::{self, Renewing},
    scope::Scopes,
    source::{Narrowing, Reason, TokenSource},
    token::AccessToken,
};

/// Reuse of a source's token: freshness, single flight, renewal, invalidation.
///
/// Cheap to clone, and shared by cloning: all clones, in all clients, cost their issuer one token request at a time.
///
/// ```
/// use tower_bearer::{BearerAuthLayer, FixedToken, TokenCache};
///
/// let cache = TokenCache::new(FixedToken::new("mF_9.B5f-4.1JqM")?);
/// let patients = BearerAuthLayer::with_cache(cache.clone());
/// let appointments = BearerAuthLayer::with_cache(cache.clone());
/// assert!(!cache.status().is_ready(), "nothing is asked for before the first request");
/// # Ok::<(), tower_bearer::Error>(())
/// ```
pub struct TokenCache<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    source: T,
    settings: Settings,
    /// The token to serve. Written only under the flight's lock; the hot path reads it without one.
    current: ArcSwapOption<Entry>,
    /// Whether acceptances are being watched: a copy of the budget's state for the hot path.
    limited: AtomicBool,
    flight: Flight<State, Renewed>,
    narrowed: Narrowed<T>,
}

/// So many renewals in a row may be lost to one who waits.
const MOST_LOST: u32 = 8;

type Renewed = Result<AccessToken, Error>;

/// What a request finds.
pub(crate) enum Look {
    /// A token to send it with.
    Hit(AccessToken),
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

/// A renewal that is under way in a task of its own.
#[derive(Debug)]
pub(crate) struct Awaited(Ticket<Renewed>);

/// What looking at the state under the lock decided.
enum Decision {
    Serve(AccessToken),
    Wait,
    BudgetSpent,
    Fail(Error),
}

impl<T: TokenSource> TokenCache<T> {
    /// A cache over `source`, with the default settings.
    pub fn new(source: T) -> Self {
        Self::builder(source).build()
    }

    /// A cache over `source`, with settings of one's own.
    pub fn builder(source: T) -> TokenCacheBuilder<T> {
        TokenCacheBuilder::new(source)
    }

    pub(crate) fn with_settings(source: T, settings: Settings) -> Self {
        let flight = Flight::new(State::new(&settings));
        let (current, limited) = (ArcSwapOption::empty(), AtomicBool::new(false));
        let narrowed = Narrowed::new(settings.most_narrowed);
        Self { shared: Arc::new(Shared { source, settings, current, limited, flight, narrowed }) }
    }

    /// The token to use now: the one at hand, or the next one. For what the layer does not reach: a WebSocket's first
    /// message, a library with its own HTTP client, warming up at start.
    ///
    /// # Errors
    /// The renewal's failure; while the source is left alone after one, at once the last one.
    ///
    /// # Cancel safety
    /// The renewal runs in its own task: dropping this future, or ending it by a deadline, neither stops nor delays it.
    pub async fn token(&self) -> Result<AccessToken, Error> {
        match self.look()? {
            Look::Hit(token) => Ok(token),
            Look::Wait(awaited) => self.clone().arrival(awaited).await,
        }
    }

    /// The cache of the same source's token for less: this scope, for these resources (RFC 8707). A token of its own, with the
    /// same settings; all who narrow this cache or a clone of it to the same share it. A request that carries a
    /// [`Narrowing`] among its extensions has its token from here.
    ///
    /// As many are kept as [set](TokenCacheBuilder::most_narrowed). Credentials that were refused for one are not tried
    /// for another; otherwise each fails and recovers by itself.
    ///
    /// ```
    /// use tower_bearer::{Error, TokenCache, TokenSource, source::Narrowing};
    ///
    /// fn read_only<T: TokenSource>(cache: &TokenCache<T>) -> Result<TokenCache<T>, Error> {
    ///     cache.narrowed(&Narrowing::new().with_scope("system/*.rs")?)
    /// }
    /// ```
    ///
    /// # Errors
    /// When the source cannot be narrowed; see [`TokenSource::narrowed`].
    pub fn narrowed(&self, to: &Narrowing) -> Result<Self, Error> {
        let shared = &self.shared;
        if let Some(cache) = shared.narrowed.get(to) {
            return Ok(cache);
        }
        let source = shared.source.narrowed(to).ok_or_else(|| {
            Error::config("this token source cannot be narrowed: let it implement `TokenSource::narrowed`")
        })?;
        Ok(shared.narrowed.add(to, &Self::with_settings(source, shared.settings.clone())))
    }

    /// Tells that an API rejected `token`. If it is still the newest one, it is no longer served and its renewal begins
    /// in the background, both within the [`RejectionBudget`](crate::cache::RejectionBudget); the rejection of an older
    /// one changes nothing. Whether it was still the newest.
    ///
    /// The layer does this by itself on a 401.
    #[expect(clippy::must_use_candidate, reason = "whether it was the newest matters to few")]
    pub fn invalidate(&self, token: &AccessToken) -> bool {
        // Compared by what it is: another cache's token may have the same generation.
        let is_newest = |state: &mut State, _| {
            let newest = state.newest.as_ref().filter(|newest| newest.secret() == token.secret());
            (newest.map(AccessToken::generation), false)
        };
        let newest = self.shared.flight.board(is_newest).0;
        if let Some(generation) = newest {
            self.rejected(generation);
        }
        newest.is_some()
    }

    /// Forgets the token and every failure, so that the next request asks the source: after an operator has mended what
    /// was wrong. A renewal that is under way goes on. The same for those that it was [narrowed](Self::narrowed) to.
    pub fn reset(&self) {
        let shared = &self.shared;
        shared.flight.board(|state, _| {
            shared.current.store(None);
            shared.limited.store(false, Ordering::Relaxed);
            let (newest, renewals) = (state.newest.take(), state.renewals);
            *state = State { newest, renewals, ..State::new(&shared.settings) };
            ((), false)
        });
        shared.settings.refusal.set(None);
        shared.narrowed.all().iter().for_each(Self::reset);
    }

    /// Forgets the token, and has its issuer revoke it (RFC 7009): at the end of a program, or when a user signs out.
    ///
    /// A grant revokes its refresh token as well, and the cache those that it was [narrowed](Self::narrowed) to. A renewal that is under way is waited for first, since it brings another
    /// token; but a request that comes later gets a new one, so stop the traffic before:
    ///
    /// ```no_run
    /// # async fn serve_until_ctrl_c() {}
    /// # async fn example(cache: tower_bearer::TokenCache<tower_bearer::FixedToken>) {
    /// serve_until_ctrl_c().await;
    /// if let Err(error) = cache.revoke().await {
    ///     eprintln!("the token lives until it expires: {error}");
    /// }
    /// # }
    /// ```
    ///
    /// Nothing is revoked when the last clone is dropped: that would need a task, which at the end of a program nobody runs.
    ///
    /// # Errors
    /// When the source cannot revoke, or the issuer would not; [`retry_in`](Error::retry_in) tells when a busy one wants to be
    /// asked again. The token is forgotten all the same, and another call tries again.
    ///
    /// # Cancel safety
    /// Dropped midway, the token is forgotten and may be revoked or not.
    pub async fn revoke(&self) -> Result<(), Error> {
        let narrowed = self.shared.narrowed.all();
        let all = narrowed.iter().chain([self]).map(Self::revoke_own);
        futures_util::future::join_all(all).await.into_iter().collect()
    }

    async fn revoke_own(&self) -> Result<(), Error> {
        let shared = &self.shared;
        if let Boarded::Joined(mut renewal) = shared.flight.board(|_, under_way| ((), under_way)).1 {
            self.bounded(renewal.arrival()).await;
        }
        let forget = |state: &mut State, _| {
            shared.current.store(None);
            (state.newest.clone(), false)
        };
        let Some(token) = shared.flight.board(forget).0 else { return Ok(()) };
        // Within the recursion guard, as a renewal is: its client must not have this cache's layer either.
        let revocation = Renewing::scope(self.id(), shared.source.revoke(&token));
        let deadline = shared.settings.renewal_deadline;
        timeout(deadline, revocation).await.unwrap_or_else(|_| Err(Error::timeout(deadline)))
    }

    /// How the cache is now.
    #[must_use]
    pub fn status(&self) -> CacheStatus {
        let shared = &self.shared;
        let wall = self.wall_now();
        let status = |state: &mut State, renewing| {
            let now = Instant::now();
            let entry = shared.current.load();
            let age = match entry.as_deref() {
                None => Age::Missing,
                Some(entry) if entry.is_expired(now, wall) => Age::Expired,
                Some(entry) if entry.is_stale(now) => Age::Stale,
                Some(_) => Age::Fresh,
            };
            let failing = state.failing.as_ref();
            let status = CacheStatus {
                age,
                generation: state.generation(),
                expires_in: entry.as_deref().map(|entry| entry.expires_in(now, wall)),
                renewing,
                renewals: state.renewals,
                failures: failing.map_or(0, Failing::times),
                last_error: failing.map(|failing| failing.error.clone()),
                retry_in: failing.and_then(|failing| failing.wait(now)),
                rejections_limited: state.budget.is_limited(),
                next_rejection_renewal_in: state.budget.next_renewal(now),
            };
            (status, false)
        };
        shared.flight.board(status).0
    }

    /// The hot path: a fresh token is read without a lock.
    pub(crate) fn look(&self) -> Result<Look, Error> {
        let now = Instant::now();
        let shared = &self.shared;
        if let Some(entry) = &*shared.current.load()
            && !entry.is_stale(now)
            && !entry.is_expired(now, self.wall_now())
            // While limited, a rejected token is served during its own renewal; not to that renewal.
            && !(shared.limited.load(Ordering::Relaxed) && self.is_renewed_here())
        {
            return Ok(Look::Hit(entry.token.clone()));
        }
        self.look_again()
    }

    /// Looks under the lock, and sees to it that a renewal is under way where one is due.
    fn look_again(&self) -> Result<Look, Error> {
        if self.is_renewed_here() {
            return Err(Error::recursion());
        }
        let shared = &self.shared;
        let (version, wall) = (self.credentials_version(), self.wall_now());
        let (decision, boarded) = shared.flight.board(|state, under_way| {
            let now = Instant::now();
            match &*shared.current.load() {
                Some(entry) if !entry.is_expired(now, wall) => {
                    let renew = entry.is_stale(now) && !under_way && state.blocked(now, version).is_none();
                    (Decision::Serve(entry.token.clone()), renew)
                }
                _ => want(state, under_way, version, now),
            }
        });
        match (decision, self.depart(boarded)) {
            // Also where nothing can renew it: outside a runtime.
            (Decision::Serve(token), _) => Ok(Look::Hit(token)),
            (Decision::Fail(error), _) | (_, Err(error)) => Err(error),
            (_, Ok(Some(awaited))) => Ok(Look::Wait(awaited)),
            (_, Ok(None)) => unreachable!("a decision to wait asks for a place"),
        }
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
                    Some(entry) if !entry.is_expired(now, wall) => (Decision::Serve(entry.token.clone()), false),
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
            (Decision::Serve(token), _) => AfterRejection::Newer(token),
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
    pub(crate) fn accepted(&self, generation: u64) {
        if self.shared.limited.load(Ordering::Relaxed)
            && let Some(entry) = &*self.shared.current.load()
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

    /// The scopes that a token was granted, while it is the one being served.
    pub(crate) fn scopes_of(&self, generation: u64) -> Option<Scopes> {
        let current = self.shared.current.load();
        let entry = current.as_ref().filter(|entry| entry.token.generation() == generation)?;
        entry.token.scopes().cloned()
    }

    /// Whether this cache is waiting for the very task that asks.
    pub(crate) fn is_renewed_here(&self) -> bool {
        recursion::is_renewing(self.id())
    }

    /// An address that is this cache's alone while any clone of it lives.
    pub(crate) fn id(&self) -> usize {
        Arc::as_ptr(&self.shared).cast::<()>() as usize
    }

    /// Waits for a renewal. Should its task be lost with its runtime, another one is begun; not for ever, because the
    /// runtime in which this is polled may itself be shut down.
    pub(crate) async fn arrival(self, mut awaited: Awaited) -> Renewed {
        for _ in 0..MOST_LOST {
            match self.bounded(awaited.0.arrival()).await {
                Some(Some(renewed)) => return renewed,
                Some(None) => {}
                None => {
                    self.shared.flight.give_up(&awaited.0);
                    return Err(Error::timeout(self.shared.settings.renewal_deadline));
                }
            }
            match self.look_again()? {
                Look::Hit(token) => return Ok(token),
                Look::Wait(next) => awaited = next,
            }
        }
        Err(Error::no_runtime())
    }

    /// A renewal keeps its deadline itself, in its task; but that is in the runtime of whoever began it, which may not be
    /// driven any more, or blocked. So those who wait have an eye on it too, a second later.
    async fn bounded<F: Future>(&self, arrival: F) -> Option<F::Output> {
        if Handle::try_current().is_err() {
            return Some(arrival.await);
        }
        let deadline = self.shared.settings.renewal_deadline.saturating_add(Duration::from_secs(1));
        timeout(deadline, arrival).await.ok()
    }

    /// The source's version of its credentials; it is somebody else's code, which may panic.
    fn credentials_version(&self) -> u64 {
        catch_unwind(AssertUnwindSafe(|| self.shared.source.credentials_version())).unwrap_or(0)
    }

    fn wall_now(&self) -> SystemTime {
        (self.shared.settings.wall_clock)()
    }

    /// Sends a flight that has just begun on its way, in a task that no caller can cancel.
    fn depart(&self, boarded: Boarded<Renewed>) -> Result<Option<Awaited>, Error> {
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
            Ok(Err(_)) => Err(Error::timeout(deadline)),
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

fn reason_name(reason: &Reason) -> &'static str {
    match reason {
        Reason::First => "first",
        Reason::Ageing => "ageing",
        Reason::Rejected(_) => "rejected",
    }
}

impl<T> Clone for TokenCache<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> fmt::Debug for TokenCache<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCache").field("current", &self.shared.current.load()).finish_non_exhaustive()
    }
}
