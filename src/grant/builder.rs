//! The settings that all grants share, one call each.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::{
    error::Error,
    grant::{
        client_auth::ClientAuth, endpoint::Endpoint, flow::Flow, http_service::HttpService, params::Params,
        token_grant::Grant,
    },
};

/// Settings of a [`Grant`]; each method states its default.
#[derive(Debug)]
#[must_use = "call `build`"]
pub struct GrantBuilder<F> {
    /// Not shown: it may have a secret in it before it is checked.
    token_url: SecretString,
    pub(crate) flow: F,
    auth: Option<ClientAuth>,
    params: Params,
    plain_http: bool,
    show_description: bool,
    deadline: Duration,
}

impl<F: Flow> GrantBuilder<F> {
    pub(crate) fn new(token_url: String) -> Self {
        Self {
            token_url: token_url.into(),
            flow: F::default(),
            auth: None,
            params: Params::default(),
            plain_http: false,
            show_description: false,
            deadline: Duration::from_secs(10),
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

    /// Lets the token URL be plain http on other hosts than loopback: secrets go in the clear. Default: off.
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
        self.flow.check()?;
        self.params.check(F::REPEATABLE)?;
        let endpoint = Endpoint::new(
            http,
            self.token_url.expose_secret(),
            auth,
            self.plain_http,
            self.show_description,
            self.deadline,
        )?;
        Ok(Grant::new(endpoint, self.flow, self.params))
    }
}
