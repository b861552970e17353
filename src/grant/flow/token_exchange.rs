//! Token exchange (RFC 8693).

use crate::{
    error::{Error, Presented},
    grant::{
        builder::GrantBuilder,
        exchange::{form::Form, request_context::RequestContext},
        flow::behavior::FlowBehavior,
        secrets::secret::Secret,
        token_grant::Grant,
    },
    source::SourceIdentity,
};
#[cfg(feature = "on-behalf-of")]
use crate::{
    grant::on_behalf_of::{subject::Subject, user_flow::UserFlow},
    secret_string::SecretString,
};

/// Gets tokens in exchange for another party's token (RFC 8693 §2.1).
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
///
/// With `build()`, the type is `TokenExchange<HttpClient>`, for example in a field of a struct.
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
    /// An identity assertion JWT authorization grant: what a user's identity provider asserts to the authorization server of
    /// another API (draft-ietf-oauth-identity-assertion-authz-grant).
    pub const ID_JAG: &str = "urn:ietf:params:oauth:token-type:id-jag";
}

/// The flow of [`TokenExchange`]. It sends the tokens to exchange.
#[derive(Clone, Debug, Default)]
pub struct TokenExchangeFlow {
    subject: Option<TypedToken>,
    actor: Option<TypedToken>,
    requested_type: Option<String>,
    #[cfg(feature = "on-behalf-of")]
    types_of_users: TypesOfUsers,
}

/// The types of the tokens that each user gives.
#[cfg(feature = "on-behalf-of")]
#[derive(Clone, Debug)]
struct TypesOfUsers {
    subject: String,
    actor: String,
}

#[cfg(feature = "on-behalf-of")]
impl Default for TypesOfUsers {
    fn default() -> Self {
        Self { subject: token_type::ACCESS_TOKEN.into(), actor: token_type::ACCESS_TOKEN.into() }
    }
}

#[derive(Clone, Debug)]
struct TypedToken {
    token: Secret,
    token_type: String,
}

impl TokenExchangeFlow {
    fn subject(&self) -> Result<&TypedToken, Error> {
        self.subject.as_ref().ok_or_else(|| Error::config("no subject token is set: call `subject_token`"))
    }
}

impl FlowBehavior for TokenExchangeFlow {
    const GRANT_TYPE: &'static str = "urn:ietf:params:oauth:grant-type:token-exchange";
    const PRESENTS: Presented = Presented::SubjectToken;
    const REPEATABLE: &'static [&'static str] = &["resource", "audience"];
    const REQUIRES_TOKEN_TYPE: bool = true;

    fn check(&self) -> Result<(), Error> {
        self.subject().map(drop)
    }

    async fn append_to(&self, form: &mut Form, _context: &RequestContext<'_>) -> Result<(), Error> {
        if let Some(requested_type) = &self.requested_type {
            form.append("requested_token_type", requested_type);
        }
        let subject = self.subject()?;
        form.append("subject_token", subject.token.read().await?.expose());
        form.append("subject_token_type", &subject.token_type);
        if let Some(actor) = &self.actor {
            form.append("actor_token", actor.token.read().await?.expose());
            form.append("actor_token_type", &actor.token_type);
        }
        Ok(())
    }

    async fn identify(&self, identity: SourceIdentity) -> Result<SourceIdentity, Error> {
        let mut identity = identity.with("requested token type", self.requested_type.as_deref().unwrap_or_default());
        #[cfg(feature = "on-behalf-of")]
        if self.subject.is_none() {
            let TypesOfUsers { subject, actor } = &self.types_of_users;
            identity = identity.with("type of the user's token", subject).with("type of the actor's token", actor);
        }
        for (name, given) in [("subject", &self.subject), ("actor", &self.actor)] {
            let Some(TypedToken { token, token_type }) = given else { continue };
            identity = identity.with("token type", token_type);
            identity = if token.is_from_function() {
                identity.unnamed()
            } else {
                identity.with(name, token.read().await?.expose())
            };
        }
        Ok(identity)
    }

    /// Only the subject counts: the new token is for it.
    fn version(&self) -> u64 {
        self.subject.as_ref().map_or(0, |subject| subject.token.version())
    }
}

#[cfg(feature = "on-behalf-of")]
impl UserFlow for TokenExchangeFlow {
    fn check_for_users(&self) -> Result<(), Error> {
        match self.subject {
            None => Ok(()),
            Some(_) => Err(Error::config(
                "`subject_token` is set, but each user has a token of their own: leave it out, and call `subject_token_type` if \
                 they are not access tokens",
            )),
        }
    }

    fn for_user(&self, subject: &Subject) -> Result<Self, Error> {
        let typed =
            |token: &SecretString, kind: &String| TypedToken { token: token.clone().into(), token_type: kind.clone() };
        let mut flow = self.clone();
        flow.subject = Some(typed(&subject.token, &self.types_of_users.subject));
        if let Some(actor) = &subject.actor {
            flow.actor = Some(typed(actor, &self.types_of_users.actor));
        }
        Ok(flow)
    }

    fn requested_type(&self) -> Option<&str> {
        self.requested_type.as_deref()
    }
}

impl GrantBuilder<TokenExchangeFlow> {
    /// Sets the token of the party on whose behalf the new token is used, and its [type](token_type). Required.
    pub fn subject_token(mut self, token: impl Into<Secret>, token_type: impl Into<String>) -> Self {
        self.flow.subject = Some(TypedToken { token: token.into(), token_type: token_type.into() });
        self
    }

    /// Sets the token of the party that acts, and its [type](token_type). Default: none.
    pub fn actor_token(mut self, token: impl Into<Secret>, token_type: impl Into<String>) -> Self {
        self.flow.actor = Some(TypedToken { token: token.into(), token_type: token_type.into() });
        self
    }

    /// Sets the [type](token_type) of token to ask for. Default: none, so the server chooses.
    pub fn requested_token_type(mut self, token_type: impl Into<String>) -> Self {
        self.flow.requested_type = Some(token_type.into());
        self
    }

    /// Sets the [type](token_type) of the users' tokens, for [`for_users`](Self::for_users). Default:
    /// [`ACCESS_TOKEN`](token_type::ACCESS_TOKEN).
    #[cfg(feature = "on-behalf-of")]
    pub fn subject_token_type(mut self, token_type: impl Into<String>) -> Self {
        self.flow.types_of_users.subject = token_type.into();
        self
    }

    /// Sets the [type](token_type) of the tokens of [`Subject::with_actor`], for [`for_users`](Self::for_users). Default:
    /// [`ACCESS_TOKEN`](token_type::ACCESS_TOKEN).
    #[cfg(feature = "on-behalf-of")]
    pub fn actor_token_type(mut self, token_type: impl Into<String>) -> Self {
        self.flow.types_of_users.actor = token_type.into();
        self
    }
}
