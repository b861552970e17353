//! The resource owner password credentials grant (RFC 6749 §4.3), with refresh (§6).

use std::{fmt, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;

use crate::{
    error::Error,
    grant::{
        client_auth::ClientAuth,
        credentials::{BoxProvider, Credentials, CredentialsProvider},
        endpoint::{Endpoint, Form, Granted, HttpService},
    },
    source::{Reason, TokenSource},
    token::AccessToken,
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
pub struct PasswordGrant<C> {
    endpoint: Endpoint<C>,
    credentials: BoxProvider,
    params: Vec<(String, String)>,
    /// Locked for a whole exchange: two uses of one refresh token at once look like theft to a server that rotates them.
    kept: Mutex<Kept>,
}

/// A refresh token, and which credentials it goes back to.
#[derive(Default)]
struct Kept {
    refresh_token: Option<SecretString>,
    credentials_version: u64,
}

impl PasswordGrant<()> {
    /// A grant at this token URL.
    pub fn builder(token_url: impl Into<String>) -> PasswordGrantBuilder {
        PasswordGrantBuilder {
            token_url: token_url.into(),
            auth: None,
            credentials: None,
            params: Vec::new(),
            plain_http: false,
            show_description: false,
            deadline: Duration::from_secs(10),
        }
    }
}

impl<C: HttpService> PasswordGrant<C> {
    async fn with_password(&self) -> Result<Granted, Error> {
        let Credentials { username, password } = self.credentials.credentials().await.map_err(Error::transient)?;
        let mut form = self.form("password", |_| true);
        form.append("username", &username);
        form.append("password", password.expose_secret());
        self.endpoint.request(form).await
    }

    async fn with_refresh_token(&self, refresh_token: &SecretString) -> Result<Granted, Error> {
        // Without a scope it means the one that was granted, which may be less than was asked for (RFC 6749 §6).
        let mut form = self.form("refresh_token", |name| name != "scope");
        form.append("refresh_token", refresh_token.expose_secret());
        self.endpoint.request(form).await
    }

    fn form(&self, grant_type: &str, wanted: impl Fn(&str) -> bool) -> Form {
        let mut form = Form::new(grant_type);
        self.params.iter().filter(|(name, _)| wanted(name)).for_each(|(name, value)| form.append(name, value));
        form
    }
}

impl<C: HttpService> TokenSource for PasswordGrant<C> {
    async fn obtain(&self, _why: Reason) -> Result<AccessToken, Error> {
        let mut kept = self.kept.lock().await;
        let version = self.credentials.version();
        if kept.credentials_version != version {
            *kept = Kept { refresh_token: None, credentials_version: version };
        }
        let refreshed = match &kept.refresh_token {
            Some(refresh_token) => match self.with_refresh_token(refresh_token).await {
                Ok(granted) => Some(granted),
                // The password would meet the same trouble, and the refresh token may still be good.
                Err(error) if error.is_transient() || error.oauth_code() == Some("invalid_client") => {
                    return Err(error);
                }
                Err(error) => {
                    tracing::debug!(%error, "refresh token refused, using the password");
                    kept.refresh_token = None;
                    None
                }
            },
            None => None,
        };
        let granted = match refreshed {
            Some(granted) => granted,
            None => self.with_password().await?,
        };
        if granted.refresh_token.is_some() {
            kept.refresh_token = granted.refresh_token;
        }
        Ok(granted.token)
    }

    fn credentials_version(&self) -> u64 {
        self.credentials.version()
    }
}

/// Settings of a [`PasswordGrant`]; each method states its default.
#[must_use = "call `build`"]
pub struct PasswordGrantBuilder {
    token_url: String,
    auth: Option<ClientAuth>,
    credentials: Option<BoxProvider>,
    params: Vec<(String, String)>,
    plain_http: bool,
    show_description: bool,
    deadline: Duration,
}

impl PasswordGrantBuilder {
    /// How the client authenticates. Required; a client without a secret uses [`ClientAuth::none`].
    pub fn client_auth(mut self, auth: ClientAuth) -> Self {
        self.auth = Some(auth);
        self
    }

    /// The user's name and password. Required, or [`credentials_from`](Self::credentials_from).
    pub fn credentials(self, username: impl Into<String>, password: impl Into<SecretString>) -> Self {
        self.credentials_from(Credentials::new(username, password))
    }

    /// Where the user's name and password come from, asked only when a refresh token does not do: an async closure, or a
    /// [`CredentialsProvider`] of one's own. Required, or [`credentials`](Self::credentials).
    pub fn credentials_from(mut self, provider: impl CredentialsProvider) -> Self {
        self.credentials = Some(BoxProvider::new(provider));
        self
    }

    /// The scope to ask for, space-delimited (RFC 6749 §3.3). Default: none, the server chooses.
    pub fn scope(self, scope: impl Into<String>) -> Self {
        self.param("scope", scope)
    }

    /// The audience to ask for, as some servers want it. Default: none.
    pub fn audience(self, audience: impl Into<String>) -> Self {
        self.param("audience", audience)
    }

    /// A resource that the token is for (RFC 8707 §2): an absolute URI without a fragment. May be given several times.
    /// Default: none.
    pub fn resource(self, resource: impl Into<String>) -> Self {
        self.param("resource", resource)
    }

    /// Any other parameter that the server wants. Default: none.
    pub fn param(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.params.push((name.into(), value.into()));
        self
    }

    /// Lets the token URL be plain http on other hosts than loopback: the password goes in the clear. Default: off.
    pub fn allow_plain_http(mut self, allow: bool) -> Self {
        self.plain_http = allow;
        self
    }

    /// Shows the server's `error_description` in errors. Default: off, because servers repeat in it what they were sent.
    pub fn show_error_description(mut self, show: bool) -> Self {
        self.show_description = show;
        self
    }

    /// How long one token request may take, from connecting to the answer's last byte. Default: 10 s, as the cache's for a
    /// whole renewal.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Makes the grant, with the ready-made HTTPS client.
    ///
    /// # Errors
    /// When a setting is missing or wrong.
    #[cfg(feature = "client")]
    pub fn build(self) -> Result<PasswordGrant<crate::grant::HttpClient>, Error> {
        let http = crate::grant::HttpClient::builder().build()?;
        self.build_with(http)
    }

    /// Makes the grant, with an HTTP client of one's own.
    ///
    /// # Errors
    /// When a setting is missing or wrong.
    pub fn build_with<C: HttpService>(self, http: C) -> Result<PasswordGrant<C>, Error> {
        let auth = self.auth.ok_or_else(|| {
            Error::config(
                "no client authentication is set: call `client_auth`, with `ClientAuth::none` for a public client",
            )
        })?;
        let credentials = self
            .credentials
            .ok_or_else(|| Error::config("no credentials are set: call `credentials` or `credentials_from`"))?;
        check_params(&self.params)?;
        let endpoint =
            Endpoint::new(http, &self.token_url, auth, self.plain_http, self.show_description, self.deadline)?;
        Ok(PasswordGrant { endpoint, credentials, params: self.params, kept: Mutex::default() })
    }
}

impl<C> fmt::Debug for PasswordGrant<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordGrant")
            .field("endpoint", &self.endpoint)
            .field("params", &names(&self.params))
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for PasswordGrantBuilder {
    /// Without the URL, which may have a secret in it before it is checked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordGrantBuilder")
            .field("auth", &self.auth)
            .field("params", &names(&self.params))
            .finish_non_exhaustive()
    }
}

/// A parameter of one's own may be a secret (a one-time password), so that only the names are shown.
fn names(params: &[(String, String)]) -> Vec<&str> {
    params.iter().map(|(name, _)| name.as_str()).collect()
}

/// RFC 6749 §3.2: no parameter twice. RFC 8707 §2: but `resource`, which is an absolute URI without a fragment.
fn check_params(params: &[(String, String)]) -> Result<(), Error> {
    const OURS: [&str; 7] =
        ["grant_type", "username", "password", "refresh_token", "client_id", "client_secret", "client_assertion"];
    for (at, (name, value)) in params.iter().enumerate() {
        if OURS.contains(&name.as_str()) {
            return Err(Error::config(format!("the parameter `{name}` is the grant's own: use the method for it")));
        }
        if name != "resource" && params[..at].iter().any(|(earlier, _)| earlier == name) {
            return Err(Error::config(format!("the parameter `{name}` is given twice (RFC 6749 §3.2)")));
        }
        if name == "scope" && value.bytes().any(|b| !matches!(b, b' '..=b'~') || b == b'"' || b == b'\\') {
            return Err(Error::config("the scope has characters that RFC 6749 §3.3 does not allow"));
        }
        if name == "resource" && (value.contains('#') || !is_absolute(value)) {
            return Err(Error::config("a resource is an absolute URI without a fragment (RFC 8707 §2)"));
        }
    }
    Ok(())
}

fn is_absolute(uri: &str) -> bool {
    uri.split_once(':').is_some_and(|(scheme, rest)| {
        !rest.is_empty()
            && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
    })
}
