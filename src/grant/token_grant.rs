//! A grant as a source of tokens: refresh token first, then what the grant itself has.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;

use crate::{
    error::Error,
    grant::{
        builder::GrantBuilder,
        endpoint::Endpoint,
        flow::{Flow, Refresh},
        form::{At, Form},
        granted::Granted,
        http_service::HttpService,
        params::Params,
        server::AuthorizationServer,
    },
    source::{BoxTokenSource, Narrowing, Reason, TokenSource},
    token::AccessToken,
};

/// A grant at an authorization server, over the HTTP client `C`. Each has a name, such as
/// [`PasswordGrant`](crate::grant::PasswordGrant).
pub struct Grant<F, C> {
    endpoint: Endpoint<C>,
    flow: F,
    params: Params,
    /// Locked for a whole exchange: two uses of one refresh token at once look like theft to a server that rotates them.
    kept: Arc<Mutex<Kept>>,
}

/// A refresh token, and which credentials it goes back to.
#[derive(Default)]
struct Kept {
    refresh_token: Option<SecretString>,
    is_saved: bool,
    is_refused: bool,
    /// The one of the user's own that it began with.
    first: Option<SecretString>,
    version: u64,
}

impl<F: Flow> Grant<F, ()> {
    /// A grant at this server: its token URL, or an [`AuthorizationServer`] that is found by its metadata.
    pub fn builder(server: impl Into<AuthorizationServer>) -> GrantBuilder<F> {
        GrantBuilder::new(server.into())
    }
}

impl<F: Flow, C: HttpService> Grant<F, C> {
    pub(crate) fn new(endpoint: Endpoint<C>, flow: F, params: Params) -> Self {
        Self { endpoint, flow, params, kept: Arc::default() }
    }

    async fn exchange(&self, kept: &mut Kept) -> Result<Granted, Error> {
        let server = self.endpoint.metadata().await?;
        let at = self.endpoint.at(&server);
        if let Some(refresh_token) = &kept.refresh_token {
            match self.by_refresh_token(refresh_token, &at).await {
                Ok(granted) => return Ok(granted),
                Err(error) if F::REFRESH == Refresh::Only => {
                    kept.is_refused = error.oauth_code() == Some("invalid_grant");
                    return Err(error);
                }
                Err(error) if !is_dead(&error) => return Err(error),
                Err(error) => {
                    kept.refresh_token = None;
                    tracing::debug!(%error, "refresh token refused, using the grant itself");
                }
            }
        }
        let mut form = self.form(F::GRANT_TYPE, |_| true);
        self.flow.fill(&mut form, &at).await?;
        let granted = self.endpoint.token(form, &at).await?;
        if F::NAMES_ITS_TYPE && granted.issued_token_type.is_none() {
            return Err(Error::not_a_token("it has no issued_token_type (RFC 8693 §2.2.1)"));
        }
        Ok(granted)
    }

    async fn by_refresh_token(&self, refresh_token: &SecretString, at: &At<'_>) -> Result<Granted, Error> {
        // Without a scope it means the one that was granted, which may be less than was asked for (RFC 6749 §6).
        let mut form = self.form("refresh_token", |name| name != "scope" || F::REFRESH == Refresh::Only);
        form.append("refresh_token", refresh_token.expose_secret());
        self.endpoint.token(form, at).await
    }

    fn form(&self, grant_type: &str, wanted: impl Fn(&str) -> bool) -> Form {
        let mut form = Form::new();
        form.append("grant_type", grant_type);
        self.params.fill(&mut form, wanted);
        form
    }

    /// Other credentials have a refresh token of their own.
    async fn notice_change(&self, kept: &mut Kept) -> Result<(), Error> {
        let version = self.flow.version();
        let is_new = F::REFRESH == Refresh::Only && kept.first.is_none();
        if is_new || kept.is_refused || kept.version != version {
            let first = self.flow.first_refresh_token().await?;
            // The same one, read once more, is used up: its second use would look like theft.
            if first.is_none() || !is_same(kept.first.as_ref(), first.as_ref()) {
                *kept = Kept { refresh_token: first.clone(), is_saved: true, first, ..Kept::default() };
            }
            (kept.is_refused, kept.version) = (false, version);
        }
        Ok(())
    }

    /// Saves a refresh token that is nowhere but here.
    async fn save(&self, kept: &mut Kept) {
        if let Some(refresh_token) = kept.refresh_token.as_ref().filter(|_| !kept.is_saved) {
            kept.is_saved = self.flow.save(refresh_token).await;
        }
    }

    async fn revoke_both(&self, token: &AccessToken) -> Result<(), Error> {
        let mut kept = self.kept.lock().await;
        let server = self.endpoint.metadata().await?;
        // Both are tried: a server that does not revoke the one may revoke the other.
        let access = self.endpoint.revoke(token.secret(), "access_token", &self.endpoint.at(&server)).await;
        let refresh_token = match &kept.refresh_token {
            Some(refresh_token) => Some(refresh_token.clone()),
            None => self.flow.first_refresh_token().await?,
        };
        if let Some(refresh_token) = refresh_token {
            let at = self.endpoint.at(&server);
            self.endpoint.revoke(refresh_token.expose_secret(), "refresh_token", &at).await?;
            kept.refresh_token = None;
        }
        access
    }
}

impl<F: Flow, C: HttpService> TokenSource for Grant<F, C> {
    async fn obtain(&self, _why: Reason) -> Result<AccessToken, Error> {
        let mut kept = self.kept.lock().await;
        self.notice_change(&mut kept).await?;
        self.save(&mut kept).await;
        let granted = self.exchange(&mut kept).await?;
        if let Some(new) = granted.refresh_token.filter(|_| F::REFRESH != Refresh::Never) {
            kept.is_saved = is_same(kept.refresh_token.as_ref(), Some(&new)) && kept.is_saved;
            // Here first: the renewal's deadline may end the saving.
            kept.refresh_token = Some(new);
            self.save(&mut kept).await;
        }
        Ok(granted.token)
    }

    fn credentials_version(&self) -> u64 {
        let mut hash = DefaultHasher::new();
        (self.flow.version(), self.endpoint.auth.version()).hash(&mut hash);
        hash.finish()
    }

    fn narrowed(&self, to: &Narrowing) -> Option<BoxTokenSource> {
        let mut params = self.params.clone();
        params.narrow(to);
        // One refresh token is one, whatever it is used for: narrowed uses of it take turns, and its rotations are theirs.
        let kept = if F::REFRESH == Refresh::Only { Arc::clone(&self.kept) } else { Arc::default() };
        let narrowed = Self { endpoint: self.endpoint.clone(), flow: self.flow.clone(), params, kept };
        Some(narrowed.boxed())
    }

    /// RFC 7009 §2.1: the access token, and the refresh token that would bring the next one.
    async fn revoke(&self, token: &AccessToken) -> Result<(), Error> {
        self.revoke_both(token).await
    }
}

fn is_same(one: Option<&SecretString>, other: Option<&SecretString>) -> bool {
    one.map(ExposeSecret::expose_secret) == other.map(ExposeSecret::expose_secret)
}

/// Whether the refresh token is of no more use. After other failures it may still be good, and the grant itself would meet
/// the same trouble.
fn is_dead(error: &Error) -> bool {
    !error.is_transient() && error.oauth_code() != Some("invalid_client")
}

impl<F: fmt::Debug, C> fmt::Debug for Grant<F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant")
            .field("flow", &self.flow)
            .field("endpoint", &self.endpoint)
            .field("params", &self.params)
            .finish_non_exhaustive()
    }
}
