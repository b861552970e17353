//! The refresh token grant (RFC 6749 §6), from a refresh token that was had elsewhere.

use std::{fmt, panic::AssertUnwindSafe, pin::Pin, sync::Arc, time::Duration};

use crate::error::BoxError;
use futures_util::FutureExt;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout;

use crate::{
    error::Error,
    grant::{
        Grant, GrantBuilder,
        flow::{Flow, kind::Refresh},
        form::{At, Form},
        secret::Secret,
    },
};

/// Gets tokens with a refresh token that a user's consent brought elsewhere (RFC 6749 §6).
///
/// A server that rotates refresh tokens takes each only once. The newest is kept here and used next; let
/// [`on_rotation`](RefreshTokenBuilder::on_rotation) save it where the first one came from, or a restart loses it.
///
/// ```
/// use secrecy::ExposeSecret;
/// use tower_bearer::grant::{ClientAuth, RefreshToken, Secret};
///
/// # fn sdk() -> Result<(), tower_bearer::Error> {
/// # #[cfg(feature = "client")] {
/// let source = RefreshToken::builder("https://auth.example.org/oauth2/token")
///     .client_auth(ClientAuth::none("client-id"))
///     .refresh_token(Secret::file("/var/lib/my-app/refresh-token"))
///     .on_rotation(|new| async move {
///         tokio::fs::write("/var/lib/my-app/refresh-token.new", new.expose_secret()).await?;
///         tokio::fs::rename("/var/lib/my-app/refresh-token.new", "/var/lib/my-app/refresh-token").await?;
///         Ok(())
///     })
///     .build()?;
/// # }
/// # Ok(()) }
/// ```
pub type RefreshToken<C> = Grant<RefreshTokenFlow, C>;

/// Settings of a [`RefreshToken`]; each method states its default.
pub type RefreshTokenBuilder = GrantBuilder<RefreshTokenFlow>;

/// A refresh token, and who saves its successors: see [`RefreshToken`].
#[derive(Clone, Default)]
pub struct RefreshTokenFlow {
    first: Option<Secret>,
    on_rotation: Option<OnRotation>,
}

/// A part of a renewal's deadline, so that the token request before or after it has time as well.
const SAVING: Duration = Duration::from_secs(3);

type OnRotation = Arc<dyn Fn(SecretString) -> Saving + Send + Sync>;
type Saving = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

impl RefreshTokenFlow {
    fn first(&self) -> Result<&Secret, Error> {
        self.first.as_ref().ok_or_else(|| Error::config("no refresh token is set: call `refresh_token`"))
    }
}

impl Flow for RefreshTokenFlow {
    const GRANT_TYPE: &'static str = "refresh_token";
    const REFRESH: Refresh = Refresh::Only;

    fn check(&self) -> Result<(), Error> {
        self.first().map(drop)
    }

    async fn fill(&self, form: &mut Form, _at: &At<'_>) -> Result<(), Error> {
        form.append("refresh_token", self.first()?.read().await?.expose_secret());
        Ok(())
    }

    fn version(&self) -> u64 {
        self.first.as_ref().map_or(0, Secret::version)
    }

    async fn first_refresh_token(&self) -> Result<Option<SecretString>, Error> {
        self.first()?.read().await.map(Some)
    }

    async fn save(&self, refresh_token: &SecretString) -> bool {
        let Some(save) = &self.on_rotation else { return true };
        // It is somebody else's code, and what goes wrong in it must not cost the tokens.
        let saving = AssertUnwindSafe(async { timeout(SAVING, save(refresh_token.clone())).await });
        let saved = matches!(saving.catch_unwind().await, Ok(Ok(Ok(()))));
        if !saved {
            // Without the error, which is somebody else's and may have the token in it.
            tracing::warn!("the new refresh token could not be saved; the next token request tries again");
        }
        saved
    }
}

impl GrantBuilder<RefreshTokenFlow> {
    /// The refresh token to begin with. Required.
    pub fn refresh_token(mut self, refresh_token: impl Into<Secret>) -> Self {
        self.flow.first = Some(refresh_token.into());
        self
    }

    /// Saves a refresh token that replaces the one before. Default: it is kept in memory only.
    ///
    /// It is called before the access token that came along is used, and has 3 s. When it fails, the access token is used all
    /// the same, and it is called again at the next token request.
    pub fn on_rotation<F, Fut>(mut self, save: F) -> Self
    where
        F: Fn(SecretString) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.flow.on_rotation = Some(Arc::new(move |refresh_token| Box::pin(save(refresh_token))));
        self
    }
}

impl fmt::Debug for RefreshTokenFlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshTokenFlow").field("first", &self.first).finish_non_exhaustive()
    }
}
