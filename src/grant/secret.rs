//! Where a secret is kept until it is needed.

use std::{env, fmt, path::PathBuf, pin::Pin, sync::Arc};

use crate::error::BoxError;
#[cfg(feature = "jwt")]
use secrecy::ExposeSecret;
use secrecy::SecretString;

use crate::{error::Error, grant::file::SecretFile};

/// A password, a client secret, a private key or a token of somebody else's, or the place where it is kept.
///
/// Text becomes one by itself. What is kept elsewhere is read for each token request that needs it and wiped after.
///
/// ```
/// use tower_bearer::grant::{ClientAuth, Secret};
///
/// let auth = ClientAuth::basic("client-id", "s3cret");
/// let auth = ClientAuth::basic("client-id", Secret::env("CLIENT_SECRET"));
/// let auth = ClientAuth::basic("client-id", Secret::file("/run/secrets/client-secret"));
/// let auth = ClientAuth::basic("client-id", Secret::from_fn(async || Ok("from my vault".into())));
/// assert!(!format!("{:?}", Secret::from("s3cret")).contains("s3cret"));
/// ```
#[derive(Clone)]
pub struct Secret(Place);

#[derive(Clone)]
enum Place {
    Here(SecretString),
    Variable(Arc<str>),
    File(Arc<SecretFile>),
    Elsewhere(Arc<dyn Fn() -> Reading + Send + Sync>),
}

type Reading = Pin<Box<dyn Future<Output = Result<SecretString, BoxError>> + Send>>;

impl Secret {
    /// The value of an environment variable. When it is not set, requests for a token fail with an error that names it.
    pub fn env(name: impl Into<String>) -> Self {
        Self(Place::Variable(name.into().into()))
    }

    /// The text of a file, without the line end that an editor leaves: at most one, `\n` or `\r\n`.
    ///
    /// The file is read for each token request, so that a secret that changes needs no restart, and a change of the file
    /// ends the wait after a refusal ([`TokenSource::credentials_version`](crate::TokenSource::credentials_version)). A
    /// symbolic link that points elsewhere is such a change: that is how Kubernetes rotates mounted secrets.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Place::File(Arc::new(SecretFile::new(path.into()))))
    }

    /// What an async function gives: a vault's client, say. Its errors count as transient.
    pub fn from_fn<F, Fut>(read: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<SecretString, BoxError>> + Send + 'static,
    {
        Self(Place::Elsewhere(Arc::new(move || Box::pin(read()))))
    }

    pub(crate) async fn read(&self) -> Result<SecretString, Error> {
        match &self.0 {
            Place::Here(secret) => Ok(secret.clone()),
            Place::Variable(name) => env::var(&**name).map(SecretString::from).map_err(|error| {
                let why = if matches!(error, env::VarError::NotPresent) { "is not set" } else { "is not UTF-8" };
                Error::config(format!("the environment variable {name} {why}: it has to hold a secret"))
            }),
            Place::File(file) => Arc::clone(file).read().await,
            Place::Elsewhere(read) => read().await.map_err(Error::provider),
        }
    }

    /// A number that changes when the file does.
    pub(crate) fn version(&self) -> u64 {
        match &self.0 {
            Place::File(file) => file.version(),
            _ => 0,
        }
    }

    /// The secret, if it is here already and can be checked before it is needed.
    #[cfg(feature = "jwt")]
    pub(crate) fn here(&self) -> Option<&str> {
        match &self.0 {
            Place::Here(secret) => Some(secret.expose_secret()),
            _ => None,
        }
    }
}

impl From<SecretString> for Secret {
    fn from(secret: SecretString) -> Self {
        Self(Place::Here(secret))
    }
}

impl From<String> for Secret {
    fn from(secret: String) -> Self {
        SecretString::from(secret).into()
    }
}

impl From<&String> for Secret {
    fn from(secret: &String) -> Self {
        secret.as_str().into()
    }
}

impl From<&str> for Secret {
    fn from(secret: &str) -> Self {
        SecretString::from(secret).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Here(_) => f.write_str("[redacted]"),
            Place::Variable(name) => write!(f, "env({name})"),
            Place::File(file) => write!(f, "file({})", file.path.display()),
            Place::Elsewhere(_) => f.write_str("from_fn"),
        }
    }
}
