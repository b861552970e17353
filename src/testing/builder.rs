//! The settings of an issuer.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use super::Issuer;

/// The settings of an [`Issuer`]; made by [`Issuer::builder`].
#[derive(Clone)]
#[must_use = "a builder does nothing until built"]
pub struct IssuerBuilder {
    pub(super) client_id: String,
    pub(super) client_secret: String,
    pub(super) client_authentication: ClientAuthentication,
    pub(super) client_keys: Value,
    pub(super) users: Vec<(String, String)>,
    pub(super) scope: String,
    pub(super) lifetime: Duration,
    pub(super) refresh_tokens: RefreshTokens,
    pub(super) token_format: TokenFormat,
}

/// How the client must authenticate at the token endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientAuthentication {
    /// HTTP Basic over the form-encoded id and secret (RFC 6749 §2.3.1).
    #[default]
    Basic,
    /// HTTP Basic over the id and secret as they are, as some servers want it against the RFC.
    BasicRaw,
    /// `client_id` and `client_secret` in the body.
    Post,
    /// [`Basic`](Self::Basic) or [`Post`](Self::Post), one of them in each request.
    Either,
    /// A JWT signed by one of the [client's keys](IssuerBuilder::client_keys) (RFC 7523 §2.2), with all that SMART App Launch
    /// 2.2 asks of it but that ES256 will do as well as ES384, and that RS384 will not.
    PrivateKeyJwt,
    /// The same, signed with the client's secret by HS256.
    SecretJwt,
    /// A public client: `client_id` in the body and no secret. It may not use client credentials.
    None,
}

/// What the issuer does about refresh tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefreshTokens {
    /// It issues none.
    #[default]
    None,
    /// It issues one with a password and accepts it again and again; a refresh answers without a new one.
    Kept,
    /// Each may be used once and brings the next. The second use of one ends the session: its tokens are all revoked.
    Rotating,
}

/// What access tokens look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenFormat {
    /// JWTs signed with ES256.
    #[default]
    Jwt,
    /// Random strings.
    Opaque,
}

impl IssuerBuilder {
    pub(super) fn new() -> Self {
        Self {
            client_id: "client1".to_owned(),
            client_secret: "client-secret".to_owned(),
            client_authentication: ClientAuthentication::default(),
            client_keys: Value::Null,
            users: Vec::new(),
            scope: "user/Patient.rs user/Observation.rs".to_owned(),
            lifetime: Duration::from_secs(3600),
            refresh_tokens: RefreshTokens::default(),
            token_format: TokenFormat::default(),
        }
    }

    /// The one client. Default: `client1` with `client-secret`.
    pub fn client(mut self, id: impl Into<String>, secret: impl Into<String>) -> Self {
        self.client_id = id.into();
        self.client_secret = secret.into();
        self
    }

    /// How the client must authenticate. Default: [`ClientAuthentication::Basic`].
    pub fn client_authentication(mut self, accepted: ClientAuthentication) -> Self {
        self.client_authentication = accepted;
        self
    }

    /// The client's public keys, as a JWK Set (RFC 7517 §5): P-256 and P-384, each with its `kid`. Default: none.
    pub fn client_keys(mut self, set: Value) -> Self {
        self.client_keys = set;
        self
    }

    /// Adds a user. Default, if none is added: `user1` with `user-password`.
    pub fn user(mut self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.users.push((name.into(), password.into()));
        self
    }

    /// The scope granted when none is asked for; asking for anything outside it is refused.
    /// Default: `user/Patient.rs user/Observation.rs`.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = scope.into();
        self
    }

    /// How long an access token lives; `expires_in` says its whole seconds. Default: 1 h.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// What to do about refresh tokens. Default: [`RefreshTokens::None`].
    pub fn refresh_tokens(mut self, refresh_tokens: RefreshTokens) -> Self {
        self.refresh_tokens = refresh_tokens;
        self
    }

    /// What access tokens look like. Default: [`TokenFormat::Jwt`].
    pub fn token_format(mut self, format: TokenFormat) -> Self {
        self.token_format = format;
        self
    }

    /// Makes the issuer. Its clock starts here, on tokio's time.
    #[must_use]
    pub fn build(mut self) -> Issuer {
        if self.users.is_empty() {
            self = self.user("user1", "user-password");
        }
        Issuer::start(self)
    }
}

impl fmt::Debug for IssuerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuerBuilder")
            .field("client_id", &self.client_id)
            .field("client_authentication", &self.client_authentication)
            .field("users", &self.users.len())
            .field("scope", &self.scope)
            .field("lifetime", &self.lifetime)
            .field("refresh_tokens", &self.refresh_tokens)
            .field("token_format", &self.token_format)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_holds_no_secret() {
        let builder = Issuer::builder().client("me", "s3cret").user("you", "pa55word");
        let issuer = builder.clone().build();
        let shown = format!("{builder:?} {issuer:?}");
        assert!(!shown.contains("s3cret") && !shown.contains("pa55word"), "{shown}");
    }
}
