//! What an authorization server says of itself (RFC 8414).

use std::{fmt, sync::Arc};

use serde::Deserialize;

use crate::{
    error::Error,
    grant::{discovery, http_service::HttpService, url::Url},
};

/// RFC 8414 §2: what a list that is left out means.
const DEFAULT_METHOD: &str = "client_secret_basic";

/// The names that may be shown: what else a server writes is not.
const KNOWN_METHODS: [&str; 7] = [
    "none",
    "client_secret_basic",
    "client_secret_post",
    "client_secret_jwt",
    "private_key_jwt",
    "tls_client_auth",
    "self_signed_tls_client_auth",
];

/// An authorization server's metadata: its endpoints, and what it supports. Cheap to clone.
///
/// Grants look for it by themselves ([`AuthorizationServer::issuer`](crate::grant::AuthorizationServer::issuer)); this is
/// for those who want to see it first, or to share it.
///
/// ```
/// use tower_bearer::{PasswordGrant, grant::{ClientAuth, Metadata}};
///
/// # #[cfg(feature = "client")]
/// # async fn example() -> Result<(), tower_bearer::Error> {
/// let server = Metadata::discover("https://auth.example.org").await?;
/// println!("{}", server.token_endpoint());
/// let grant = PasswordGrant::builder(&server)
///     .client_auth(ClientAuth::secret("client-id", "client-secret"))
///     .credentials("username", "password")
///     .build()?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Metadata(Arc<Inner>);

struct Inner {
    token: Url,
    revocation: Option<Url>,
    said: Said,
    /// What an absent list of authentication methods means.
    unsaid_method: Option<&'static str>,
}

/// The members that matter; others are ignored.
#[derive(Default, Deserialize)]
pub(crate) struct Said {
    pub(crate) issuer: Option<String>,
    token_endpoint: Option<String>,
    revocation_endpoint: Option<String>,
    jwks_uri: Option<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    grant_types_supported: Vec<String>,
    #[serde(default)]
    scopes_supported: Vec<String>,
}

impl Metadata {
    /// Asks for the metadata of this issuer, with the ready-made HTTPS client: as RFC 8414 §3 says, or else as OpenID Connect
    /// Discovery does.
    ///
    /// # Errors
    /// When the issuer is no URL for secrets, when it cannot be asked, or when what came is not its metadata: the `issuer` in
    /// it must be the one asked for, to the letter (§3.3).
    #[cfg(feature = "client")]
    pub async fn discover(issuer: impl Into<String>) -> Result<Self, Error> {
        Self::discover_with(crate::grant::HttpClient::builder().build()?, issuer).await
    }

    /// The same, with an HTTP client of one's own. It must not follow redirects.
    ///
    /// # Errors
    /// As [`discover`](Self::discover).
    pub async fn discover_with(http: impl HttpService, issuer: impl Into<String>) -> Result<Self, Error> {
        discovery::issuer(&discovery::Asking::new(http), &issuer.into()).await
    }

    /// Asks a FHIR server for its authorization server (SMART App Launch 2.2, "Retrieving `.well-known/smart-configuration`"),
    /// with the ready-made HTTPS client.
    ///
    /// # Errors
    /// When the base URL is no URL for secrets, when it cannot be asked, or when what came is no metadata.
    #[cfg(feature = "client")]
    pub async fn discover_smart(fhir_base: impl Into<String>) -> Result<Self, Error> {
        Self::discover_smart_with(crate::grant::HttpClient::builder().build()?, fhir_base).await
    }

    /// The same, with an HTTP client of one's own. It must not follow redirects.
    ///
    /// # Errors
    /// As [`discover_smart`](Self::discover_smart).
    pub async fn discover_smart_with(http: impl HttpService, fhir_base: impl Into<String>) -> Result<Self, Error> {
        discovery::smart(&discovery::Asking::new(http), &fhir_base.into()).await
    }

    /// A server of which only the token URL is known.
    pub(crate) fn of_token_url(token: Url) -> Self {
        Self(Arc::new(Inner { token, revocation: None, said: Said::default(), unsaid_method: None }))
    }

    /// What was said at `place`.
    ///
    /// # Errors
    /// When there is no token endpoint, or an endpoint that secrets may not be sent to.
    pub(crate) fn new(mut said: Said, place: &Url, plain_http: bool, is_smart: bool) -> Result<Self, Error> {
        let wrong = |name: &str, why: &str| Error::not_a_token(format!("its {name} {why}"));
        let url = |name: &str, url: &str| match Url::new(url, plain_http) {
            // A server elsewhere must not send us to the services of this machine.
            Ok(url) if place.is_https() && !url.is_https() && !plain_http => Err(wrong(name, "is plain http")),
            url => url.map_err(|why| wrong(name, why)),
        };
        let token = said.token_endpoint.take().ok_or_else(|| wrong("token_endpoint", "is missing"))?;
        let token = url("token_endpoint", &token)?;
        let revocation = said.revocation_endpoint.take();
        let revocation = revocation.map(|it| url("revocation_endpoint", &it)).transpose()?;
        if let Some(keys) = &said.jwks_uri {
            url("jwks_uri", keys)?;
        }
        // SMART has no default for it.
        let unsaid_method = (!is_smart).then_some(DEFAULT_METHOD);
        Ok(Self(Arc::new(Inner { token, revocation, said, unsaid_method })))
    }

    /// The issuer's identifier, if it is told.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.0.said.issuer.as_deref()
    }

    /// Where tokens are asked for.
    #[must_use]
    pub fn token_endpoint(&self) -> &str {
        &self.0.token.text
    }

    /// Where tokens are revoked (RFC 7009), if they can be.
    #[must_use]
    pub fn revocation_endpoint(&self) -> Option<&str> {
        self.0.revocation.as_ref().map(|url| url.text.as_str())
    }

    /// Where the keys are that verify the server's JWTs.
    #[must_use]
    pub fn jwks_uri(&self) -> Option<&str> {
        self.0.said.jwks_uri.as_deref()
    }

    /// How clients may authenticate. Empty when nothing is known; a list that RFC 8414 §2 lets be left out is
    /// `client_secret_basic`.
    pub fn client_auth_methods(&self) -> impl Iterator<Item = &str> {
        let said = self.0.said.token_endpoint_auth_methods_supported.as_ref();
        let unsaid = self.0.unsaid_method.filter(|_| said.is_none());
        said.into_iter().flatten().map(String::as_str).chain(unsaid)
    }

    /// The grants on offer, as far as it tells: many servers leave some out.
    #[must_use]
    pub fn grant_types(&self) -> &[String] {
        &self.0.said.grant_types_supported
    }

    /// The scopes on offer, as far as it tells.
    #[must_use]
    pub fn scopes(&self) -> &[String] {
        &self.0.said.scopes_supported
    }

    pub(crate) fn token(&self) -> &Url {
        &self.0.token
    }

    pub(crate) fn revocation(&self) -> Option<&Url> {
        self.0.revocation.as_ref()
    }

    /// Whether clients may authenticate so, as far as is known.
    pub(crate) fn takes(&self, method: &str) -> bool {
        let mut methods = self.client_auth_methods().peekable();
        methods.peek().is_none() || methods.any(|offered| offered == method)
    }

    pub(crate) fn known_methods(&self) -> String {
        let known: Vec<_> = self.client_auth_methods().filter(|method| KNOWN_METHODS.contains(method)).collect();
        if known.is_empty() { "none that is known here".to_owned() } else { known.join(", ") }
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metadata")
            .field("token_endpoint", &self.0.token)
            .field("revocation_endpoint", &self.0.revocation)
            .finish_non_exhaustive()
    }
}
