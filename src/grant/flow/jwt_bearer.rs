//! The JWT bearer grant (RFC 7523 §2.1).

use secrecy::ExposeSecret;

use crate::{
    error::Error,
    grant::{
        Grant, GrantBuilder,
        assertion::AssertionSource,
        flow::Flow,
        form::{At, Form},
        secret::Secret,
    },
};

/// Gets tokens with a JWT that vouches for a user (RFC 7521 §4.1, RFC 7523 §2.1).
///
/// ```
/// use tower_bearer::grant::{ClientAuth, JwtBearer, Secret};
///
/// # fn sdk() -> Result<(), tower_bearer::Error> {
/// # #[cfg(feature = "client")] {
/// let source = JwtBearer::builder("https://auth.example.org/oauth2/token")
///     .client_auth(ClientAuth::none("client-id"))
///     .assertion(Secret::from_fn(async || Ok("a JWT from somewhere else".into())))
///     .build()?;
/// # }
/// # Ok(()) }
/// ```
pub type JwtBearer<C> = Grant<JwtBearerFlow, C>;

/// Settings of a [`JwtBearer`]; each method states its default.
pub type JwtBearerBuilder = GrantBuilder<JwtBearerFlow>;

/// An assertion: see [`JwtBearer`].
#[derive(Clone, Debug, Default)]
pub struct JwtBearerFlow {
    assertion: Option<AssertionSource>,
}

impl JwtBearerFlow {
    fn assertion(&self) -> Result<&AssertionSource, Error> {
        self.assertion.as_ref().ok_or_else(|| Error::config("no assertion is set: call `assertion` or `signed`"))
    }
}

impl Flow for JwtBearerFlow {
    const GRANT_TYPE: &'static str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

    fn check(&self) -> Result<(), Error> {
        self.assertion()?.check()
    }

    async fn fill(&self, form: &mut Form, at: &At<'_>) -> Result<(), Error> {
        form.append("assertion", self.assertion()?.jwt(at).await?.expose_secret());
        Ok(())
    }

    fn version(&self) -> u64 {
        self.assertion.as_ref().map_or(0, AssertionSource::version)
    }
}

impl GrantBuilder<JwtBearerFlow> {
    /// An assertion that somebody else signs. Required, or [`signed`](Self::signed).
    pub fn assertion(mut self, assertion: impl Into<Secret>) -> Self {
        self.flow.assertion = Some(AssertionSource::Given(assertion.into()));
        self
    }

    /// An assertion that is signed here, afresh for each token request. Required, or [`assertion`](Self::assertion).
    #[cfg(feature = "jwt")]
    pub fn signed(mut self, assertion: crate::grant::Assertion) -> Self {
        self.flow.assertion = Some(AssertionSource::Signed(Box::new(assertion)));
        self
    }
}
