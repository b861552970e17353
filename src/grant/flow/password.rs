//! The resource owner password credentials grant (RFC 6749 §4.3).

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use crate::{
    error::{BoxError, Error, Presented},
    grant::{
        builder::GrantBuilder,
        exchange::{form::Form, request_context::RequestContext},
        flow::behavior::FlowBehavior,
        secrets::{
            credentials::{BoxCredentialsProvider, Credentials, CredentialsProvider},
            secret::{Secret, VersionFn},
        },
        token_grant::Grant,
    },
    source::SourceIdentity,
};

/// Gets tokens with a user's name and password (RFC 6749 §4.3), and with the refresh tokens that come with them (§6).
///
/// RFC 9700 §2.4 says that this grant must not be used. [The module](crate::grant) says how to replace it.
///
/// A refresh token is used before the password. It is replaced when a new one is received, and kept when none is received. If
/// it is refused, it is dropped, and the password is used in the same attempt.
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
///
/// With `build()`, the type is `PasswordGrant<HttpClient>`, for example in a field of a struct.
pub type PasswordGrant<C> = Grant<PasswordFlow, C>;

/// Settings of a [`PasswordGrant`]; each method states its default.
pub type PasswordGrantBuilder = GrantBuilder<PasswordFlow>;

/// The flow of [`PasswordGrant`]. It sends a user's name and password.
#[derive(Clone, Default)]
pub struct PasswordFlow {
    credentials: Option<BoxCredentialsProvider>,
    version: Option<VersionFn>,
}

impl PasswordFlow {
    fn credentials(&self) -> Result<&BoxCredentialsProvider, Error> {
        let missing = || Error::config("no credentials are set: call `credentials` or `credentials_from`");
        self.credentials.as_ref().ok_or_else(missing)
    }
}

impl FlowBehavior for PasswordFlow {
    const GRANT_TYPE: &'static str = "password";
    const PRESENTS: Presented = Presented::Password;

    fn check(&self) -> Result<(), Error> {
        self.credentials().map(drop)
    }

    async fn append_to(&self, form: &mut Form, _context: &RequestContext<'_>) -> Result<(), Error> {
        let provided = self.credentials()?.credentials().await;
        let Credentials { username, password } = provided.map_err(Error::provider)?;
        form.append("username", &username);
        form.append("password", password.expose());
        Ok(())
    }

    async fn identify(&self, identity: SourceIdentity) -> Result<SourceIdentity, Error> {
        let provided = self.credentials()?.credentials().await;
        let Credentials { username, password } = provided.map_err(Error::provider)?;
        Ok(identity.with("username", username).with_secret("password", password.expose()))
    }

    fn version(&self) -> u64 {
        match (&self.version, &self.credentials) {
            (Some(version), _) => version(),
            (None, credentials) => credentials.as_ref().map_or(0, BoxCredentialsProvider::version),
        }
    }
}

impl GrantBuilder<PasswordFlow> {
    /// Sets the user's name and password, as text or as the [places](Secret) where they are kept. Required, unless
    /// [`credentials_from`](Self::credentials_from) is called.
    pub fn credentials(self, username: impl Into<Secret>, password: impl Into<Secret>) -> Self {
        self.credentials_from(SecretCredentials { username: username.into(), password: password.into() })
    }

    /// Sets a provider of the user's name and password: an async closure, or your own [`CredentialsProvider`]. It is called
    /// only when no refresh token can be used. Required, unless [`credentials`](Self::credentials) is called.
    ///
    /// If it may provide another user later, say when by [`credentials_version`](Self::credentials_version) or
    /// [`CredentialsProvider::version`]. Without that, the first user's refresh token is used as long as the server accepts it,
    /// because the provider is not called meanwhile. The first user's access token is used until it is renewed: call
    /// [`TokenCache::reset`](crate::TokenCache::reset) when the user changes.
    pub fn credentials_from(mut self, provider: impl CredentialsProvider) -> Self {
        self.flow.credentials = Some(BoxCredentialsProvider::new(provider));
        self
    }

    /// Sets a function that returns a number that changes when the credentials change. A change ends the backoff after a
    /// refusal, and the refresh token of the earlier credentials is not used. Default: the provider's own
    /// [version](CredentialsProvider::version); that of a closure is always 0.
    pub fn credentials_version(mut self, version: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        self.flow.version = Some(Arc::new(version));
        self
    }
}

impl fmt::Debug for PasswordFlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordFlow").field("credentials", &self.credentials).finish_non_exhaustive()
    }
}

/// How often the name and the password are read if they change meanwhile.
const MAX_READINGS: u32 = 8;

/// A username and a password that are kept separately.
struct SecretCredentials {
    username: Secret,
    password: Secret,
}

impl CredentialsProvider for SecretCredentials {
    /// Reads both again if one of them changed meanwhile: an old name and a new password do not belong together.
    async fn credentials(&self) -> Result<Credentials, BoxError> {
        let mut version = self.version();
        let mut readings = 1;
        loop {
            let (username, password) = (self.username.read().await?, self.password.read().await?);
            let before = std::mem::replace(&mut version, self.version());
            if before == version || readings == MAX_READINGS {
                return Ok(Credentials::new(username.expose(), password));
            }
            readings += 1;
        }
    }

    fn version(&self) -> u64 {
        let mut hash = DefaultHasher::new();
        (self.username.version(), self.password.version()).hash(&mut hash);
        hash.finish()
    }
}
