//! The settings that all grants share.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderName, HeaderValue};

use crate::{
    clock::WallClock,
    error::Error,
    grant::{
        authentication::client_auth::ClientAuth,
        exchange::{
            endpoint::Endpoint, extra_headers::ExtraHeaders, http_exchange::HttpExchange, http_service::HttpService,
            params::Params, token_response::is_never_bearer,
        },
        flow::behavior::Flow,
        server::{authorization_server::AuthorizationServer, url::Url},
        token_grant::Grant,
    },
};

#[cfg(feature = "client")]
use crate::grant::exchange::http_client::HttpClient;

/// Settings of a [`Grant`]; each method states its default.
#[must_use = "call `build`"]
pub struct GrantBuilder<F> {
    server: AuthorizationServer,
    pub(crate) flow: F,
    pub(crate) auth: Option<ClientAuth>,
    params: Params,
    headers: ExtraHeaders,
    plain_http: bool,
    show_description: bool,
    token_types: Vec<String>,
    deadline: Duration,
    revocation_url: Option<String>,
    wall_clock: WallClock,
}

impl<F: Flow> Grant<F, ()> {
    /// Returns a builder for a grant at this server: its token URL, or an [`AuthorizationServer`] that is found by its
    /// metadata.
    pub fn builder(server: impl Into<AuthorizationServer>) -> GrantBuilder<F> {
        GrantBuilder {
            server: server.into(),
            flow: F::default(),
            auth: None,
            params: Params::default(),
            headers: ExtraHeaders::default(),
            plain_http: false,
            show_description: false,
            token_types: Vec::new(),
            deadline: Duration::from_secs(10),
            revocation_url: None,
            wall_clock: WallClock::System,
        }
    }
}

impl<F: Flow> GrantBuilder<F> {
    /// Sets how the client authenticates. Required; a client without a secret uses [`ClientAuth::none`].
    pub fn client_auth(mut self, auth: ClientAuth) -> Self {
        self.auth = Some(auth);
        self
    }

    /// Sets the scope to ask for, space-delimited (RFC 6749 §3.3). Default: none, so the server chooses.
    pub fn scope(self, scope: impl Into<String>) -> Self {
        self.param("scope", scope)
    }

    /// Sets the audience to ask for, which some servers require. Default: none.
    pub fn audience(self, audience: impl Into<String>) -> Self {
        self.param("audience", audience)
    }

    /// Adds a resource that the token is for (RFC 8707 §2): an absolute URI without a fragment. May be called several times.
    /// Default: none.
    pub fn resource(self, resource: impl Into<String>) -> Self {
        self.param("resource", resource)
    }

    /// Adds another parameter that the server requires. Default: none.
    pub fn param(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.params.push(name, value);
        self
    }

    /// Adds a header to each token and revocation request, such as the subscription key of an API gateway in front of the server.
    /// The value may be a secret: `Debug` and errors do not show it. A header of this name that the grant sets, such as
    /// `accept`, is replaced. `authorization`, `content-type` and the fields of the connection cannot be set. Default: none.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push(name, value);
        self
    }

    /// Sets the URL at which tokens are revoked (RFC 7009). Default: the one in the server's metadata, if the server is found
    /// by its metadata.
    pub fn revocation_url(mut self, url: impl Into<String>) -> Self {
        self.revocation_url = Some(url.into());
        self
    }

    /// Allows plain http URLs for hosts other than loopback. Secrets are then sent unencrypted. Default: off.
    pub fn allow_plain_http(mut self, allow: bool) -> Self {
        self.plain_http = allow;
        self
    }

    /// Shows the server's `error_description` in errors. Default: off, because servers repeat in it what they received.
    pub fn show_error_description(mut self, show: bool) -> Self {
        self.show_description = show;
        self
    }

    /// Accepts answers with this `token_type`, in any case, and sends their tokens as Bearer tokens (RFC 6749 §7.1). May be
    /// called several times. Default: `Bearer`, `BearerToken`, and answers without a `token_type`.
    ///
    /// `DPoP`, `PoP`, `MAC` and `N_A` cannot be accepted: such a token is not sent as a Bearer token.
    pub fn accept_token_type(mut self, token_type: impl Into<String>) -> Self {
        self.token_types.push(token_type.into());
        self
    }

    /// Sets how long one token request may take, from the connection to the last byte of the response. Default: 10 s, the
    /// same as the cache's default for a whole renewal. As there, only the time counts in which the runtime is driven.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets the clock that gives the time of day for assertions. Default: the system's clock. It is for tests, and for hosts
    /// with a better clock.
    pub fn wall_clock(mut self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.wall_clock = WallClock::Custom(Arc::new(clock));
        self
    }

    /// Builds the grant with the ready-made HTTPS client.
    ///
    /// # Errors
    /// When a setting is missing or wrong.
    #[cfg(feature = "client")]
    pub fn build(self) -> Result<Grant<F, HttpClient>, Error> {
        let http = HttpClient::builder().build()?;
        self.build_with(http)
    }

    /// Does not compile. Without it, the compiler would say that there is no such method, and not why.
    ///
    /// # Errors
    /// It is not called.
    #[cfg(not(feature = "client"))]
    #[doc(hidden)]
    pub fn build(self) -> Result<std::convert::Infallible, Error>
    where
        F: WithClient,
    {
        Err(Error::config("the feature `client` is off"))
    }

    /// Builds the grant with your own HTTP client.
    ///
    /// # Errors
    /// When a setting is missing or wrong.
    pub fn build_with<C: HttpService>(self, http: C) -> Result<Grant<F, C>, Error> {
        self.build_checked(http, F::check)
    }

    /// Checks the parameters that were set so far.
    #[cfg(feature = "config")]
    pub(crate) fn check_params(&self) -> Result<(), Error> {
        self.params.check(F::REPEATABLE)
    }

    /// Builds the grant, and checks the flow in this way.
    pub(crate) fn build_checked<C: HttpService>(
        self,
        http: C,
        check: impl FnOnce(&F) -> Result<(), Error>,
    ) -> Result<Grant<F, C>, Error> {
        let auth = self.auth.ok_or_else(|| {
            Error::config(
                "no client authentication is set: call `client_auth`, with `ClientAuth::none` for a public client",
            )
        })?;
        auth.check()?;
        check(&self.flow)?;
        self.params.check(F::REPEATABLE)?;
        if let Some(never) = self.token_types.iter().find(|token_type| is_never_bearer(token_type)) {
            return Err(Error::config(format!(
                "`accept_token_type` is given {never}, and tokens of this type are not sent as Bearer tokens: have the server \
                 issue Bearer tokens to this client"
            )));
        }
        self.headers.check()?;
        self.server.check(self.plain_http)?;
        let revocation_url = self.revocation_url.map(|url| {
            Url::from_setting(&url, "revocation URL", "https://auth.example.org/oauth2/revoke", self.plain_http)
        });
        let endpoint = Endpoint {
            exchange: HttpExchange { http, plain_http: self.plain_http, deadline: self.deadline },
            server: self.server,
            auth,
            headers: self.headers,
            revocation_url: revocation_url.transpose()?,
            show_description: self.show_description,
            token_types: self.token_types.into(),
            wall_clock: self.wall_clock,
        };
        Ok(Grant::new(endpoint, self.flow, self.params))
    }
}

/// The feature `client`, which is off: nothing implements it.
#[cfg(not(feature = "client"))]
#[diagnostic::on_unimplemented(
    message = "`build` needs the feature `client` of tower-bearer, which is off",
    label = "there is no ready-made HTTP client for this grant",
    note = "turn the feature on in Cargo.toml: `features = [\"client\", \"system-roots\"]` of `tower-bearer`",
    note = "or give the grant your own HTTP client: `.build_with(http)` in place of `.build()`"
)]
pub trait WithClient {}

impl<F: fmt::Debug> fmt::Debug for GrantBuilder<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrantBuilder")
            .field("server", &self.server)
            .field("flow", &self.flow)
            .field("auth", &self.auth)
            .field("params", &self.params)
            .finish_non_exhaustive()
    }
}
