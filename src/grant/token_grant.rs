//! A grant as a source of tokens: refresh token first, then what the grant itself has.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;

use crate::{
    error::Error,
    grant::{
        builder::GrantBuilder, endpoint::Endpoint, flow::Flow, form::Form, granted::Granted, http_service::HttpService,
        params::Params,
    },
    source::{Reason, TokenSource},
    token::AccessToken,
};

/// A grant at a token endpoint, over the HTTP client `C`. Each has a name: [`PasswordGrant`](crate::grant::PasswordGrant).
pub struct Grant<F, C> {
    endpoint: Endpoint<C>,
    flow: F,
    params: Params,
    /// Locked for a whole exchange: two uses of one refresh token at once look like theft to a server that rotates them.
    kept: Mutex<Kept>,
}

/// A refresh token, and which credentials it goes back to.
#[derive(Default)]
struct Kept {
    refresh_token: Option<SecretString>,
    version: u64,
}

impl<F: Flow> Grant<F, ()> {
    /// A grant at this token URL.
    pub fn builder(token_url: impl Into<String>) -> GrantBuilder<F> {
        GrantBuilder::new(token_url.into())
    }
}

impl<F: Flow, C: HttpService> Grant<F, C> {
    pub(crate) fn new(endpoint: Endpoint<C>, flow: F, params: Params) -> Self {
        Self { endpoint, flow, params, kept: Mutex::default() }
    }

    async fn by_grant(&self) -> Result<Granted, Error> {
        let mut form = self.form(F::GRANT_TYPE, |_| true);
        self.flow.fill(&mut form).await?;
        self.endpoint.token(form).await
    }

    async fn by_refresh_token(&self, refresh_token: &SecretString) -> Result<Granted, Error> {
        // Without a scope it means the one that was granted, which may be less than was asked for (RFC 6749 §6).
        let mut form = self.form("refresh_token", |name| name != "scope");
        form.append("refresh_token", refresh_token.expose_secret());
        self.endpoint.token(form).await
    }

    fn form(&self, grant_type: &str, wanted: impl Fn(&str) -> bool) -> Form {
        let mut form = Form::new();
        form.append("grant_type", grant_type);
        self.params.fill(&mut form, wanted);
        form
    }
}

impl<F: Flow, C: HttpService> TokenSource for Grant<F, C> {
    async fn obtain(&self, _why: Reason) -> Result<AccessToken, Error> {
        let mut kept = self.kept.lock().await;
        let version = self.flow.version();
        if kept.version != version {
            *kept = Kept { refresh_token: None, version };
        }
        let refreshed = match &kept.refresh_token {
            Some(refresh_token) => match self.by_refresh_token(refresh_token).await {
                Ok(granted) => Some(granted),
                // The grant itself would meet the same trouble, and the refresh token may still be good.
                Err(error) if error.is_transient() || error.oauth_code() == Some("invalid_client") => {
                    return Err(error);
                }
                Err(error) => {
                    tracing::debug!(%error, "refresh token refused, using the grant itself");
                    kept.refresh_token = None;
                    None
                }
            },
            None => None,
        };
        let granted = match refreshed {
            Some(granted) => granted,
            None => self.by_grant().await?,
        };
        if granted.refresh_token.is_some() {
            kept.refresh_token = granted.refresh_token;
        }
        Ok(granted.token)
    }

    fn credentials_version(&self) -> u64 {
        self.flow.version()
    }
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
