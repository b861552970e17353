//! The layer: the settings that all its services share.

use std::{
    borrow::{Borrow, Cow},
    fmt,
    hash::Hash,
    sync::{Arc, OnceLock},
};

use http::{HeaderMap, HeaderName, StatusCode, header::AUTHORIZATION};
use tower_layer::Layer;

use crate::{
    cache::TokenCache,
    challenge::is_token,
    error::Error,
    inner_service::CloneableService,
    layer_config::{LayerConfig, PerCoreConfig},
    origin::Origin,
    pool::{ChooseCache, RequestHead, Selection, TokenPool},
    rejection::Rejection,
    replay::{CloneBody, NoReplay},
    service::BearerAuth,
    source::{TokenSource, from_fn},
    token_header::TokenHeader,
    verdict::Verdict,
};
#[cfg(feature = "on-behalf-of")]
use crate::{
    grant::Subject,
    pool::{UserPool, UserSelection},
};

/// Attaches a bearer token (RFC 6750 §2.1) to requests, and sends a request again when its token was rejected.
///
/// `R` is how bodies are kept for the second attempt.
///
/// # What it decides, in this order
/// 1. A request marked with [`SkipBearerAuth`](crate::SkipBearerAuth) is passed on unchanged. So is a `TRACE` request, because its
///    answer would show the token (RFC 9110 §9.3.8).
/// 2. The layer replaces an `Authorization` header that the caller set, because a gateway must not pass on an end
///    user's credentials ([`keep_existing`](Self::keep_existing) changes that). [`header`](Self::header) and
///    [`scheme`](Self::scheme) set another header and another scheme than `Bearer`.
/// 3. The token goes only where it belongs. With [`origins`](Self::origins), a request to any other origin is passed on
///    unchanged. A request that would carry the token over anything but https, or http to loopback, gets an
///    [error](crate::Error::is_insecure) ([`allow_plain_http`](Self::allow_plain_http) changes that). Where a URI has no host,
///    the connection below decides where the request goes; [`assume_origin`](Self::assume_origin) says where that is.
/// 4. A current token is attached at once. While there is none, the layer releases what the inner service reserved
///    (such as a permit), and waits for its readiness again afterwards. So the token's own request may use the same
///    limits.
/// 5. An answer that rejects the token ([`Verdict::standard`]; [`judge_by`](Self::judge_by), [`reject_on`](Self::reject_on)
///    and [`judge_body`](Self::judge_body) change that) causes a renewal, if the token is still the newest. The request is then sent again with the new token. The
///    second answer is final.
/// 6. Where that is not possible, the caller gets the original answer unchanged. An [`Outcome`](crate::Outcome) in its
///    extensions says why. One exception: an answer with a body is held for 100 ms of its renewal, or 2.5 s if it is small, and
///    then read to free its connection. If that renewal fails, the request is sent again with the old token, and the caller
///    gets that answer.
///
/// # Examples
/// Any service works that is `Clone` and whose request bodies are `Clone`. Here it is a closure:
///
/// ```
/// use http::{Request, Response};
/// use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
/// use tower_bearer::{BearerAuthLayer, BoxError, FixedToken};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
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
pub struct BearerAuthLayer<R = CloneBody> {
    config: LayerConfig<R>,
    /// Made by the first service and shared by all, because some stacks make a service for each connection.
    per_core: OnceLock<PerCoreConfig<R>>,
}

impl BearerAuthLayer {
    /// Creates a layer over `source`, with a cache of its own.
    pub fn new(source: impl TokenSource) -> Self {
        Self::with_cache(TokenCache::new(source))
    }

    /// Creates a layer over a cache. Other layers may share the cache: they all use one token and one renewal.
    #[must_use]
    pub fn with_cache(cache: TokenCache) -> Self {
        Self { config: LayerConfig::new(cache, CloneBody), per_core: OnceLock::new() }
    }

    /// Creates a layer over a pool. Each request gets the token of its identity, which `select` chooses by the request's head.
    ///
    /// `select` returns the key of the identity. A key that is borrowed from the head costs no allocation while there is a cache
    /// for it. If `select` returns `None`, the request gets an [error](crate::Error::is_no_identity) and is not sent: it never
    /// has a default token or that of another identity. Its second attempt has the token of the same identity. If you have an
    /// `Option<&str>`, add `.map(Cow::Borrowed)`.
    ///
    /// `select` is called for each request that is to carry a token, so it should be fast. What it reads is passed on: if the
    /// API must not see the header with the identity, remove it in a layer below, or put the identity into the
    /// [extensions](RequestHead::extensions).
    ///
    /// ```
    /// use std::borrow::Cow;
    /// # use tower_bearer::{BearerAuthLayer, FixedToken, TokenPool};
    ///
    /// #[derive(Clone)]
    /// struct Tenant(String);
    ///
    /// let pool = TokenPool::new(|tenant: &String| FixedToken::new(tenant.clone()));
    /// let layer = BearerAuthLayer::with_pool(pool, |head| {
    ///     head.extensions().get().map(|Tenant(name)| Cow::Borrowed(name.as_str()))
    /// });
    /// ```
    #[must_use]
    pub fn with_pool<K, Q>(
        pool: TokenPool<K>,
        select: impl for<'a> Fn(RequestHead<'a>) -> Option<Cow<'a, Q>> + Send + Sync + 'static,
    ) -> Self
    where
        K: Borrow<Q> + Clone + Eq + Hash + Send + Sync + 'static,
        Q: ToOwned<Owned = K> + Eq + Hash + ?Sized + 'static,
    {
        Self::choosing(Selection::new(pool, select))
    }

    /// Creates a layer over the tokens of users. Each request gets the token that is exchanged for its user's token, which
    /// `select` takes from the request's head.
    ///
    /// If `select` returns `None`, the request gets an [error](crate::Error::is_no_identity) and is not sent. If the user's token
    /// has expired, it gets [another one](crate::Error::is_subject_expired). A gateway answers 401 to both.
    ///
    /// An `Authorization` header of the caller is never passed on. The layer replaces it, or removes it where the token goes into
    /// another [header](Self::header), and from requests that [carry no token](Self::origins) or [skip](crate::SkipBearerAuth) the
    /// layer. [`keep_existing`](Self::keep_existing) has no effect. If `select` reads another header, remove that in a layer below.
    ///
    /// ```
    /// use tower_bearer::{BearerAuthLayer, grant::{ClientAuth, Subject, TokenExchange}, pool::UserPool};
    ///
    /// # fn gateway() -> Result<(), tower_bearer::Error> {
    /// # #[cfg(feature = "client")] {
    /// let users = TokenExchange::builder("https://auth.example.org/oauth2/token")
    ///     .client_auth(ClientAuth::basic("gateway", "s3cret"))
    ///     .audience("https://api.example.org")
    ///     .for_users()?;
    /// let layer = BearerAuthLayer::on_behalf_of(UserPool::new(users), |head| head.bearer_token().map(Subject::new));
    /// # }
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "on-behalf-of")]
    #[must_use]
    pub fn on_behalf_of(
        pool: UserPool,
        select: impl for<'a> Fn(RequestHead<'a>) -> Option<Subject> + Send + Sync + 'static,
    ) -> Self {
        Self::choosing(UserSelection::new(pool, select)).with(|config| config.on_behalf_of = true)
    }

    fn choosing(identities: impl ChooseCache + 'static) -> Self {
        // It has no token, so a request that is not given the cache of its identity carries none.
        let nobody = TokenCache::new(from_fn(async |_| Err(Error::no_identity())));
        Self::with_cache(nobody).with(|config| config.identities = Some(Arc::new(identities)))
    }
}

impl<R> BearerAuthLayer<R> {
    /// Sets how bodies are kept for the second attempt. Default: [`CloneBody`].
    ///
    /// For streaming bodies this is a [`Tee`](crate::replay::Tee). It keeps 1 MiB of a request by default, and a longer upload is
    /// retried only if it is rejected before more was read. [`Tee::cap`](crate::replay::Tee::cap) sets another limit.
    #[must_use]
    pub fn replay<N>(self, replay: N) -> BearerAuthLayer<N> {
        BearerAuthLayer { config: self.config.with_replay(replay), per_core: OnceLock::new() }
    }

    /// Never sends a request twice: for bodies that cannot be cloned, and for callers that retry themselves. A rejected token
    /// is renewed all the same. Default: [`CloneBody`].
    ///
    /// The layer does not know which request of a caller is a retry, so it cannot see that a renewal helped. About twelve
    /// revocations in half an hour are recovered from at once, and further ones wait for the
    /// [budget](crate::cache::RejectionBudget). Of 12,000 requests in two minutes, with a revocation every 5 s, a caller that
    /// retried once itself lost 5,000. With a retry by the layer, or by [`TokenCache::call`], none is lost.
    #[must_use]
    pub fn without_retry(self) -> BearerAuthLayer<NoReplay> {
        self.replay(NoReplay)
    }

    /// Sets whether a request that has an `Authorization` header is passed on unchanged, wherever it goes. Default: `false`,
    /// the header is replaced.
    #[must_use]
    pub fn keep_existing(self, keep: bool) -> Self {
        self.with(|config| config.keep_existing = keep && !config.on_behalf_of)
    }

    /// Sets the header that carries the token. Default: `Authorization`.
    ///
    /// Some APIs take the token in a header of their own, such as `X-Auth-Token` or `Txn-Token`, often [without a
    /// scheme](Self::without_scheme). The layer then leaves `Authorization` unchanged, and everything that is said of it here is
    /// true of that header.
    ///
    /// ```
    /// # use http::HeaderName;
    /// # use tower_bearer::{BearerAuthLayer, FixedToken};
    /// # let layer = BearerAuthLayer::new(FixedToken::new("t")?);
    /// // X-Auth-Token: mF_9.B5f-4.1JqM
    /// let layer = layer.header(HeaderName::from_static("x-auth-token")).without_scheme();
    /// # Ok::<(), tower_bearer::Error>(())
    /// ```
    ///
    /// Other layers know that `Authorization` is secret, and do not know it of another header: a layer below that follows
    /// redirects sends the token to other hosts. So put that layer above, and give a list of [`origins`](Self::origins).
    #[must_use]
    pub fn header(self, name: HeaderName) -> Self {
        self.with_header(|header| header.name = name)
    }

    /// Sets the authentication scheme, the word before the token (RFC 9110 §11.1). Default: `Bearer`.
    ///
    /// Layers with different schemes may share one cache. The value of the header is then made for each request, which costs an
    /// allocation.
    ///
    /// ```
    /// # use tower_bearer::{BearerAuthLayer, FixedToken};
    /// # let layer = BearerAuthLayer::new(FixedToken::new("t")?);
    /// // Authorization: Zoho-oauthtoken mF_9.B5f-4.1JqM
    /// let layer = layer.scheme("Zoho-oauthtoken")?;
    /// # Ok::<(), tower_bearer::Error>(())
    /// ```
    ///
    /// # Errors
    /// When `scheme` is empty, or has a space or another character that a scheme must not have.
    pub fn scheme(self, scheme: impl AsRef<str>) -> Result<Self, Error> {
        let scheme = scheme.as_ref();
        if !is_token(scheme) {
            return Err(Error::config(
                "the scheme is empty, or has a space or another character that is not allowed in it (RFC 9110 §11.1): give the \
                 one word that stands before the token, or call `without_scheme`",
            ));
        }
        Ok(self.with_header(|header| header.scheme = Some(scheme.into())))
    }

    /// Sends the token alone, without a scheme before it. Default: the scheme `Bearer`.
    ///
    /// ```
    /// # use tower_bearer::{BearerAuthLayer, FixedToken};
    /// # let layer = BearerAuthLayer::new(FixedToken::new("t")?);
    /// // Authorization: mF_9.B5f-4.1JqM
    /// let etcd = layer.without_scheme();
    /// # Ok::<(), tower_bearer::Error>(())
    /// ```
    #[must_use]
    pub fn without_scheme(self) -> Self {
        self.with_header(|header| header.scheme = None)
    }

    /// Sets the origins to which the token is sent, as base URLs. Scheme, host and port count; paths are ignored.
    /// Default: every request carries the token.
    ///
    /// A request to any other origin is passed on unchanged, without a token and without a retry, and keeps the
    /// `Authorization` that the caller gave it. So with a list, a redirect that is followed above the layer takes no token to
    /// another host.
    ///
    /// ```
    /// # use tower_bearer::{BearerAuthLayer, FixedToken};
    /// # let layer = BearerAuthLayer::new(FixedToken::new("t")?);
    /// let layer = layer.origins(["https://api.example.org/fhir", "https://*.files.example.org"])?;
    /// # Ok::<(), tower_bearer::Error>(())
    /// ```
    ///
    /// Hosts are compared in any case, and a default port may be left out. `*.` stands for one or more labels:
    /// `https://*.example.org` does not cover `https://example.org`.
    ///
    /// A request whose URI has no scheme and host gets an [error](crate::Error::is_config), because its origin is not known:
    /// [`assume_origin`](Self::assume_origin) names it.
    ///
    /// # Errors
    /// When the list is empty, or one of the URLs has no http or https scheme, no host, a user, a bad port, or a `*`
    /// anywhere but in front of a name with two or more labels.
    pub fn origins<O: AsRef<str>>(self, urls: impl IntoIterator<Item = O>) -> Result<Self, Error> {
        let parse = |(at, url): (usize, O)| {
            Origin::parse(url.as_ref())
                .map_err(|wrong| Error::config(format!("URL {} of the origins {wrong}{}", at + 1, advice(wrong))))
        };
        let origins: Arc<[_]> = urls.into_iter().enumerate().map(parse).collect::<Result<_, _>>()?;
        if origins.is_empty() {
            return Err(Error::config(
                "the list of origins is empty, so no request would carry the token: add the API's base URL",
            ));
        }
        Ok(self.with(|config| config.destinations.origins = Some(origins)))
    }

    /// Sets the origin of requests whose URI has no host, as a base URL. Default: none is assumed.
    ///
    /// Some clients send requests with a path only, over a connection that somebody made for them: a gRPC channel, or one
    /// connection of hyper. The layer cannot see where that connection goes. With this setting, such a request is judged as one
    /// to this origin: the list of [`origins`](Self::origins) and the rule for plain http apply. Its URI is not changed.
    ///
    /// ```
    /// # use tower_bearer::{BearerAuthLayer, FixedToken};
    /// # let layer = BearerAuthLayer::new(FixedToken::new("t")?);
    /// // The URL to which the channel connects.
    /// let layer = layer.assume_origin("https://grpc.example.org:8443")?;
    /// # Ok::<(), tower_bearer::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the URL has no http or https scheme, no host, a user, a bad port, or a wildcard.
    pub fn assume_origin(self, url: impl AsRef<str>) -> Result<Self, Error> {
        let assumed = Origin::parse_single(url.as_ref())
            .map_err(|wrong| Error::config(format!("the assumed origin {wrong}{}", advice(wrong))))?;
        Ok(self.with(|config| config.destinations.assumed = Some(Arc::new(assumed))))
    }

    /// Sets whether the token is sent over any scheme: plain http, and custom schemes of other transports. Default: `false`,
    /// such a request gets an [error](crate::Error::is_insecure), except http to loopback.
    ///
    /// It is for networks that are private by other means, such as a service mesh or a Unix socket.
    #[must_use]
    pub fn allow_plain_http(self, allow: bool) -> Self {
        self.with(|config| config.destinations.plain_http = allow)
    }

    /// Sets whether the layer refuses a request if its token lacks the scopes that the request declares with
    /// [`RequiredScopes`](crate::RequiredScopes). Default: `false`.
    ///
    /// Such a request gets an [error](crate::Error::missing_scope) at once instead of a 403 later. A request is sent if
    /// the scopes of its token are not known.
    #[must_use]
    pub fn check_scopes(self, check: bool) -> Self {
        self.with(|config| config.check_scopes = check)
    }

    /// Sets the rule that judges answers: a custom one, or [`Verdict::grpc`]. Default: [`Verdict::standard`].
    ///
    /// To reject on one more kind of answer, [`reject_on`](Self::reject_on) is shorter.
    ///
    /// ```
    /// # use tower_bearer::{BearerAuthLayer, FixedToken, Verdict};
    /// # let layer = BearerAuthLayer::new(FixedToken::new("t")?);
    /// // Some servers answer 419 to an expired token.
    /// let layer = layer.judge_by(|status, headers| match status.as_u16() {
    ///     419 => Verdict::Rejected,
    ///     _ => Verdict::standard(status, headers),
    /// });
    /// # Ok::<(), tower_bearer::Error>(())
    /// ```
    #[must_use]
    pub fn judge_by(self, rule: impl Fn(StatusCode, &HeaderMap) -> Verdict + Send + Sync + 'static) -> Self {
        self.with(|config| config.rule = config.rule.judging_by(Arc::new(rule)))
    }

    /// Adds answers that reject the token, for servers that do not use the status 401 for it. Default: none. Each call adds
    /// one, and each builds on the rule of [`judge_by`](Self::judge_by): it applies to what that rule accepts. Such an answer is
    /// judged as a 401 is by [`Verdict::standard`], so a challenge can still say that something else is missing.
    ///
    /// [This page](crate::servers) says which server needs which.
    ///
    /// ```
    /// # use http::StatusCode;
    /// # use tower_bearer::{BearerAuthLayer, FixedToken, Rejection};
    /// # let layer = BearerAuthLayer::new(FixedToken::new("t")?);
    /// // Some servers answer 403 to every token that they do not accept.
    /// let layer = layer.reject_on(Rejection::status(StatusCode::FORBIDDEN));
    /// # Ok::<(), tower_bearer::Error>(())
    /// ```
    #[must_use]
    pub fn reject_on(self, rejection: Rejection) -> Self {
        self.with(|config| config.rule = config.rule.rejecting_on(rejection))
    }

    /// Sets that the service below marks the answers whose body it judged.
    pub(crate) fn judging_bodies(self) -> Self {
        self.with(|config| config.rule = config.rule.judging_bodies())
    }

    /// Returns the cache, to share it or to read its [`status`](TokenCache::status). The cache of a layer over a
    /// [pool](Self::with_pool) never has a token: ask the pool for the cache of an identity.
    #[must_use]
    pub fn cache(&self) -> &TokenCache {
        self.config.layer_cache()
    }

    fn with_header(self, change: impl FnOnce(&mut TokenHeader)) -> Self {
        self.with(|config| {
            let mut header = config.own_header.take().unwrap_or_default();
            change(&mut header);
            header.drops_authorization = config.on_behalf_of && header.name != AUTHORIZATION;
            config.own_header = (!header.is_usual()).then_some(header);
        })
    }

    fn with(mut self, change: impl FnOnce(&mut LayerConfig<R>)) -> Self {
        change(&mut self.config);
        Self { per_core: OnceLock::new(), ..self }
    }
}

/// Returns what to do about a URL that is wrong, where the text about it does not say that itself.
fn advice(wrong: &str) -> &'static str {
    if wrong.contains("; ") { "" } else { "; write it as https://api.example.org" }
}

impl<S: CloneableService, R: Clone> Layer<S> for BearerAuthLayer<R> {
    type Service = BearerAuth<S, R>;

    fn layer(&self, inner: S) -> Self::Service {
        let config = self.per_core.get().cloned().unwrap_or_else(|| {
            // Cloning `R` is user code, so it is not done while other threads wait for the first service.
            let made = self.config.per_core();
            Arc::clone(self.per_core.get_or_init(|| made))
        });
        BearerAuth::new(inner, config)
    }
}

impl<R: Clone> Clone for BearerAuthLayer<R> {
    fn clone(&self) -> Self {
        Self { config: self.config.clone(), per_core: self.per_core.clone() }
    }
}

impl<R: fmt::Debug> fmt::Debug for BearerAuthLayer<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BearerAuthLayer").field(&self.config).finish()
    }
}
