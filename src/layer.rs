//! The layer: what is shared by all services that it makes.

use std::{fmt, sync::Arc};

use http::{HeaderMap, StatusCode};
use tower::Layer;

use crate::{
    cache::TokenCache,
    context::Context,
    rejection::{Rule, Verdict},
    replay::{CloneBody, NoReplay},
    service::BearerAuth,
    source::TokenSource,
};

/// Attaches a bearer token (RFC 6750 §2.1) to every request, and sends a request once more when its token was rejected.
///
/// `T` is the source of tokens, `R` how bodies are kept for the second attempt.
///
/// # What it decides, in this order
/// 1. A request marked with [`SkipBearerAuth`](crate::SkipBearerAuth) passes as it is.
/// 2. The layer owns `Authorization`: what the caller put there is replaced, because a gateway must not pass an end user's
///    credentials on ([`keep_existing`](Self::keep_existing) changes that).
/// 3. A token at hand is attached at once. While there is none, the inner service's readiness is given up and asked for
///    again after, so that the token's own request may use the same limits.
/// 4. An answer that rejects the token ([`Verdict::standard`]; [`judge_by`](Self::judge_by) changes that) renews it, if
///    it is still the current one, and the request is sent once more with the new one. The second answer is final.
/// 5. Where that cannot be done, the caller gets the original answer untouched, with an [`Outcome`](crate::Outcome) in its
///    extensions that says why.
///
/// # Examples
/// Anything whose requests are cloneable, here tower's own test service:
///
/// ```
/// use http::{Request, Response};
/// use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
/// use tower_bearer::{BearerAuthLayer, FixedToken};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower::BoxError> {
/// let mut api = ServiceBuilder::new()
///     .layer(BearerAuthLayer::new(FixedToken::new("mF_9.B5f-4.1JqM")?))
///     .service(service_fn(async |request: Request<String>| {
///         assert_eq!(request.headers()["authorization"], "Bearer mF_9.B5f-4.1JqM");
///         Ok::<_, std::convert::Infallible>(Response::new("welcome"))
///     }));
/// let response = api.ready().await?.call(Request::new(String::new())).await?;
/// assert_eq!(*response.body(), "welcome");
/// # Ok(()) }
/// ```
pub struct BearerAuthLayer<T, R = CloneBody> {
    context: Context<T, R>,
}

impl<T: TokenSource> BearerAuthLayer<T> {
    /// A layer with a cache of its own over `source`.
    pub fn new(source: T) -> Self {
        Self::with_cache(TokenCache::new(source))
    }

    /// A layer over a cache that others may share: one token, one renewal, for all of them.
    #[must_use]
    pub fn with_cache(cache: TokenCache<T>) -> Self {
        Self { context: Context { cache, replay: CloneBody, rule: Rule::Standard, keep_existing: false } }
    }
}

impl<T, R> BearerAuthLayer<T, R> {
    /// Keeps bodies for the second attempt in this way. Default: [`CloneBody`].
    #[must_use]
    pub fn replay<N>(self, replay: N) -> BearerAuthLayer<T, N> {
        let Context { cache, rule, keep_existing, .. } = self.context;
        BearerAuthLayer { context: Context { cache, replay, rule, keep_existing } }
    }

    /// Never sends a request twice: for bodies that cannot be cloned, and for callers who retry themselves. A rejected
    /// token is renewed all the same. Default: [`CloneBody`].
    #[must_use]
    pub fn without_retry(self) -> BearerAuthLayer<T, NoReplay> {
        self.replay(NoReplay)
    }

    /// Leaves a request that has an `Authorization` header as it is. Default: off, the header is replaced.
    #[must_use]
    pub fn keep_existing(mut self, keep: bool) -> Self {
        self.context.keep_existing = keep;
        self
    }

    /// Judges answers by a rule of one's own. Default: [`Verdict::standard`].
    ///
    /// ```
    /// # use tower_bearer::{BearerAuthLayer, FixedToken, Verdict};
    /// # let layer = BearerAuthLayer::new(FixedToken::new("t")?);
    /// // Some servers say 419 for an expired token.
    /// let layer = layer.judge_by(|status, headers| match status.as_u16() {
    ///     419 => Verdict::Rejected,
    ///     _ => Verdict::standard(status, headers),
    /// });
    /// # Ok::<(), tower_bearer::Error>(())
    /// ```
    #[must_use]
    pub fn judge_by(mut self, rule: impl Fn(StatusCode, &HeaderMap) -> Verdict + Send + Sync + 'static) -> Self {
        self.context.rule = Rule::Custom(Arc::new(rule));
        self
    }

    /// The cache, to share it or to ask for its [`status`](TokenCache::status).
    #[must_use]
    pub fn cache(&self) -> &TokenCache<T> {
        &self.context.cache
    }
}

impl<S, T, R: Clone> Layer<S> for BearerAuthLayer<T, R> {
    type Service = BearerAuth<S, T, R>;

    fn layer(&self, inner: S) -> Self::Service {
        BearerAuth::new(inner, Arc::new(self.context.clone()))
    }
}

impl<T, R: Clone> Clone for BearerAuthLayer<T, R> {
    fn clone(&self) -> Self {
        Self { context: self.context.clone() }
    }
}

impl<T, R: fmt::Debug> fmt::Debug for BearerAuthLayer<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BearerAuthLayer").field(&self.context).finish()
    }
}
