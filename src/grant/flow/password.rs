//! The resource owner password credentials grant (RFC 6749 §4.3).

use secrecy::{ExposeSecret, SecretString};

use crate::{
    error::Error,
    grant::{
        Grant, GrantBuilder,
        credentials::{BoxProvider, Credentials, CredentialsProvider},
        flow::Flow,
        form::Form,
    },
};

/// Gets tokens with a user's name and password (RFC 6749 §4.3), and with the refresh tokens that come with them (§6).
///
/// RFC 9700 §2.4: this grant must not be used for new work. See [the module](crate::grant).
///
/// A refresh token is used first, replaced when a new one comes, kept when none comes, and dropped when it is refused: then
/// the password is used in the same attempt.
///
/// ```
/// use tower_bearer::{BearerAuthLayer, grant::{ClientAuth, PasswordGrant}};
///
/// # fn sdk() -> Result<(), tower_bearer::Error> {
/// # #[cfg(feature = "client")] {
/// let source = PasswordGrant::builder("https://auth.example.org/oauth2/token")
///     .client_auth(ClientAuth::basic("client-id", "client-secret"))
///     .credentials("username", "password")
///     .scope("patient/Observation.rs")
///     .build()?;
/// let layer = BearerAuthLayer::new(source);
/// # }
/// # Ok(()) }
/// ```
pub type PasswordGrant<C> = Grant<PasswordFlow, C>;

/// Settings of a [`PasswordGrant`]; each method states its default.
pub type PasswordGrantBuilder = GrantBuilder<PasswordFlow>;

/// A user's name and password: see [`PasswordGrant`].
#[derive(Clone, Debug, Default)]
pub struct PasswordFlow {
    credentials: Option<BoxProvider>,
}

impl PasswordFlow {
    fn credentials(&self) -> Result<&BoxProvider, Error> {
        let missing = || Error::config("no credentials are set: call `credentials` or `credentials_from`");
        self.credentials.as_ref().ok_or_else(missing)
    }
}

impl Flow for PasswordFlow {
    const GRANT_TYPE: &'static str = "password";

    fn check(&self) -> Result<(), Error> {
        self.credentials().map(drop)
    }

    async fn fill(&self, form: &mut Form) -> Result<(), Error> {
        let provided = self.credentials()?.credentials().await;
        let Credentials { username, password } = provided.map_err(Error::transient)?;
        form.append("username", &username);
        form.append("password", password.expose_secret());
        Ok(())
    }

    fn version(&self) -> u64 {
        self.credentials.as_ref().map_or(0, BoxProvider::version)
    }
}

impl GrantBuilder<PasswordFlow> {
    /// The user's name and password. Required, or [`credentials_from`](Self::credentials_from).
    pub fn credentials(self, username: impl Into<String>, password: impl Into<SecretString>) -> Self {
        self.credentials_from(Credentials::new(username, password))
    }

    /// Where the user's name and password come from, asked only when a refresh token does not do: an async closure, or a
    /// [`CredentialsProvider`] of one's own. Required, or [`credentials`](Self::credentials).
    pub fn credentials_from(mut self, provider: impl CredentialsProvider) -> Self {
        self.flow.credentials = Some(BoxProvider::new(provider));
        self
    }
}
