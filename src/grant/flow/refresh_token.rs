//! The refresh token grant (RFC 6749 §6), with a refresh token that was received elsewhere.

use std::{fmt, panic::AssertUnwindSafe, pin::Pin, sync::Arc};

use futures_util::FutureExt;

use crate::{
    error::{BoxError, Error, Presented},
    grant::{
        builder::GrantBuilder,
        exchange::{form::Form, request_context::RequestContext},
        flow::behavior::{FlowBehavior, RefreshPolicy},
        saver::SAVE_DEADLINE,
        secrets::secret::Secret,
        token_grant::Grant,
    },
    secret_string::SecretString,
    source::SourceIdentity,
    timer::timeout,
};

/// Gets tokens with a refresh token that was received elsewhere, when a user gave consent (RFC 6749 §6).
///
/// A server that rotates refresh tokens accepts each one only once. The newest one is kept in memory and used next. Let
/// [`on_rotation`](RefreshTokenBuilder::on_rotation) save it where the first one came from, or a restart loses it.
///
/// ```
/// use tower_bearer::grant::{ClientAuth, RefreshToken, Secret};
///
/// # fn sdk() -> Result<(), tower_bearer::Error> {
/// # #[cfg(feature = "client")] {
/// let source = RefreshToken::builder("https://auth.example.org/oauth2/token")
///     .client_auth(ClientAuth::none("client-id"))
///     .refresh_token(Secret::file("/var/lib/my-app/refresh-token"))
///     .on_rotation(|new| async move {
///         tokio::fs::write("/var/lib/my-app/refresh-token.new", new.expose()).await?;
///         tokio::fs::rename("/var/lib/my-app/refresh-token.new", "/var/lib/my-app/refresh-token").await?;
///         Ok(())
///     })
///     .build()?;
/// # }
/// # Ok(()) }
/// ```
///
/// With `build()`, the type is `RefreshToken<HttpClient>`, for example in a field of a struct.
pub type RefreshToken<C> = Grant<RefreshTokenFlow, C>;

/// Settings of a [`RefreshToken`]; each method states its default.
pub type RefreshTokenBuilder = GrantBuilder<RefreshTokenFlow>;

/// The flow of [`RefreshToken`]. It sends a refresh token and saves the ones that replace it.
#[derive(Clone, Default)]
pub struct RefreshTokenFlow {
    initial: Option<Secret>,
    on_rotation: Option<OnRotation>,
}

type OnRotation = Arc<dyn Fn(SecretString) -> SaveFuture + Send + Sync>;
type SaveFuture = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

impl RefreshTokenFlow {
    fn initial(&self) -> Result<&Secret, Error> {
        self.initial.as_ref().ok_or_else(|| Error::config("no refresh token is set: call `refresh_token`"))
    }
}

impl FlowBehavior for RefreshTokenFlow {
    const GRANT_TYPE: &'static str = "refresh_token";
    const PRESENTS: Presented = Presented::RefreshToken;
    const REFRESH: RefreshPolicy = RefreshPolicy::Only;

    fn check(&self) -> Result<(), Error> {
        self.initial().map(drop)
    }

    async fn append_to(&self, form: &mut Form, _context: &RequestContext<'_>) -> Result<(), Error> {
        form.append("refresh_token", self.initial()?.read().await?.expose());
        Ok(())
    }

    /// Nothing tells which user gave the consent: the refresh token changes, and differs between processes that saved it.
    async fn identify(&self, identity: SourceIdentity) -> Result<SourceIdentity, Error> {
        Ok(identity.unnamed().only_refresh_token(self.initial()?.read().await?))
    }

    fn version(&self) -> u64 {
        self.initial.as_ref().map_or(0, Secret::version)
    }

    async fn initial_refresh_token(&self) -> Result<Option<SecretString>, Error> {
        self.initial()?.read().await.map(Some)
    }

    async fn save(&self, refresh_token: &SecretString) -> bool {
        let Some(save) = &self.on_rotation else { return true };
        // This is user code. A failure or a panic in it must not lose the tokens.
        let saving = AssertUnwindSafe(async { timeout(SAVE_DEADLINE, save(refresh_token.clone())).await });
        let saved = matches!(saving.catch_unwind().await, Ok(Some(Ok(()))));
        if !saved {
            // The error is not logged: user code made it, and it may contain the token.
            tracing::warn!("the new refresh token could not be saved; saving is retried at the next token request");
        }
        saved
    }
}

impl GrantBuilder<RefreshTokenFlow> {
    /// Sets the first refresh token. Required.
    pub fn refresh_token(mut self, refresh_token: impl Into<Secret>) -> Self {
        self.flow.initial = Some(refresh_token.into());
        self
    }

    /// Sets a function that saves a new refresh token when it replaces the earlier one. Default: none, so the new one
    /// is kept in memory only.
    ///
    /// It is called before the access token that came with the new refresh token is used. The access token waits for
    /// the function for 100 ms at most, which is enough for a local file. After that, saving continues in a task of its
    /// own, for up to 10 s. If it fails, the function is called again at the next token request. It never runs twice at
    /// the same time, and it gets the newest refresh token.
    ///
    /// In a [`Stored`](crate::store::Stored) source, the store has the new refresh token before the function is called, and nothing waits
    /// for it.
    ///
    /// If a program ends before the refresh token is saved, the refresh token is lost. Let such a program save without
    /// `await`, or wait for its own save before it ends.
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
        f.debug_struct("RefreshTokenFlow").field("initial", &self.initial).finish_non_exhaustive()
    }
}
