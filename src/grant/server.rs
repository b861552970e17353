//! Which authorization server a grant asks.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    error::Error,
    grant::{
        discovery::{self, Asking},
        http_service::HttpService,
        metadata::Metadata,
        url::Url,
    },
};

/// An authorization server, known by its token URL or to be found.
///
/// A URL as text is a token URL. The others are looked up at the first token request, and what was found is shared by all
/// clones and kept, until the token endpoint turns out to be gone from there.
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
    asked: Asked,
    found: Arc<Mutex<Option<Metadata>>>,
}

#[derive(Clone)]
enum Asked {
    TokenUrl(String),
    Issuer(String),
    Smart(String),
    Metadata(Metadata),
}

impl AuthorizationServer {
    /// The server with this issuer identifier, found by its metadata ([`Metadata::discover`]).
    pub fn issuer(issuer: impl Into<String>) -> Self {
        Self::new(Asked::Issuer(issuer.into()))
    }

    /// The server that guards this FHIR server ([`Metadata::discover_smart`]).
    pub fn smart(fhir_base: impl Into<String>) -> Self {
        Self::new(Asked::Smart(fhir_base.into()))
    }

    fn new(asked: Asked) -> Self {
        Self { asked, found: Arc::default() }
    }

    /// What is wrong with it, before anything is sent.
    pub(crate) fn check(&self, plain_http: bool) -> Result<(), Error> {
        match &self.asked {
            Asked::TokenUrl(url) => token_url(url, plain_http).map(drop),
            Asked::Issuer(issuer) => discovery::check_issuer(issuer, plain_http).map(drop),
            Asked::Smart(base) => discovery::check_fhir_base(base, plain_http).map(drop),
            Asked::Metadata(_) => Ok(()),
        }
    }

    /// What is known of it, looked up where it has to be.
    pub(crate) async fn metadata<C: HttpService>(&self, asking: &Asking<C>) -> Result<Metadata, Error> {
        let found = self.found().clone();
        if let Some(found) = found {
            return Ok(found);
        }
        let metadata = match &self.asked {
            Asked::TokenUrl(url) => Metadata::of_token_url(token_url(url, asking.plain_http)?),
            Asked::Issuer(issuer) => discovery::issuer(asking, issuer).await?,
            Asked::Smart(base) => discovery::smart(asking, base).await?,
            Asked::Metadata(metadata) => metadata.clone(),
        };
        *self.found() = Some(metadata.clone());
        Ok(metadata)
    }

    /// After a failure that may mean that the token endpoint has moved.
    pub(crate) fn doubt(&self, error: &Error) {
        let moved = matches!(error.status().map(|status| status.as_u16()), Some(404 | 405 | 410));
        if moved || error.is_connect() || error.is_redirect() {
            self.forget();
        }
    }

    /// It is looked up again the next time.
    pub(crate) fn forget(&self) {
        *self.found() = None;
    }

    fn found(&self) -> MutexGuard<'_, Option<Metadata>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn token_url(url: &str, plain_http: bool) -> Result<Url, Error> {
    Url::setting(url, "token URL", "https://auth.example.org/oauth2/token", plain_http)
}

impl From<String> for AuthorizationServer {
    fn from(token_url: String) -> Self {
        Self::new(Asked::TokenUrl(token_url))
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
        Self::new(Asked::Metadata(metadata))
    }
}

impl From<&Metadata> for AuthorizationServer {
    fn from(metadata: &Metadata) -> Self {
        metadata.clone().into()
    }
}

impl fmt::Debug for AuthorizationServer {
    /// Not the URLs before they are checked: they may have secrets in them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (how, url) = match &self.asked {
            Asked::TokenUrl(url) => ("token URL", url),
            Asked::Issuer(issuer) => ("issuer", issuer),
            Asked::Smart(base) => ("SMART", base),
            Asked::Metadata(metadata) => return metadata.fmt(f),
        };
        match Url::new(url, true) {
            Ok(url) => write!(f, "{how} {url:?}"),
            Err(why) => write!(f, "{how} that {why}"),
        }
    }
}
