//! The client credentials grant (RFC 6749 §4.4).

#[cfg(feature = "jwt")]
use std::time::Duration;

#[cfg(feature = "jwt")]
use crate::grant::{
    authentication::{client_auth::ClientAuth, signing_key::SigningKey},
    server::authorization_server::AuthorizationServer,
};
use crate::{
    error::{Error, Presented},
    grant::{
        builder::GrantBuilder,
        exchange::{form::Form, request_context::RequestContext},
        flow::behavior::{FlowBehavior, RefreshPolicy},
        token_grant::Grant,
    },
};

/// Gets tokens for the client itself, without a user (RFC 6749 §4.4).
///
/// ```
/// use tower_bearer::grant::{ClientAuth, ClientCredentials, Secret};
///
/// # fn sdk() -> Result<(), tower_bearer::Error> {
/// # #[cfg(feature = "client")] {
/// let source = ClientCredentials::builder("https://auth.example.org/oauth2/token")
///     .client_auth(ClientAuth::basic("client-id", Secret::env("CLIENT_SECRET")))
///     .scope("system/Observation.rs")
///     .build()?;
/// # }
/// # Ok(()) }
/// ```
///
/// With `build()`, the type is `ClientCredentials<HttpClient>`, for example in a field of a struct.
pub type ClientCredentials<C> = Grant<ClientCredentialsFlow, C>;

/// Settings of [`ClientCredentials`]; each method states its default.
pub type ClientCredentialsBuilder = GrantBuilder<ClientCredentialsFlow>;

/// The flow of [`ClientCredentials`]. It sends only the client's authentication.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClientCredentialsFlow;

impl FlowBehavior for ClientCredentialsFlow {
    const GRANT_TYPE: &'static str = "client_credentials";
    const PRESENTS: Presented = Presented::Nothing;
    const REFRESH: RefreshPolicy = RefreshPolicy::Never;

    async fn append_to(&self, _form: &mut Form, _context: &RequestContext<'_>) -> Result<(), Error> {
        Ok(())
    }
}

#[cfg(feature = "jwt")]
impl Grant<ClientCredentialsFlow, ()> {
    /// Returns a builder for SMART Backend Services: client credentials with a signed assertion (SMART App Launch 2.2, "SMART
    /// Backend Services" and "Client Authentication: Asymmetric").
    ///
    /// The key is RSA (RS384) or P-384 (ES384), and it has a [`key_id`](crate::grant::SigningKey::key_id). The assertion is
    /// valid for 150 s, which is less than the 5 min that are allowed
    /// ([`assertion_lifetime`](ClientCredentialsBuilder::assertion_lifetime) changes that). Its audience is the token URL, and
    /// its `typ` is `JWT`, as SMART requires. A scope is required: `system/…`.
    ///
    /// ```
    /// use tower_bearer::grant::{AuthorizationServer, ClientCredentials, Secret, SigningKey};
    ///
    /// # fn sdk() -> Result<(), tower_bearer::Error> {
    /// # #[cfg(feature = "client")] {
    /// let server = AuthorizationServer::smart("https://fhir.example.org/r4");
    /// let key = SigningKey::pem(Secret::file("/run/secrets/key.pem")).key_id("2026-01");
    /// let source = ClientCredentials::backend_services(server, "client-id", key)
    ///     .scope("system/Observation.rs")
    ///     .build()?;
    /// # }
    /// # Ok(()) }
    /// ```
    pub fn backend_services(
        server: impl Into<AuthorizationServer>,
        client_id: impl Into<String>,
        key: SigningKey,
    ) -> ClientCredentialsBuilder {
        let auth = ClientAuth::private_key_jwt(client_id, key.for_backend_services());
        Self::builder(server).client_auth(auth)
    }
}

#[cfg(feature = "jwt")]
impl ClientCredentialsBuilder {
    /// Sets how long the assertion of [`backend_services`](ClientCredentials::backend_services) is valid. Default: 150 s.
    /// Call it after the client authentication is set.
    ///
    /// Some servers let the token live only as long as the assertion. The most that SMART App Launch allows is 5 min.
    pub fn assertion_lifetime(mut self, lifetime: Duration) -> Self {
        self.auth = self.auth.map(|auth| auth.assertion_lifetime(lifetime));
        self
    }
}
