//! The resource owner password credentials grant (RFC 6749 §4.3).

use crate::error::BoxError;
use secrecy::ExposeSecret;

use crate::{
    error::Error,
    grant::{
        Grant, GrantBuilder,
        credentials::{BoxProvider, Credentials, CredentialsProvider},
        flow::Flow,
        form::{At, Form},
        secret::Secret,
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

    async fn fill(&self, form: &mut Form, _at: &At<'_>) -> Result<(), Error> {
        let provided = self.credentials()?.credentials().await;
        let Credentials { username, password } = provided.map_err(Error::provider)?;
        form.append("username", &username);
        form.append("password", password.expose_secret());
        Ok(())
    }

    fn version(&self) -> u64 {
        self.credentials.as_ref().map_or(0, BoxProvider::version)
    }
}

impl GrantBuilder<PasswordFlow> {
    /// The user's name and password, as text or as the [places](Secret) where they are kept. Required, or
    /// [`credentials_from`](Self::credentials_from).
    pub fn credentials(self, username: impl Into<Secret>, password: impl Into<Secret>) -> Self {
        self.credentials_from(Places { username: username.into(), password: password.into() })
    }

    /// Where the user's name and password come from, asked only when a refresh token does not do: an async closure, or a
    /// [`CredentialsProvider`] of one's own. Required, or [`credentials`](Self::credentials).
    pub fn credentials_from(mut self, provider: impl CredentialsProvider) -> Self {
        self.flow.credentials = Some(BoxProvider::new(provider));
        self
    }
}

/// A username and a password, each in its place.
struct Places {
    username: Secret,
    password: Secret,
}

impl CredentialsProvider for Places {
    /// Never the name of before and the password of after a change.
    async fn credentials(&self) -> Result<Credentials, BoxError> {
        let mut version = self.version();
        loop {
            let (username, password) = (self.username.read().await?, self.password.read().await?);
            let before = std::mem::replace(&mut version, self.version());
            if before == version {
                return Ok(Credentials::new(username.expose_secret(), password));
            }
        }
    }

    fn version(&self) -> u64 {
        // The two versions are hashes, and so is what this makes of them.
        self.username.version().rotate_left(1) ^ self.password.version()
    }
}
