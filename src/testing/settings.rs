//! The settings of an issuer.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

/// What [`IssuerBuilder`](super::IssuerBuilder) collects and the issuer reads.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) client_id: String,
    pub(super) client_secret: String,
    pub(super) client_authentication: ClientAuthentication,
    pub(super) client_keys: Value,
    /// The keys of the issuer whose assertions about users are accepted.
    pub(super) trusted_keys: Value,
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
    /// HTTP Basic with the form-encoded client id and secret (RFC 6749 §2.3.1).
    #[default]
    Basic,
    /// HTTP Basic with the client id and secret not encoded. Some servers require this, against the RFC.
    BasicRaw,
    /// `client_id` and `client_secret` in the body.
    Post,
    /// Either [`Basic`](Self::Basic) or [`Post`](Self::Post). A request must not use both.
    Either,
    /// A JWT signed with one of the [client's keys](super::IssuerBuilder::client_keys) (RFC 7523 §2.2).
    ///
    /// The rules are those of SMART App Launch 2.2, with one difference: the accepted algorithms are ES256 and ES384, and
    /// RS384 is rejected.
    PrivateKeyJwt,
    /// A JWT as for [`PrivateKeyJwt`](Self::PrivateKeyJwt), signed with the client's secret by HS256.
    SecretJwt,
    /// A public client: `client_id` in the body and no secret. It may not use the client credentials grant.
    None,
}

/// Which refresh tokens the issuer issues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefreshTokens {
    /// Issues no refresh tokens.
    #[default]
    None,
    /// Issues a refresh token that can be used any number of times. The response to a refresh contains no new one.
    Kept,
    /// Issues refresh tokens that can be used once. Each use returns the next one. A second use of the same token ends the
    /// session and revokes all its tokens.
    Rotating,
}

/// The format of access tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenFormat {
    /// JWTs signed with ES256.
    #[default]
    Jwt,
    /// Random strings.
    Opaque,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            client_id: "client1".to_owned(),
            client_secret: "client-secret".to_owned(),
            client_authentication: ClientAuthentication::default(),
            client_keys: Value::Null,
            trusted_keys: Value::Null,
            users: Vec::new(),
            scope: "user/Patient.rs user/Observation.rs".to_owned(),
            lifetime: Duration::from_secs(3600),
            refresh_tokens: RefreshTokens::default(),
            token_format: TokenFormat::default(),
        }
    }
}

/// Shows no secrets and no passwords.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
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
