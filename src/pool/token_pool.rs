//! The pool, and what its users ask of it.

use std::{
    borrow::Borrow,
    fmt,
    hash::Hash,
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::{StreamExt, stream};

use crate::{
    cache::{AfterRenewal, BoundedMap, CacheCore, Shared, TokenCache, TokenCacheBuilder},
    error::Error,
    events::{self, Shown},
    pool::{
        builder::{Make, TokenPoolBuilder},
        status::PoolStatus,
    },
    runtime,
};

/// How many entries a sweep looks at before it lets other tasks run.
const SWEPT_AT_ONCE: usize = 256;

/// The caches of many identities, each made at its first use.
///
/// `K` is what tells identities apart: a tenant's name, or a hash of a user's token. Two identities with equal keys share a
/// token, so a key must hold everything that shapes the token. A key is never shown, see [`Shown`](crate::pool::Shown).
///
/// Each identity has its own token, renewal, backoff and [`RejectionBudget`](crate::cache::RejectionBudget), as each
/// [`TokenCache`] has. The pool bounds [how many](TokenPoolBuilder::max_identities) there are,
/// [how long](TokenPoolBuilder::idle) an unused one is kept, and [how many renewals](TokenPoolBuilder::max_renewals) are in
/// progress. It has no task of its own. It is cheap to clone, and shared by cloning.
///
/// ```
/// use std::borrow::Cow;
/// use tower_bearer::{BearerAuthLayer, Error, FixedToken, TokenPool};
///
/// let pool = TokenPool::new(|tenant: &String| match tenant.as_str() {
///     "acme" => FixedToken::new("mF_9.B5f-4.1JqM"),
///     _ => Err(Error::terminal("this tenant is not known")),
/// });
/// let layer = BearerAuthLayer::with_pool(pool.clone(), |head| {
///     head.headers().get("x-tenant")?.to_str().ok().map(Cow::Borrowed)
/// });
/// assert!(pool.cache("globex").is_err() && pool.cache("acme").is_ok());
/// assert_eq!(pool.status().identities, 1);
/// ```
pub struct TokenPool<K> {
    pool: Arc<Pool<K>>,
}

struct Pool<K> {
    identities: BoundedMap<K, Arc<CacheCore>>,
    make: Make<K>,
    name: Option<fn(&K) -> String>,
    shared: Arc<Shared>,
    idle: Duration,
    max_renewals: usize,
    /// When the last sweep began, in milliseconds of the pool's life.
    swept: AtomicU64,
    /// How many identities there are, and how many were evicted when that was shown last.
    shown: Shown,
    shown_evicted: AtomicU64,
}

impl<K> TokenPool<K>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
{
    /// Creates a pool with the default settings. `make` returns the source of an identity, or a
    /// [builder](crate::TokenCache::builder) with the settings of its cache.
    ///
    /// `make` runs at the first use of an identity, and again after it was evicted. It may run for the same identity in two
    /// threads at once; only one of the caches is used. Its error goes to the request that needed the cache, and is not kept:
    /// the next request calls it again. So it should be fast, and an unknown identity is an [`Error::terminal`].
    ///
    /// A gateway answers 403 to an unknown identity. To find it out, give the error a type of its own, and look for that type in
    /// [`source()`](std::error::Error::source):
    ///
    /// ```
    /// use std::{error::Error as _, fmt};
    /// use tower_bearer::{BoxError, Error, FixedToken, TokenPool};
    ///
    /// #[derive(Debug)]
    /// struct UnknownTenant;
    ///
    /// impl fmt::Display for UnknownTenant {
    ///     fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    ///         f.write_str("this tenant is not known")
    ///     }
    /// }
    ///
    /// impl std::error::Error for UnknownTenant {}
    ///
    /// fn is_unknown_tenant(error: &BoxError) -> bool {
    ///     let error = error.downcast_ref::<Error>().and_then(|error| error.source());
    ///     error.is_some_and(|error| error.is::<UnknownTenant>())
    /// }
    ///
    /// let pool = TokenPool::new(|_: &String| Err::<FixedToken, _>(Error::terminal(UnknownTenant)));
    /// assert!(is_unknown_tenant(&pool.cache("umbrella").unwrap_err().into()));
    /// ```
    ///
    /// If tenants have different grants, return a [`BoxTokenSource`](crate::source::BoxTokenSource):
    ///
    /// ```
    /// # #[cfg(feature = "client")] {
    /// use tower_bearer::{
    ///     Error, PasswordGrant, TokenPool,
    ///     grant::{ClientAuth, ClientCredentials, Secret},
    ///     source::BoxTokenSource,
    /// };
    ///
    /// const URL: &str = "https://auth.example.org/token";
    /// let pool = TokenPool::new(|tenant: &String| {
    ///     let auth = ClientAuth::basic("gateway", Secret::env("CLIENT_SECRET"));
    ///     match tenant.as_str() {
    ///         "acme" => ClientCredentials::builder(URL).client_auth(auth).build().map(BoxTokenSource::new),
    ///         "globex" => PasswordGrant::builder(URL)
    ///             .client_auth(auth)
    ///             .credentials("globex", Secret::env("GLOBEX_PASSWORD"))
    ///             .build()
    ///             .map(BoxTokenSource::new),
    ///         _ => Err(Error::terminal("this tenant is not known")),
    ///     }
    /// });
    /// # let _ = pool.cache("acme");
    /// # }
    /// ```
    ///
    /// `Hash`, `Eq` and `Clone` of the key run under a lock of the pool, so they must not use the pool.
    pub fn new<M: Into<TokenCacheBuilder>>(make: impl Fn(&K) -> Result<M, Error> + Send + Sync + 'static) -> Self {
        Self::builder(make).build()
    }

    /// Creates a builder of a pool, to change its settings. [`new`](Self::new) says what `make` does.
    pub fn builder<M: Into<TokenCacheBuilder>>(
        make: impl Fn(&K) -> Result<M, Error> + Send + Sync + 'static,
    ) -> TokenPoolBuilder<K> {
        TokenPoolBuilder::new(Box::new(move |key| make(key).map(Into::into)))
    }

    /// Returns the cache of an identity, and makes it if there is none. A request of the same identity uses the same cache.
    ///
    /// A clone that you keep keeps the identity from being evicted.
    ///
    /// # Errors
    /// When the pool's function returns an error for this key.
    pub fn cache<Q>(&self, key: &Q) -> Result<TokenCache, Error>
    where
        K: Borrow<Q>,
        Q: ToOwned<Owned = K> + Eq + Hash + ?Sized,
    {
        self.core(key).map(TokenCache::from_core)
    }

    /// Returns the cache of an identity if there is one, to read its [`status`](TokenCache::status), or to
    /// [`reset`](TokenCache::reset) or [`revoke`](TokenCache::revoke) the token of one identity. This is not a use: an idle
    /// identity stays idle.
    #[must_use]
    pub fn get<Q>(&self, key: &Q) -> Option<TokenCache>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.pool.identities.get(key).map(TokenCache::from_core)
    }

    /// Forgets one identity: its token, its narrowed tokens and its failures. Returns whether there was one.
    ///
    /// It is for an operator who removes a tenant, or for a user who signs out. The next request of the identity gets a new cache,
    /// from the pool's function. A request in progress keeps the old one to its end, and so does a clone of the cache; the pool
    /// does not show or change that any more. A backoff and the use of a budget are forgotten too, as with
    /// [`reset`](TokenCache::reset), so the issuer is asked at once. A refused client and an outage stay known, because they are
    /// not of one identity.
    ///
    /// The token stays valid until it expires. To end it, [`revoke`](TokenCache::revoke) it first:
    ///
    /// ```
    /// # use tower_bearer::{Error, TokenPool};
    /// async fn remove(pool: &TokenPool<String>, tenant: &str) -> Result<(), Error> {
    ///     let cache = pool.get(tenant);
    ///     pool.forget(tenant);
    ///     if let Some(cache) = cache { cache.revoke().await } else { Ok(()) }
    /// }
    /// ```
    pub fn forget<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let removed = self.pool.identities.remove(key).is_some();
        self.pool.show();
        removed
    }

    /// Returns a snapshot of the pool, for a health probe or a log line. It looks at each identity.
    #[must_use]
    pub fn status(&self) -> PoolStatus {
        let mut status = PoolStatus::new(self.pool.identities.evicted(), &self.pool.shared.totals);
        self.caches().for_each(|(_, cache)| status.count(&cache.status()));
        status
    }

    /// Returns the identities and their caches, as they are now. This is not a use: an idle identity stays idle.
    pub fn iter(&self) -> impl Iterator<Item = (K, TokenCache)> + use<K> {
        self.caches().collect::<Vec<_>>().into_iter()
    }

    /// Tells the pool that an API rejected the tokens of all identities, because a signing key was replaced for example. Each
    /// token is renewed, within the [`RejectionBudget`](crate::cache::RejectionBudget) of its identity; see
    /// [`TokenCache::invalidate`]. Outside a Tokio runtime it changes nothing.
    pub fn invalidate(&self) {
        for (_, cache) in self.caches() {
            cache.core.with_narrowed().iter().for_each(CacheCore::invalidate_newest);
        }
    }

    /// Forgets the tokens and the failures of all identities, so that their next requests ask their sources; see
    /// [`TokenCache::reset`]. The identities stay.
    pub fn reset(&self) {
        self.caches().for_each(|(_, cache)| cache.reset());
    }

    /// Forgets the tokens of all identities, with their narrowed tokens, and has their issuers revoke them; see
    /// [`TokenCache::revoke`]. At most [`max_renewals`](TokenPoolBuilder::max_renewals) identities are revoked at once.
    ///
    /// The tokens of identities that were evicted stay valid until they expire.
    ///
    /// # Errors
    /// The first error of [`TokenCache::revoke`]. All others are revoked all the same.
    ///
    /// # Cancel safety
    /// If this future is dropped before it ends, some of the tokens are forgotten and revoked.
    pub async fn revoke(&self) -> Result<(), Error> {
        runtime::current()?;
        let revocations = self.iter().map(async |(_, cache)| cache.revoke().await);
        let fold = async |first: Result<(), Error>, next: Result<(), Error>| first.and(next);
        stream::iter(revocations).buffer_unordered(self.pool.max_renewals).fold(Ok(()), fold).await
    }

    /// Returns the cache of an identity, and makes it if there is none. This is on the path of each request.
    pub(super) fn core<Q>(&self, key: &Q) -> Result<Arc<CacheCore>, Error>
    where
        K: Borrow<Q>,
        Q: ToOwned<Owned = K> + Eq + Hash + ?Sized,
    {
        self.core_made_by(key, |key| (self.pool.make)(key).map_err(Error::of_making))
    }

    /// Returns the cache of an identity. If there is none, it is made with this source and these settings.
    pub(super) fn core_made_by<Q, E>(
        &self,
        key: &Q,
        make: impl FnOnce(&K) -> Result<TokenCacheBuilder, E>,
    ) -> Result<Arc<CacheCore>, E>
    where
        K: Borrow<Q>,
        Q: ToOwned<Owned = K> + Eq + Hash + ?Sized,
    {
        let Some(core) = self.pool.identities.get(key) else { return self.make(key, make) };
        if core.family.is_idle(self.pool.idle) {
            return self.pool.evict_unless_needed(key, core).map_or_else(|| self.make(key, make), Ok);
        }
        Ok(core)
    }

    /// Makes the cache of an identity. The function that says how is user code, so no lock is held.
    #[cold]
    fn make<Q, E>(&self, key: &Q, make: impl FnOnce(&K) -> Result<TokenCacheBuilder, E>) -> Result<Arc<CacheCore>, E>
    where
        K: Borrow<Q>,
        Q: ToOwned<Owned = K> + ?Sized,
    {
        let Pool { identities, name, shared, .. } = &*self.pool;
        let key = key.to_owned();
        let cache = make(&key)?.build_in(shared, name.map(|name| name(&key).into()));
        let core = identities.add(key, cache);
        self.pool.show();
        Ok(core)
    }

    fn caches(&self) -> impl Iterator<Item = (K, TokenCache)> {
        self.pool.identities.iter().map(|(key, core)| (key, TokenCache::from_core(core)))
    }
}

impl<K> TokenPoolBuilder<K>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
{
    /// Creates the pool. No cache is made before the first request.
    #[must_use]
    pub fn build(self) -> TokenPool<K> {
        let Self { make, max_identities, idle, max_renewals, name, pool_name } = self;
        if let Some(pool) = &pool_name {
            events::pool_made(pool);
        }
        let pool = Arc::new_cyclic(|pool: &Weak<Pool<K>>| Pool {
            identities: BoundedMap::new(max_identities, CacheCore::IDENTITY_RULES),
            make,
            name,
            shared: Shared::new(max_renewals, pool_name, pool.clone()),
            idle,
            max_renewals,
            swept: AtomicU64::new(0),
            shown: Shown::default(),
            shown_evicted: AtomicU64::new(0),
        });
        pool.show();
        TokenPool { pool }
    }
}

impl<K: Clone + Eq + Hash> Pool<K> {
    /// Shows how many identities there are, and counts those that were evicted since.
    fn show(&self) {
        let name = self.shared.renewals.pool();
        let evicted = self.identities.evicted();
        let before = self.shown_evicted.fetch_max(evicted, Relaxed);
        if evicted > before {
            events::pool_evicted(name, evicted - before);
        }
        if let Some(pool) = name {
            self.shown.set(self.identities.len() as u64);
            self.shown.show(|now| events::show_identities(pool, now));
        }
    }

    /// Evicts an idle identity, and returns its cache if that must stay.
    #[cold]
    fn evict_unless_needed<Q>(&self, key: &Q, core: Arc<CacheCore>) -> Option<Arc<CacheCore>>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        // A reference here would keep it.
        drop(core);
        self.evict_idle(key);
        self.identities.get(key)
    }

    /// Evicts an identity if it is idle, unless it must stay.
    fn evict_idle<Q>(&self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        if self.identities.remove_if(key, |core| core.family.is_idle(self.idle) && !core.must_stay()) {
            self.show();
        }
    }

    async fn sweep(&self) {
        for (seen, (key, core)) in self.identities.iter().enumerate() {
            let is_idle = core.family.is_idle(self.idle);
            // A reference here would keep it.
            drop(core);
            if is_idle {
                self.evict_idle(&key);
            }
            if seen % SWEPT_AT_ONCE == SWEPT_AT_ONCE - 1 {
                tokio::task::yield_now().await;
            }
        }
    }
}

impl<K> AfterRenewal for Pool<K>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
{
    /// Evicts idle identities, at most once in a quarter of the idle time.
    fn renewed(self: Arc<Self>) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        let (now, last) = (self.shared.age(), self.swept.load(Relaxed));
        let quarter = u64::try_from(self.idle.as_millis() / 4).unwrap_or(u64::MAX);
        let is_due = now.saturating_sub(last) >= quarter;
        let is_mine = is_due && self.swept.compare_exchange(last, now, Relaxed, Relaxed).is_ok();
        is_mine.then(|| Box::pin(async move { self.sweep().await }) as _)
    }
}

impl<K> Clone for TokenPool<K> {
    fn clone(&self) -> Self {
        Self { pool: Arc::clone(&self.pool) }
    }
}

/// Shows how many identities there are, and no key.
impl<K: Clone + Eq + Hash> fmt::Debug for TokenPool<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenPool")
            .field("identities", &self.pool.identities.len())
            .field("idle", &self.pool.idle)
            .finish_non_exhaustive()
    }
}
