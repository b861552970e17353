//! The settings that all grants share, one call each.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::{
    clock::WallClock,
    error::Error,
    grant::{
        client_auth::ClientAuth, discovery::Asking, endpoint::Endpoint, flow::Flow, http_service::HttpService,
        params::Params, server::AuthorizationServer, token_grant::Grant, url::Url,
    },
};

/// Settings of a [`Grant`]; each method states its default.
#[must_use = "call `build`"]
pub struct GrantBuilder<F> {
    server: AuthorizationServer,
    pub(crate) flow: F,
    pub(crate) auth: Option<ClientAuth>,
    params: Params,
    plain_http: bool,
    show_description: bool,
    deadline: Duration,
    revocation_url: Option<String>,
    wall_clock: WallClock,
}

impl<F: Flow> GrantBuilder<F> {
    pub(crate) fn new(server: AuthorizationServer) -> Self {
        Self {
            server,
            flow: F::default(),
            auth: None,
            params: Params::default(),
            plain_http: false,
            show_description: false,
            deadline: Duration::from_secs(10),
            revocation_url: None,
            wall_clock: WallClock::System,
        }
    }

    /// How the client authenticates. Required; a client without a secret uses [`ClientAuth::none`].
    pub fn client_auth(mut self, auth: ClientAuth) -> Self {
        self.auth = Some(auth);
        self
    }

    /// The scope to ask for, space-delimited (RFC 6749 §3.3). Default: none, the server chooses.
    pub fn scope(self, scope: impl Into<String>) -> Self {
        self.param("scope", scope)
    }

    /// The audience to ask for, as some servers want it. Default: none.
    pub fn audience(self, audience: impl Into<String>) -> Self {
        self.param("audience", audience)
    }

    /// A resource that the token is for (RFC 8707 §2): an absolute URI without a fragment. May be given several times.
    /// Default: none.
    pub fn resource(self, resource: impl Into<String>) -> Self {
        self.param("resource", resource)
    }

    /// Any other parameter that the server wants. Default: none.
    pub fn param(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.params.push(name, value);
        self
    }

    /// Where tokens are revoked (RFC 7009). Default: what the server's metadata says, if it is known by that.
    pub fn revocation_url(mut self, url: impl Into<String>) -> Self {
        self.revocation_url = Some(url.into());
        self
    }

    /// Lets URLs be plain http on other hosts than loopback: secrets go in the clear. Default: off.
    pub fn allow_plain_http(mut self, allow: bool) -> Self {
        self.plain_http = allow;
        self
    }

    /// Shows the server's `error_description` in errors. Default: off, because servers repeat in it what they were sent.
    pub fn show_error_description(mut self, show: bool) -> Self {
        self.show_description = show;
        self
    }

    /// How long one token request may take, from connecting to the answer's last byte. Default: 10 s, as the cache's for a
    /// whole renewal.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Where the time of day comes from that assertions are made by. Default: the system's clock. For tests, and for hosts
    /// with a better clock.
    pub fn wall_clock(mut self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.wall_clock = WallClock::Custom(Arc::new(clock));
        self
    }

    /// Makes the grant, with the ready-made HTTPS client.
    ///
    /// # Errors
    /// When a setting is missing or wrong.
    #[cfg(feature = "client")]
    pub fn build(self) -> Result<Grant<F, crate::grant::HttpClient>, Error> {
        let http = crate::grant::HttpClient::builder().build()?;
        self.build_with(http)
    }

    /// Makes the grant, with an HTTP client of one's own.
    ///
    /// # Errors
    /// When a setting is missing or wrong.
    pub fn build_with<C: HttpService>(self, http: C) -> Result<Grant<F, C>, Error> {
        let auth = self.auth.ok_or_else(|| {
            Error::config(
                "no client authentication is set: call `client_auth`, with `ClientAuth::none` for a public client",
            )
        })?;
        auth.check()?;
        self.flow.check()?;
        self.params.check(F::REPEATABLE)?;
        self.server.check(self.plain_http)?;
        let revocation = self
            .revocation_url
            .map(|url| Url::setting(&url, "revocation URL", "https://auth.example.org/oauth2/revoke", self.plain_http));
        let endpoint = Endpoint {
            asking: Asking { http, plain_http: self.plain_http, deadline: self.deadline },
            server: self.server,
            auth,
            revocation: revocation.transpose()?,
            show_description: self.show_description,
            wall_clock: self.wall_clock,
        };
        Ok(Grant::new(endpoint, self.flow, self.params))
    }
}

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
