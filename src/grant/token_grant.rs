//! A grant as a token source. It uses its refresh token first, and then the grant itself.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use crate::{
    asking::{self, Asks},
    error::{Error, Presented},
    events,
    grant::{
        exchange::{
            endpoint::Endpoint, form::Form, http_service::HttpService, params::Params, request_context::RequestContext,
            token_response::Granted,
        },
        flow::behavior::{Flow, RefreshPolicy},
        refresh_state::{SharedRefreshToken, TakenRefreshToken},
        server::metadata::Metadata,
        turn::Turn,
    },
    runtime,
    secret_string::SecretString,
    source::{BoxTokenSource, Narrowing, Reason, SourceIdentity, TokenSource},
    token::AccessToken,
};

/// How often credentials that change meanwhile are read for one request.
const MAX_READINGS: u32 = 8;

/// The type of a token that is not an access token (RFC 8693 §2.2.1).
#[cfg(feature = "on-behalf-of")]
const NOT_APPLICABLE: &str = "N_A";

/// A grant at an authorization server, with the HTTP client `C`. Each kind has a name, such as
/// [`ClientCredentials`](crate::grant::ClientCredentials).
pub struct Grant<F, C> {
    endpoint: Endpoint<C>,
    flow: F,
    params: Params,
    refresh: Arc<SharedRefreshToken>,
}

impl<F: Flow, C: HttpService> Grant<F, C> {
    #[cfg(feature = "on-behalf-of")]
    pub(crate) fn has_param(&self, name: &str) -> bool {
        self.params.has(name)
    }

    pub(crate) fn new(endpoint: Endpoint<C>, flow: F, params: Params) -> Self {
        Self { endpoint, flow, params, refresh: Arc::default() }
    }

    /// Returns the same grant with another flow and narrowed, for one use.
    #[cfg(feature = "on-behalf-of")]
    pub(crate) fn once(&self, flow: F, to: Option<&Narrowing>) -> Self {
        let mut params = self.params.clone();
        if let Some(to) = to {
            params.narrow(to);
        }
        Self::new(self.endpoint.clone(), flow, params)
    }

    #[cfg(feature = "on-behalf-of")]
    pub(crate) fn flow(&self) -> &F {
        &self.flow
    }

    /// Gets a token that is the assertion of another grant: it is not sent to an API, so it need not be a Bearer token
    /// (`N_A`, RFC 8693 §2.2.1).
    #[cfg(feature = "on-behalf-of")]
    pub(crate) async fn obtain_assertion(mut self) -> Result<Granted, Error> {
        self.endpoint.token_types =
            self.endpoint.token_types.iter().cloned().chain([NOT_APPLICABLE.to_owned()]).collect();
        let server = self.metadata().await?;
        self.send(Sends::Grant, &mut self.refresh.take(), &self.endpoint.context(&server)).await
    }

    /// Returns the metadata of the server, if its pool lets it be asked now.
    async fn metadata(&self) -> Result<Metadata, Error> {
        let asks = if self.endpoint.server.is_unknown() { Asks::Question } else { Asks::Nothing };
        asking::permission(|| self.endpoint.numbers(), asks).await?;
        let found = self.endpoint.metadata().await;
        if asks == Asks::Question {
            asking::ended(|| self.endpoint.numbers(), found.as_ref().err());
        }
        found
    }

    async fn exchange(&self, turn: &Turn<'_>) -> Result<AccessToken, Error> {
        self.refresh.reload_changed_credentials(&self.flow).await?;
        self.refresh.retry_saving(&self.flow);
        self.request_token(turn, &mut self.refresh.take()).await
    }

    async fn request_token(&self, turn: &Turn<'_>, taken: &mut TakenRefreshToken) -> Result<AccessToken, Error> {
        let server = self.metadata().await?;
        let context = self.endpoint.context(&server);
        if taken.token.is_some() {
            // This exchange may have stopped since it took the refresh token out, and then another one has used that
            // token.
            if !turn.is_held() {
                return Err(Error::transient(
                    "this token request stopped, and a later one replaced it: keep the Tokio runtime running",
                ));
            }
            match self.send(Sends::RefreshToken, taken, &context).await {
                Ok(granted) => return Ok(granted.token),
                Err(error) if F::REFRESH == RefreshPolicy::Only => {
                    self.refresh.set_refused(taken, error.oauth_code() == Some("invalid_grant"));
                    return Err(error);
                }
                Err(error) if !invalidates_refresh_token(&error) => return Err(error),
                Err(error) => {
                    self.refresh.forget(taken);
                    events::refresh_token_refused(&error);
                }
            }
        }
        if F::REFRESH == RefreshPolicy::Only {
            return Err(Error::terminal(
                "its refresh token was revoked: ask the user to sign in again, and save the new refresh token in its place",
            ));
        }
        let granted = self.send(Sends::Grant, taken, &context).await?;
        if F::REQUIRES_TOKEN_TYPE && granted.issued_token_type.is_none() {
            return Err(Error::unusable_response("it has no issued_token_type (RFC 8693 §2.2.1)"));
        }
        Ok(granted.token)
    }

    /// Makes a token request, with a refresh token or with the grant itself. The refresh token in the answer is kept and
    /// saved first, even if the access token beside it is not usable: it may have replaced the one that was sent.
    ///
    /// Its error says which credentials were sent. They may change while they are read, so they are then read again. Otherwise
    /// a refused password would count for the credentials before it, and would be sent again.
    async fn send(
        &self,
        sends: Sends,
        taken: &mut TakenRefreshToken,
        context: &RequestContext<'_>,
    ) -> Result<Granted, Error> {
        let refresh_token = taken.token.clone().filter(|_| sends == Sends::RefreshToken);
        let presented = if refresh_token.is_some() { Presented::RefreshToken } else { F::PRESENTS };
        let of_refresh_token = taken.version;
        let version = || {
            let of_flow = if refresh_token.is_some() { of_refresh_token } else { self.flow.version() };
            (self.version(of_flow), self.endpoint.numbers())
        };
        let (mut sent, mut readings) = (version(), 1);
        loop {
            let form = match &refresh_token {
                Some(refresh_token) => self.refresh_form(refresh_token),
                None => self.grant_form(context).await?,
            };
            let request = self.endpoint.token_request(form, context).await?;
            let before = std::mem::replace(&mut sent, version());
            if before == sent || readings == MAX_READINGS {
                let (sent, numbers) = sent;
                asking::permission(|| numbers, Asks::TokenRequest).await?;
                let answer = self.endpoint.send_token_request(request).await;
                let granted = answer.granted;
                let granted = granted.map_err(|error| error.with_credentials_version(sent).presenting(presented));
                asking::ended(|| numbers, granted.as_ref().err());
                if let Some(new) = answer.refresh_token.filter(|_| F::REFRESH != RefreshPolicy::Never) {
                    self.refresh.replace(taken, new, &self.flow).await;
                }
                return granted;
            }
            readings += 1;
        }
    }

    async fn grant_form(&self, context: &RequestContext<'_>) -> Result<Form, Error> {
        let mut form = self.form(F::GRANT_TYPE, |_| true);
        self.flow.append_to(&mut form, context).await?;
        Ok(form)
    }

    fn refresh_form(&self, refresh_token: &SecretString) -> Form {
        // Without a scope, the request means the scope that was granted. That may be less than the scope that was asked for
        // (RFC 6749 §6).
        let mut form = self.form("refresh_token", |name| name != "scope" || F::REFRESH == RefreshPolicy::Only);
        form.append("refresh_token", refresh_token.expose());
        form
    }

    /// Returns the version of all credentials, with this version of the user's own.
    fn version(&self, of_flow: u64) -> u64 {
        let mut hash = DefaultHasher::new();
        (of_flow, self.endpoint.auth.version()).hash(&mut hash);
        hash.finish()
    }

    fn form(&self, grant_type: &str, is_wanted: impl Fn(&str) -> bool) -> Form {
        let mut form = Form::new();
        form.append("grant_type", grant_type);
        self.params.append_to(&mut form, is_wanted);
        form
    }

    async fn revoke_access_token(&self, token: &AccessToken) -> Result<(), Error> {
        let server = self.endpoint.metadata().await?;
        self.endpoint.revoke(token.secret(), "access_token", &self.endpoint.context(&server)).await
    }

    /// Revokes the refresh token, if there is one that was not revoked yet.
    ///
    /// Narrowed sources share a refresh token and are revoked at the same time. One of them sends it, and the others
    /// do not send it again, even if that failed.
    ///
    /// `failed` is how many of these attempts had failed when the revocation began.
    async fn revoke_refresh_token(&self, failed: u64) -> Result<(), Error> {
        let turn = self.refresh.turn().await;
        if let Some(error) = self.refresh.revocation_failed_since(failed) {
            return Err(error);
        }
        let revoked = turn.drive(self.revoke_refresh_tokens()).await;
        revoked.inspect_err(|error| self.refresh.set_revocation_failed(error))
    }

    async fn revoke_refresh_tokens(&self) -> Result<(), Error> {
        self.revoke_current_refresh_token().await?;
        if F::REFRESH != RefreshPolicy::Only {
            return Ok(());
        }
        // The one that the user saved is not used yet, or is another one than before.
        match self.refresh.reload_changed_credentials(&self.flow).await {
            Ok(()) => self.revoke_current_refresh_token().await,
            Err(error) if self.refresh.is_unread() => Err(error),
            // What was used is revoked, and its place is empty.
            Err(_) => Ok(()),
        }
    }

    async fn revoke_current_refresh_token(&self) -> Result<(), Error> {
        let taken = self.refresh.take();
        let Some(refresh_token) = &taken.token else { return Ok(()) };
        let server = self.endpoint.metadata().await?;
        self.endpoint.revoke(refresh_token.expose(), "refresh_token", &self.endpoint.context(&server)).await?;
        self.refresh.set_revoked(&taken);
        Ok(())
    }
}

impl<F: Flow, C: HttpService> TokenSource for Grant<F, C> {
    async fn obtain(&self, _why: Reason) -> Result<AccessToken, Error> {
        asking::announces();
        // A cache asks this too, but a grant can also be used without one.
        runtime::current()?;
        let turn = self.refresh.turn().await;
        turn.drive(self.exchange(&turn)).await
    }

    fn credentials_version(&self) -> u64 {
        self.version(self.flow.version())
    }

    fn client(&self) -> Option<u64> {
        Some(self.endpoint.client())
    }

    fn issuer(&self) -> Option<u64> {
        Some(self.endpoint.issuer())
    }

    fn narrowed(&self, to: &Narrowing) -> Option<BoxTokenSource> {
        let mut params = self.params.clone();
        params.narrow(to);
        // All narrowed uses of one refresh token share it: they take turns, and each sees the rotations of the others.
        let is_shared = F::REFRESH == RefreshPolicy::Only;
        let refresh = if is_shared { Arc::clone(&self.refresh) } else { Arc::default() };
        let narrowed = Self { endpoint: self.endpoint.clone(), flow: self.flow.clone(), params, refresh };
        Some(narrowed.boxed())
    }

    /// Revokes the access token, and the refresh token that could get the next one (RFC 7009 §2.1).
    async fn revoke(&self, token: &AccessToken) -> Result<(), Error> {
        runtime::current()?;
        let failed = self.refresh.failed_revocations();
        // Both are tried: a server that does not revoke one of them may revoke the other.
        let access = self.revoke_access_token(token).await;
        self.revoke_refresh_token(failed).await?;
        access
    }

    async fn revoke_unused(&self) -> Result<(), Error> {
        runtime::current()?;
        self.revoke_refresh_token(self.refresh.failed_revocations()).await
    }

    async fn identity(&self) -> Result<Option<SourceIdentity>, Error> {
        let identity = SourceIdentity::new().with("grant", F::GRANT_TYPE);
        let identity = self.endpoint.identify(identity).await?;
        // All narrowed uses of one refresh token share it, also between processes.
        let shares = F::REFRESH == RefreshPolicy::Only;
        let identity = self.params.identify(identity, |name| shares && matches!(name, "scope" | "resource"));
        self.flow.identify(identity).await.map(Some)
    }

    fn refresh_token(&self) -> Option<SecretString> {
        self.refresh.take().token.filter(|_| F::REFRESH != RefreshPolicy::Never)
    }

    async fn continue_with(&self, refresh_token: Option<SecretString>) {
        if F::REFRESH != RefreshPolicy::Never {
            // The user's own one is older. If it cannot be read, it is read later, and would take the place of this one.
            let is_known = self.refresh.reload_changed_credentials(&self.flow).await.is_ok();
            if is_known || refresh_token.is_none() {
                self.refresh.continue_with(refresh_token);
            }
        }
    }
}

/// What a token request sends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sends {
    RefreshToken,
    Grant,
}

/// Returns whether the refresh token can no longer be used. After other failures it may still be valid, and the grant itself
/// would fail in the same way.
fn invalidates_refresh_token(error: &Error) -> bool {
    match error.oauth_code() {
        Some("invalid_client") => false,
        Some("invalid_grant") => !error.is_transient(),
        Some(_) => error.is_terminal(),
        // A 4xx without a code.
        None => error.status().is_some() && !error.is_transient(),
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
