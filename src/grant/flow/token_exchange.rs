//! Token exchange (RFC 8693).

use secrecy::ExposeSecret;

use crate::{
    error::Error,
    grant::{
        Grant, GrantBuilder,
        flow::Flow,
        form::{At, Form},
        secret::Secret,
    },
};

/// Gets tokens for somebody else's token (RFC 8693 §2.1).
///
/// ```
/// use tower_bearer::grant::{ClientAuth, Secret, TokenExchange, token_type};
///
/// # fn sdk() -> Result<(), tower_bearer::Error> {
/// # #[cfg(feature = "client")] {
/// let source = TokenExchange::builder("https://auth.example.org/oauth2/token")
///     .client_auth(ClientAuth::none("client-id"))
///     .subject_token(Secret::file("/var/run/secrets/tokens/service-account"), token_type::JWT)
///     .audience("https://api.example.org")
///     .build()?;
/// # }
/// # Ok(()) }
/// ```
pub type TokenExchange<C> = Grant<TokenExchangeFlow, C>;

/// Settings of a [`TokenExchange`]; each method states its default.
pub type TokenExchangeBuilder = GrantBuilder<TokenExchangeFlow>;

/// The token types of RFC 8693 §3.
pub mod token_type {
    /// An OAuth 2.0 access token of this authorization server.
    pub const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
    /// An OAuth 2.0 refresh token of this authorization server.
    pub const REFRESH_TOKEN: &str = "urn:ietf:params:oauth:token-type:refresh_token";
    /// An OpenID Connect ID token.
    pub const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
    /// Any JWT.
    pub const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
    /// A base64url-encoded SAML 2.0 assertion.
    pub const SAML2: &str = "urn:ietf:params:oauth:token-type:saml2";
}

/// The tokens to exchange: see [`TokenExchange`].
#[derive(Clone, Debug, Default)]
pub struct TokenExchangeFlow {
    subject: Option<Typed>,
    actor: Option<Typed>,
    requested: Option<String>,
}

#[derive(Clone, Debug)]
struct Typed {
    token: Secret,
    kind: String,
}

impl TokenExchangeFlow {
    fn subject(&self) -> Result<&Typed, Error> {
        self.subject.as_ref().ok_or_else(|| Error::config("no subject token is set: call `subject_token`"))
    }
}

impl Flow for TokenExchangeFlow {
    const GRANT_TYPE: &'static str = "urn:ietf:params:oauth:grant-type:token-exchange";
    const REPEATABLE: &'static [&'static str] = &["resource", "audience"];
    const NAMES_ITS_TYPE: bool = true;

    fn check(&self) -> Result<(), Error> {
        self.subject().map(drop)
    }

    async fn fill(&self, form: &mut Form, _at: &At<'_>) -> Result<(), Error> {
        if let Some(requested) = &self.requested {
            form.append("requested_token_type", requested);
        }
        let subject = self.subject()?;
        form.append("subject_token", subject.token.read().await?.expose_secret());
        form.append("subject_token_type", &subject.kind);
        if let Some(actor) = &self.actor {
            form.append("actor_token", actor.token.read().await?.expose_secret());
            form.append("actor_token_type", &actor.kind);
        }
        Ok(())
    }

    /// Of the subject alone: whose token it is.
    fn version(&self) -> u64 {
        self.subject.as_ref().map_or(0, |subject| subject.token.version())
    }
}

impl GrantBuilder<TokenExchangeFlow> {
    /// The token of the one on whose behalf the new one is wanted, and its [type](token_type). Required.
    pub fn subject_token(mut self, token: impl Into<Secret>, kind: impl Into<String>) -> Self {
        self.flow.subject = Some(Typed { token: token.into(), kind: kind.into() });
        self
    }

    /// The token of the one who acts, and its [type](token_type). Default: none.
    pub fn actor_token(mut self, token: impl Into<Secret>, kind: impl Into<String>) -> Self {
        self.flow.actor = Some(Typed { token: token.into(), kind: kind.into() });
        self
    }

    /// The [type](token_type) of token to ask for. Default: the server chooses.
    pub fn requested_token_type(mut self, kind: impl Into<String>) -> Self {
        self.flow.requested = Some(kind.into());
        self
    }
}
