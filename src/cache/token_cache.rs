//! The cache, and what its users ask it.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering},
    time::SystemTime,
};

use tokio::time::{Instant, timeout};

use crate::{
    cache::{
        builder::TokenCacheBuilder,
        entry::Entry,
        flight::{Boarded, Flight},
        narrowed::Narrowed,
        renewal::Renewed,
        requests::Look,
        settings::Settings,
        state::{Failing, State},
        status::{Age, CacheStatus},
    },
    error::Error,
    recursion::Renewing,
    scope::Scopes,
    source::{Narrowing, TokenSource},
    sync::{ArcSwapOption, AtomicBool},
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
    pub(crate) shared: Arc<Shared<T>>,
}

pub(crate) struct Shared<T> {
    pub(crate) source: T,
    pub(crate) settings: Settings,
    /// The token to serve. Which one is decided under the flight's lock; the hot path reads it without, and leases it anew.
    pub(crate) current: ArcSwapOption<Entry>,
    /// Whether acceptances are being watched: a copy of the budget's state for the hot path.
    pub(crate) limited: AtomicBool,
    pub(crate) flight: Flight<State, Renewed>,
    narrowed: Narrowed<T>,
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
        match self.look(|entry| entry.token.clone())? {
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
        let all = self.with_narrowed();
        futures_util::future::join_all(all.iter().map(Self::revoke_own)).await.into_iter().collect()
    }

    /// This one last, after those that it was narrowed to, and those that they were.
    fn with_narrowed(&self) -> Vec<Self> {
        let narrowed = self.shared.narrowed.all();
        narrowed.iter().flat_map(Self::with_narrowed).chain([self.clone()]).collect()
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

    /// The scopes that a token was granted, while it is the one being served.
    pub(crate) fn scopes_of(&self, generation: u64) -> Option<Scopes> {
        let current = self.shared.current.load();
        let entry = current.as_ref().filter(|entry| entry.token.generation() == generation)?;
        entry.token.scopes().cloned()
    }

    /// An address that is this cache's alone while any clone of it lives.
    pub(crate) fn id(&self) -> usize {
        Arc::as_ptr(&self.shared).cast::<()>() as usize
    }

    /// The source's version of its credentials; it is somebody else's code, which may panic.
    pub(crate) fn credentials_version(&self) -> u64 {
        catch_unwind(AssertUnwindSafe(|| self.shared.source.credentials_version())).unwrap_or(0)
    }

    pub(crate) fn wall_now(&self) -> SystemTime {
        self.shared.settings.wall_clock.now()
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
