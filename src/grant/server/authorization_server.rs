//! Which authorization server a grant uses.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    error::Error,
    grant::{
        exchange::{http_exchange::HttpExchange, http_service::HttpService},
        server::{discovery, metadata::Metadata, protected_resource, url::Url},
    },
    source::SourceIdentity,
};

/// An authorization server: its token URL, or an issuer, a FHIR server or another API by which it is found.
///
/// Text converts into one with that token URL. Other servers are looked up at the first token request. The metadata that
/// is found is kept and shared by all clones. It is looked up again when the token endpoint appears to have moved.
///
/// ```
/// use tower_bearer::grant::{AuthorizationServer, ClientAuth, PasswordGrant};
///
/// let grant = PasswordGrant::builder("https://auth.example.org/oauth2/token");
/// let grant = PasswordGrant::builder(AuthorizationServer::issuer("https://auth.example.org"));
/// let grant = PasswordGrant::builder(AuthorizationServer::smart("https://fhir.example.org/r4"));
/// ```
#[derive(Clone)]
pub struct AuthorizationServer {
    locator: ServerLocator,
    found: Arc<Mutex<Option<Metadata>>>,
}

/// How the server is found.
#[derive(Clone)]
enum ServerLocator {
    TokenUrl(String),
    Issuer(String),
    Smart(String),
    ProtectedResource(String),
    Metadata(Metadata),
}

impl AuthorizationServer {
    /// Names the server by its issuer identifier. It is found by its metadata ([`Metadata::discover`]).
    pub fn issuer(issuer: impl Into<String>) -> Self {
        Self::new(ServerLocator::Issuer(issuer.into()))
    }

    /// Names the server that protects this FHIR server ([`Metadata::discover_smart`]).
    pub fn smart(fhir_base: impl Into<String>) -> Self {
        Self::new(ServerLocator::Smart(fhir_base.into()))
    }

    /// Names the server that protects this API, which says so itself (RFC 9728).
    ///
    /// The API's metadata is looked for where §3.1 says, and else where the challenge of the API says that it is (§5.1), for
    /// which the API is asked once without a token. The first authorization server that the metadata names is used.
    ///
    /// So the API decides who gets the client's credentials. Use it for an API that you trust as much as its issuer, or look at
    /// the [issuer](Metadata::issuer) first ([`Metadata::discover_protected_resource`]). These checks are always made:
    ///
    /// - The metadata is at the API's own origin, and redirects are not followed.
    /// - Its `resource` is exactly `api` (§3.3).
    /// - The issuer and its endpoints use https, and their hosts are not addresses or names of a private network (§7.7), unless
    ///   the API's host is. A public name can still have a private address. Where that matters, use an HTTP client that does not
    ///   connect to private addresses.
    ///
    /// ```
    /// use tower_bearer::grant::{AuthorizationServer, ClientAuth, ClientCredentials};
    ///
    /// let api = AuthorizationServer::protected_resource("https://api.example.org/v1");
    /// let grant = ClientCredentials::builder(api).client_auth(ClientAuth::secret("client-id", "client-secret"));
    /// ```
    pub fn protected_resource(api: impl Into<String>) -> Self {
        Self::new(ServerLocator::ProtectedResource(api.into()))
    }

    fn new(locator: ServerLocator) -> Self {
        Self { locator, found: Arc::default() }
    }

    /// Hashes what identifies the server.
    pub(crate) fn hash_identity(&self, hash: &mut impl Hasher) {
        match &self.locator {
            ServerLocator::TokenUrl(url) => ("token URL", url).hash(hash),
            ServerLocator::Issuer(issuer) => ("issuer", issuer).hash(hash),
            ServerLocator::Smart(base) => ("SMART", base).hash(hash),
            ServerLocator::ProtectedResource(api) => ("API", api).hash(hash),
            ServerLocator::Metadata(metadata) => ("metadata", metadata.token_endpoint()).hash(hash),
        }
    }

    /// Adds what identifies the server to an identity.
    pub(crate) fn identify(&self, identity: SourceIdentity) -> SourceIdentity {
        match &self.locator {
            ServerLocator::TokenUrl(url) => identity.with("token URL", url),
            ServerLocator::Issuer(issuer) => identity.with("issuer", issuer),
            ServerLocator::Smart(base) => identity.with("SMART", base),
            ServerLocator::ProtectedResource(api) => identity.with("API", api),
            ServerLocator::Metadata(metadata) => identity.with("token URL", metadata.token_endpoint()),
        }
    }

    /// Checks the setting before anything is sent.
    pub(crate) fn check(&self, plain_http: bool) -> Result<(), Error> {
        match &self.locator {
            ServerLocator::TokenUrl(url) => check_token_url(url, plain_http).map(drop),
            ServerLocator::Issuer(issuer) => discovery::check_issuer(issuer, plain_http).map(drop),
            ServerLocator::Smart(base) => discovery::check_fhir_base(base, plain_http).map(drop),
            ServerLocator::ProtectedResource(api) => protected_resource::check_api(api, plain_http).map(drop),
            ServerLocator::Metadata(_) => Ok(()),
        }
    }

    /// Returns whether the metadata has to be fetched.
    pub(crate) fn is_unknown(&self) -> bool {
        let is_given = matches!(self.locator, ServerLocator::TokenUrl(_) | ServerLocator::Metadata(_));
        !is_given && self.found().is_none()
    }

    /// Returns the metadata, which is fetched if it is not known yet.
    pub(crate) async fn metadata<C: HttpService>(&self, exchange: &HttpExchange<C>) -> Result<Metadata, Error> {
        let found = self.found().clone();
        if let Some(found) = found {
            return Ok(found);
        }
        let metadata = match &self.locator {
            ServerLocator::TokenUrl(url) => Metadata::from_token_url(check_token_url(url, exchange.plain_http)?),
            ServerLocator::Issuer(issuer) => discovery::discover_issuer(exchange, issuer).await?,
            ServerLocator::Smart(base) => discovery::discover_smart(exchange, base).await?,
            ServerLocator::ProtectedResource(api) => {
                protected_resource::discover_protected_resource(exchange, api).await?
            }
            ServerLocator::Metadata(metadata) => metadata.clone(),
        };
        *self.found() = Some(metadata.clone());
        Ok(metadata)
    }

    /// Forgets the metadata if this failure may mean that the token endpoint has moved.
    pub(crate) fn forget_if_moved(&self, error: &Error) {
        let moved = matches!(error.status().map(|status| status.as_u16()), Some(404 | 405 | 410));
        if moved || error.is_connect() || error.is_unanswered() || error.is_redirect() {
            self.forget();
        }
    }

    /// Forgets the metadata. It is looked up again at the next token request.
    pub(crate) fn forget(&self) {
        *self.found() = None;
    }

    /// Locks the metadata, which contains nothing of a user's: nothing that is dropped under this lock is user code.
    fn found(&self) -> MutexGuard<'_, Option<Metadata>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check_token_url(url: &str, plain_http: bool) -> Result<Url, Error> {
    Url::from_setting(url, "token URL", "https://auth.example.org/oauth2/token", plain_http)
}

impl From<String> for AuthorizationServer {
    fn from(token_url: String) -> Self {
        Self::new(ServerLocator::TokenUrl(token_url))
    }
}

impl From<&str> for AuthorizationServer {
    fn from(token_url: &str) -> Self {
        token_url.to_owned().into()
    }
}

impl From<&String> for AuthorizationServer {
    fn from(token_url: &String) -> Self {
        token_url.clone().into()
    }
}

impl From<Metadata> for AuthorizationServer {
    fn from(metadata: Metadata) -> Self {
        Self::new(ServerLocator::Metadata(metadata))
    }
}

impl From<&Metadata> for AuthorizationServer {
    fn from(metadata: &Metadata) -> Self {
        metadata.clone().into()
    }
}

impl fmt::Debug for AuthorizationServer {
    /// Does not show a URL that is not valid: it may contain a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (how, url) = match &self.locator {
            ServerLocator::TokenUrl(url) => ("token URL", url),
            ServerLocator::Issuer(issuer) => ("issuer", issuer),
            ServerLocator::Smart(base) => ("SMART", base),
            ServerLocator::ProtectedResource(api) => ("API", api),
            ServerLocator::Metadata(metadata) => return metadata.fmt(f),
        };
        match Url::new(url, true) {
            Ok(url) => write!(f, "{how} {url:?}"),
            Err(why) => write!(f, "{how} that {why}"),
        }
    }
}
