//! The layer: what is shared by all services that it makes.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use http::{HeaderMap, StatusCode};
use tower_layer::Layer;

use crate::{
    cache::TokenCache,
    context::{Context, Contexts},
    destination::Destinations,
    error::Error,
    origin::Origin,
    per_core::{CachePadded, PerCore},
    replay::{CloneBody, NoReplay},
    service::BearerAuth,
    source::TokenSource,
    verdict::{Rule, Verdict},
};

/// Attaches a bearer token (RFC 6750 §2.1) to requests, and sends a request once more when its token was rejected.
///
/// `T` is the source of tokens, `R` how bodies are kept for the second attempt.
///
/// # What it decides, in this order
/// 1. A request marked with [`SkipBearerAuth`](crate::SkipBearerAuth) passes as it is.
/// 2. The layer owns `Authorization`: what the caller put there is replaced, because a gateway must not pass an end user's
///    credentials on ([`keep_existing`](Self::keep_existing) changes that).
/// 3. The token goes only where it belongs: with [`origins`](Self::origins), a request to any other passes as it is. A
///    request that would carry it over anything but https, or http to loopback, gets an
///    [error](crate::Error::is_insecure) ([`allow_plain_http`](Self::allow_plain_http) changes that). A URI without a host
///    is the business of the connection below, which decides where the request goes.
/// 4. A token at hand is attached at once. While there is none, the inner service's readiness is given up and asked for
///    again after, so that the token's own request may use the same limits.
/// 5. An answer that rejects the token ([`Verdict::standard`]; [`judge_by`](Self::judge_by) changes that) renews it, if
///    it is still the current one, and the request is sent once more with the new one. The second answer is final.
/// 6. Where that cannot be done, the caller gets the original answer untouched, with an [`Outcome`](crate::Outcome) in its
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
///         Ok::<_, std::convert::Infallible>(Response::new("welcome".to_owned()))
///     }));
/// let response = api.ready().await?.call(Request::new(String::new())).await?;
/// assert_eq!(response.body(), "welcome");
/// # Ok(()) }
/// ```
pub struct BearerAuthLayer<T, R = CloneBody> {
    context: Context<T, R>,
    /// Made by the first service and shared by all: some make one for each connection.
    contexts: OnceLock<Contexts<T, R>>,
}

impl<T: TokenSource> BearerAuthLayer<T> {
    /// A layer with a cache of its own over `source`.
    pub fn new(source: T) -> Self {
        Self::with_cache(TokenCache::new(source))
    }

    /// A layer over a cache that others may share: one token, one renewal, for all of them.
    #[must_use]
    pub fn with_cache(cache: TokenCache<T>) -> Self {
        let guard = Destinations::default();
        let (rule, replay) = (Rule::Standard, CloneBody);
        let context = Context { cache, replay, rule, keep_existing: false, guard, check_scopes: false };
        Self { context, contexts: OnceLock::new() }
    }
}

impl<T, R> BearerAuthLayer<T, R> {
    /// Keeps bodies for the second attempt in this way. Default: [`CloneBody`].
    #[must_use]
    pub fn replay<N>(self, replay: N) -> BearerAuthLayer<T, N> {
        let Context { cache, rule, keep_existing, guard, check_scopes, .. } = self.context;
        let context = Context { cache, replay, rule, keep_existing, guard, check_scopes };
        BearerAuthLayer { context, contexts: OnceLock::new() }
    }

    fn with(mut self, change: impl FnOnce(&mut Context<T, R>)) -> Self {
        change(&mut self.context);
        Self { contexts: OnceLock::new(), ..self }
    }

    /// Never sends a request twice: for bodies that cannot be cloned, and for callers who retry themselves. A rejected
    /// token is renewed all the same. Default: [`CloneBody`].
    #[must_use]
    pub fn without_retry(self) -> BearerAuthLayer<T, NoReplay> {
        self.replay(NoReplay)
    }

    /// Leaves a request that has an `Authorization` header as it is, wherever it goes. Default: off, the header is replaced.
    #[must_use]
    pub fn keep_existing(self, keep: bool) -> Self {
        self.with(|context| context.keep_existing = keep)
    }

    /// Puts the token only on requests to the origins of these base URLs: scheme, host and port; paths are ignored. Any
    /// other request passes as it is, without a token and without retry, as one marked with
    /// [`SkipBearerAuth`](crate::SkipBearerAuth) does. Default: every request carries the token.
    ///
    /// With a list, a redirect that is followed above the layer takes no token to another host.
    ///
    /// ```
    /// # use tower_bearer::{BearerAuthLayer, FixedToken};
    /// # let layer = BearerAuthLayer::new(FixedToken::new("t")?);
    /// let layer = layer.origins(["https://api.example.org/fhir", "https://*.files.example.org"])?;
    /// # Ok::<(), tower_bearer::Error>(())
    /// ```
    ///
    /// Hosts are compared as they are written, in any case, and default ports need not be. `*.` stands for one or more labels, not for
    /// none: `https://*.example.org` is not `https://example.org`.
    ///
    /// Requests to others keep whatever `Authorization` the caller gave them.
    ///
    /// A request whose URI has no scheme and host gets an [error](crate::Error::is_config): where it goes cannot be told.
    ///
    /// # Errors
    /// When the list is empty, or one of the URLs has no http or https scheme, no host, a user, a bad port, or a `*`
    /// elsewhere than before a name of two labels or more.
    pub fn origins<O: AsRef<str>>(self, urls: impl IntoIterator<Item = O>) -> Result<Self, Error> {
        let parse = |(at, url): (usize, O)| {
            Origin::parse(url.as_ref()).map_err(|wrong| {
                Error::config(format!("URL {} of the origins {wrong}: write it as https://api.example.org", at + 1))
            })
        };
        let origins: Arc<[_]> = urls.into_iter().enumerate().map(parse).collect::<Result<_, _>>()?;
        if origins.is_empty() {
            return Err(Error::config("the list of origins is empty, so that no request would carry the token"));
        }
        Ok(self.with(|context| context.guard.origins = Some(origins)))
    }

    /// Sends the token whatever the scheme: over plain http, and over transports with schemes of their own. Default: off,
    /// such a request gets an [error](crate::Error::is_insecure); http to loopback is exempt.
    ///
    /// For networks that are private by other means, such as a service mesh's or a Unix socket.
    #[must_use]
    pub fn allow_plain_http(self, allow: bool) -> Self {
        self.with(|context| context.guard.plain_http = allow)
    }

    /// Refuses a request whose token plainly lacks the scopes that it declares, by [`RequiredScopes`](crate::RequiredScopes):
    /// an [error](crate::Error::missing_scope) at once instead of a 403 later. A token that does not say what it was granted is
    /// sent. Default: off.
    #[must_use]
    pub fn check_scopes(self, check: bool) -> Self {
        self.with(|context| context.check_scopes = check)
    }

    /// Judges answers by a rule of one's own, or by [`Verdict::grpc`]. Default: [`Verdict::standard`].
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
    pub fn judge_by(self, rule: impl Fn(StatusCode, &HeaderMap) -> Verdict + Send + Sync + 'static) -> Self {
        self.with(|context| context.rule = Rule::Custom(Arc::new(rule)))
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
        let contexts = || Arc::new(PerCore::new(|| Arc::new(CachePadded(self.context.clone()))));
        BearerAuth::new(inner, Arc::clone(self.contexts.get_or_init(contexts)))
    }
}

impl<T, R: Clone> Clone for BearerAuthLayer<T, R> {
    fn clone(&self) -> Self {
        Self { context: self.context.clone(), contexts: self.contexts.clone() }
    }
}

impl<T, R: fmt::Debug> fmt::Debug for BearerAuthLayer<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BearerAuthLayer").field(&self.context).finish()
    }
}
