//! The cache, and what its users ask of it.

use std::{fmt, sync::Arc};

use tokio::time::Instant;

use crate::{
    cache::{cache_core::CacheCore, status::CacheStatus},
    error::Error,
    recursion::Renewing,
    runtime,
    source::{Narrowing, TokenSource},
    timer::timeout,
    token::AccessToken,
};

/// A cache of a source's token: freshness, single flight, renewal, invalidation.
///
/// It is cheap to clone, and shared by cloning. All clones share one token, and send the issuer at most one token request at
/// a time.
///
/// ```
/// use tower_bearer::{BearerAuthLayer, FixedToken, TokenCache};
///
/// let cache = TokenCache::new(FixedToken::new("mF_9.B5f-4.1JqM")?);
/// let patients = BearerAuthLayer::with_cache(cache.clone());
/// let appointments = BearerAuthLayer::with_cache(cache.clone());
/// assert!(!cache.status().is_ready(), "no token is requested before the first request");
/// # Ok::<(), tower_bearer::Error>(())
/// ```
#[derive(Clone)]
pub struct TokenCache {
    pub(crate) core: Arc<CacheCore>,
}

impl TokenCache {
    pub(crate) fn from_core(core: Arc<CacheCore>) -> Self {
        Self { core }
    }

    /// Returns the token to use now. If there is none, waits for the next one.
    ///
    /// It is for what neither the layer nor [`call`](Self::call) reaches: the first message of a WebSocket, a warm-up at start.
    /// For HTTP requests, use [`call`](Self::call), or tell the cache what became of the token: [`accept`](Self::accept) and
    /// [`reject`](Self::reject). Otherwise it cannot know that a new token is good, and treats the next revocation as an API
    /// that rejects every token.
    ///
    /// # Errors
    /// Fails with the renewal's error. While the source backs off after a failure, it fails at once with the last error.
    ///
    /// # Cancel safety
    /// The renewal runs in a task of its own. Dropping this future does not stop or delay it.
    pub async fn token(&self) -> Result<AccessToken, Error> {
        self.core.token().await.map(|(token, _)| token)
    }

    /// Returns a cache whose tokens have less scope, or are for certain resources (RFC 8707), from the same source.
    ///
    /// It has its own token and the same settings. Narrowing this cache, or a clone of it, in the same way returns the
    /// same cache. A request that carries a [`Narrowing`] in its extensions gets its token from here.
    ///
    /// The number of narrowed caches is [bounded](crate::cache::TokenCacheBuilder::max_narrowed). Credentials that were
    /// refused for one cache are not tried for another, unless the last renewal of the other succeeded with them. A
    /// refusal of the client holds back all of them. In all other cases, each cache fails and recovers by itself.
    ///
    /// ```
    /// use tower_bearer::{Error, TokenCache, source::Narrowing};
    ///
    /// fn read_only(cache: &TokenCache) -> Result<TokenCache, Error> {
    ///     cache.narrowed(&Narrowing::new().with_scope("system/*.rs")?)
    /// }
    /// ```
    ///
    /// # Errors
    /// When the source cannot be narrowed; see [`TokenSource::narrowed`].
    pub fn narrowed(&self, to: &Narrowing) -> Result<Self, Error> {
        self.core.narrowed(to).map(Self::from_core)
    }

    /// Tells the cache that an API rejected `token`, without waiting for the renewal. Returns whether it is the newest one.
    ///
    /// The cache stops serving the newest token, and begins its renewal in the background, both within the
    /// [`RejectionBudget`](crate::cache::RejectionBudget). If the renewal fails, the token is served again. The rejection of an
    /// older token changes nothing.
    ///
    /// It is for code that cannot wait, and for a rejection without a request to send again. The layer and
    /// [`call`](Self::call) do this by themselves on a 401. A caller that sends a rejected request again uses
    /// [`reject`](Self::reject), and says [`accept`](Self::accept) after a success. With `token` and `invalidate` alone, nothing
    /// shows that a new token is good, so the budget is soon spent: of 12,000 requests in two minutes, with a revocation every
    /// 5 s, 7,484 were answered 401 in the end, and none with `call`.
    #[expect(clippy::must_use_candidate, reason = "few callers need to know whether it was the newest")]
    pub fn invalidate(&self, token: &AccessToken) -> bool {
        let newest = self.newest_if(token);
        if let Some(generation) = newest {
            self.core.rejected(generation);
        }
        newest.is_some()
    }

    /// Returns the generation of the newest token if it is this one.
    pub(super) fn newest_if(&self, token: &AccessToken) -> Option<u64> {
        // Compared by value: another cache's token may have the same generation.
        self.core.flight.look(|state, _| {
            let newest = state.newest().filter(|newest| newest.secret() == token.secret());
            newest.map(AccessToken::generation)
        })
    }

    /// Forgets the token and every failure, so that the next request asks the source.
    ///
    /// It is for an operator who has corrected what was wrong. A renewal in progress no longer counts: neither its token nor
    /// its failure is used. Requests that wait for it wait for the next one, which begins when it has ended. The caches that
    /// this one was [narrowed](Self::narrowed) to are reset too.
    pub fn reset(&self) {
        self.core.with_narrowed().iter().for_each(|core| core.reset());
    }

    /// Forgets the token, and has its issuer revoke it (RFC 7009): at the end of a program, or when a user signs out.
    ///
    /// A grant revokes its refresh token as well, also one that an earlier run saved and this one has not used. The
    /// cache also revokes the tokens of the caches that it was [narrowed](Self::narrowed) to. If a renewal is in progress, it is waited for first, because it brings another token. A
    /// request that comes later gets a new token, so stop the traffic first:
    ///
    /// ```no_run
    /// # async fn serve_until_ctrl_c() {}
    /// # async fn example(cache: tower_bearer::TokenCache) {
    /// serve_until_ctrl_c().await;
    /// if let Err(error) = cache.revoke().await {
    ///     eprintln!("the token stays valid until it expires: {error}");
    /// }
    /// # }
    /// ```
    ///
    /// Nothing is revoked when the last clone is dropped. That would need a task, and no runtime would run it at the
    /// end of a program.
    ///
    /// # Errors
    /// When the source cannot revoke, when the issuer refuses, outside a Tokio runtime, or in one without timers.
    /// [`retry_in`](Error::retry_in) returns how long to wait when the issuer is busy. The token is forgotten all the
    /// same, and another call tries again.
    ///
    /// # Cancel safety
    /// If this future is dropped before it ends, the token is forgotten and may be revoked or not.
    pub async fn revoke(&self) -> Result<(), Error> {
        runtime::current()?;
        let all = self.core.with_narrowed();
        futures_util::future::join_all(all.iter().map(Self::revoke_core)).await.into_iter().collect()
    }

    async fn revoke_core(core: &Arc<CacheCore>) -> Result<(), Error> {
        core.wait_for_renewal_in_progress().await;
        let newest = core.change(|state| {
            state.forget();
            state.newest().cloned()
        });
        let revocation = async {
            match &newest {
                Some(token) => core.source.revoke(token).await,
                None => core.source.revoke_unused().await,
            }
        };
        // Marked as a renewal is: the client that revokes must not have this cache's layer either.
        let revocation = Renewing::scope(core.id(), revocation);
        let deadline = core.settings.renewal_deadline;
        timeout(deadline, revocation).await.unwrap_or_else(|| Err(Error::source_timeout(deadline)))
    }

    /// Returns a snapshot of the cache, for a health probe or a log line.
    #[must_use]
    pub fn status(&self) -> CacheStatus {
        let wall = self.core.wall_now();
        self.core.flight.look(|state, renewing| state.status(Instant::now(), wall, renewing))
    }
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCache").field("current", &*self.core.published.served()).finish_non_exhaustive()
    }
}
