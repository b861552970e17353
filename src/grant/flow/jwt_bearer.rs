//! The JWT bearer grant (RFC 7523 §2.1).

#[cfg(feature = "on-behalf-of")]
use std::sync::Arc;

#[cfg(feature = "jwt")]
use crate::grant::authentication::assertion::Assertion;
#[cfg(feature = "on-behalf-of")]
use crate::grant::on_behalf_of::{subject::Subject, user_flow::UserFlow, users::OnBehalfOf};
use crate::{
    error::{Error, Presented},
    grant::{
        authentication::assertion_source::AssertionSource,
        builder::GrantBuilder,
        exchange::{form::Form, request_context::RequestContext},
        flow::behavior::FlowBehavior,
        secrets::secret::Secret,
        token_grant::Grant,
    },
    source::SourceIdentity,
};

/// Gets tokens with a JWT that identifies a user (RFC 7521 §4.1, RFC 7523 §2.1).
///
/// ```
/// use tower_bearer::grant::{ClientAuth, JwtBearer, Secret};
///
/// # fn sdk() -> Result<(), tower_bearer::Error> {
/// # #[cfg(feature = "client")] {
/// let source = JwtBearer::builder("https://auth.example.org/oauth2/token")
///     .client_auth(ClientAuth::none("client-id"))
///     .assertion(Secret::from_fn(async || Ok("a JWT from another service".into())))
///     .build()?;
/// # }
/// # Ok(()) }
/// ```
///
/// With `build()`, the type is `JwtBearer<HttpClient>`, for example in a field of a struct.
pub type JwtBearer<C> = Grant<JwtBearerFlow, C>;

/// Settings of a [`JwtBearer`]; each method states its default.
pub type JwtBearerBuilder = GrantBuilder<JwtBearerFlow>;

/// The flow of [`JwtBearer`]. It sends an assertion.
#[derive(Clone, Debug, Default)]
pub struct JwtBearerFlow {
    assertion: Option<AssertionSource>,
    /// The exchange that gets the assertion of each user.
    #[cfg(feature = "on-behalf-of")]
    exchange: Option<OnBehalfOf>,
}

impl JwtBearerFlow {
    fn assertion(&self) -> Result<&AssertionSource, Error> {
        self.assertion.as_ref().ok_or_else(|| Error::config("no assertion is set: call `assertion` or `signed`"))
    }
}

impl FlowBehavior for JwtBearerFlow {
    const GRANT_TYPE: &'static str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
    const PRESENTS: Presented = Presented::Assertion;

    fn check(&self) -> Result<(), Error> {
        self.assertion()?.check()
    }

    async fn append_to(&self, form: &mut Form, context: &RequestContext<'_>) -> Result<(), Error> {
        form.append("assertion", self.assertion()?.for_grant(context).await?.expose());
        Ok(())
    }

    async fn identify(&self, identity: SourceIdentity) -> Result<SourceIdentity, Error> {
        #[cfg(feature = "on-behalf-of")]
        if let (None, Some(exchange)) = (&self.assertion, &self.exchange) {
            return Ok(identity.with_all_of(&exchange.identity().await?));
        }
        match &self.assertion {
            Some(assertion) => assertion.identify(identity).await,
            // Each user has one.
            None => Ok(identity),
        }
    }

    fn version(&self) -> u64 {
        #[cfg(feature = "on-behalf-of")]
        if let (None, Some(exchange)) = (&self.assertion, &self.exchange) {
            return exchange.credentials_version();
        }
        self.assertion.as_ref().map_or(0, AssertionSource::version)
    }
}

#[cfg(feature = "on-behalf-of")]
impl UserFlow for JwtBearerFlow {
    fn check_for_users(&self) -> Result<(), Error> {
        match self.assertion {
            None if self.exchange.as_ref().is_some_and(|exchange| !exchange.names_target()) => Err(Error::config(
                "the exchange of `assertion_from` says neither a type nor an audience, so its server may issue its own access \
                 token, which would be sent to the other server: call `requested_token_type` or `audience` for the exchange",
            )),
            None => Ok(()),
            Some(_) => Err(Error::config(
                "`assertion` or `signed` is called, but each user has an assertion of their own: leave it out",
            )),
        }
    }

    fn for_user(&self, subject: &Subject) -> Result<Self, Error> {
        let assertion = match (&self.exchange, &subject.actor) {
            (Some(exchange), _) => of_exchange(exchange.clone(), subject.clone()),
            (None, None) => subject.token.clone().into(),
            (None, Some(_)) => {
                return Err(Error::config(
                    "the JWT bearer grant has no actor (RFC 7523 §2.1): leave `with_actor` out, or use `TokenExchange`",
                ));
            }
        };
        Ok(Self { assertion: Some(AssertionSource::Given(assertion)), ..self.clone() })
    }

    fn client_before(&self) -> Option<u64> {
        self.exchange.as_ref()?.client()
    }
}

/// Returns the assertion that an exchange gets for one user, a new one for each token request.
#[cfg(feature = "on-behalf-of")]
fn of_exchange(exchange: OnBehalfOf, subject: Subject) -> Secret {
    let (version, subject) = (exchange.clone(), Arc::new(subject));
    let get = move || {
        let (exchange, subject) = (exchange.clone(), Arc::clone(&subject));
        async move { Ok(exchange.assertion(&subject).await?) }
    };
    Secret::from_fn(get).with_version(move || version.credentials_version())
}

impl GrantBuilder<JwtBearerFlow> {
    /// Sets an assertion that another party signs. Required, unless [`signed`](Self::signed) is called.
    pub fn assertion(mut self, assertion: impl Into<Secret>) -> Self {
        self.flow.assertion = Some(AssertionSource::Given(assertion.into()));
        self
    }

    /// Sets an assertion that is signed here, a new one for each token request. Required, unless
    /// [`assertion`](Self::assertion) is called.
    #[cfg(feature = "jwt")]
    pub fn signed(mut self, assertion: Assertion) -> Self {
        self.flow.assertion = Some(AssertionSource::Signed(Box::new(assertion)));
        self
    }

    /// Sets the exchange that gets the assertion of each user, for [`for_users`](Self::for_users). Default: the user's own token
    /// is the assertion.
    ///
    /// Two servers take part then: the user's identity provider exchanges the user's token for an assertion, and this server
    /// accepts that. The exchange must have a [`requested_token_type`](crate::grant::TokenExchangeBuilder::requested_token_type), an
    /// [`audience`](GrantBuilder::audience) or a resource, so that the assertion is made for this server. With the type [`ID_JAG`](crate::grant::token_type::ID_JAG), this is the identity assertion grant. Each
    /// assertion is used once, for one token request, and is not kept.
    #[cfg(feature = "on-behalf-of")]
    pub fn assertion_from(mut self, exchange: OnBehalfOf) -> Self {
        self.flow.exchange = Some(exchange);
        self
    }
}
