//! The JWT bearer grant (RFC 7523 §2.1).

#[cfg(feature = "jwt")]
use crate::grant::authentication::assertion::Assertion;
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

    fn version(&self) -> u64 {
        self.assertion.as_ref().map_or(0, AssertionSource::version)
    }
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
}
