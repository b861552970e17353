//! A secret, or the place where it is kept.

use std::{
    env, fmt,
    hash::{Hash, Hasher},
    path::PathBuf,
    pin::Pin,
    sync::Arc,
};

use zeroize::Zeroizing;

use crate::{
    error::{BoxError, Error},
    grant::secrets::{secret_file::SecretFile, secret_text::secret_text},
    secret_string::SecretString,
};

/// A password, a client secret, a private key or another party's token, or the place where it is kept.
///
/// Text converts into a `Secret`. A secret that is kept elsewhere is read for each token request that needs it, and wiped
/// from memory afterwards.
///
/// From files and variables alike, a byte order mark at the start and one line end at the end (`\n` or `\r\n`) are not part
/// of the secret. Text in UTF-16 is decoded if it has a byte order mark. An empty text, a NUL character, and bytes that are not
/// UTF-8 are errors.
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
pub struct Secret {
    location: Location,
    version: Option<VersionFn>,
}

/// Returns a number that changes when the credentials change.
pub(crate) type VersionFn = Arc<dyn Fn() -> u64 + Send + Sync>;

#[derive(Clone)]
enum Location {
    Memory(SecretString),
    Variable(Arc<str>),
    File(Arc<SecretFile>),
    Function(Arc<dyn Fn() -> ReadFuture + Send + Sync>),
}

type ReadFuture = Pin<Box<dyn Future<Output = Result<SecretString, BoxError>> + Send>>;

impl Secret {
    /// Names an environment variable that holds the secret. If the variable is not set or is empty, token requests fail with
    /// an error that names it.
    pub fn env(name: impl Into<String>) -> Self {
        Self::at(Location::Variable(name.into().into()))
    }

    /// Names a file that holds the secret, up to 64 KiB.
    ///
    /// The file is read for each token request, so a changed secret needs no restart. A change of the file also ends the
    /// backoff after a refusal ([`TokenSource::credentials_version`](crate::TokenSource::credentials_version)). A symbolic
    /// link that points to another file counts as a change: Kubernetes rotates mounted secrets this way.
    ///
    /// A pipe (`/dev/stdin`, `<(pass show api)`) can be read only once. So its secret is kept in memory from the first token
    /// request on.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::at(Location::File(Arc::new(SecretFile::new(path.into()))))
    }

    /// Gets the secret from an async function, such as the client of a vault. Its errors count as transient. If the secret can
    /// change to that of another user, say when by [`with_version`](Self::with_version).
    pub fn from_fn<F, Fut>(read: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<SecretString, BoxError>> + Send + 'static,
    {
        Self::at(Location::Function(Arc::new(move || Box::pin(read()))))
    }

    /// Sets a function that returns a number that changes when the secret changes, such as the version that a vault
    /// gives it. It is called often, so it should be as cheap as reading a field. Default: for a file, a number that
    /// changes with the file; for every other secret, always 0.
    ///
    /// A change ends the backoff after a refusal. After a change of a user's credentials, the refresh token that came with the
    /// earlier ones is not used.
    #[must_use]
    pub fn with_version(self, version: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self { version: Some(Arc::new(version)), ..self }
    }

    fn at(location: Location) -> Self {
        Self { location, version: None }
    }

    pub(crate) async fn read(&self) -> Result<SecretString, Error> {
        match &self.location {
            Location::Memory(secret) => Ok(secret.clone()),
            Location::Variable(name) => read_variable(name),
            Location::File(file) => Arc::clone(file).read().await,
            Location::Function(read) => read().await.map_err(Error::provider),
        }
    }

    /// Returns a number that changes when the secret changes, as far as is known.
    pub(crate) fn version(&self) -> u64 {
        if let Some(version) = &self.version {
            return version();
        }
        match &self.location {
            Location::File(file) => file.version(),
            _ => 0,
        }
    }

    /// Returns what other processes with the same secret have as well: the secret itself or, for one that a function gets, its
    /// version.
    pub(crate) async fn proof(&self) -> Result<SecretString, Error> {
        if self.is_from_function() { Ok(self.version().to_string().into()) } else { self.read().await }
    }

    /// Returns whether only a function knows what the secret is.
    pub(crate) fn is_from_function(&self) -> bool {
        matches!(self.location, Location::Function(_))
    }

    /// Hashes what distinguishes it from other secrets: the secret or where it is kept, and its version. Two functions are not
    /// distinguished.
    pub(crate) fn hash_identity(&self, hash: &mut impl Hasher) {
        match &self.location {
            Location::Memory(secret) => ("memory", secret.expose()).hash(hash),
            Location::Variable(name) => ("variable", name).hash(hash),
            Location::File(file) => ("file", file.path()).hash(hash),
            Location::Function(_) => "function".hash(hash),
        }
        self.version().hash(hash);
    }

    /// Returns the secret if it is in memory, so that it can be checked before it is needed.
    #[cfg(feature = "jwt")]
    pub(crate) fn in_memory(&self) -> Option<&str> {
        match &self.location {
            Location::Memory(secret) => Some(secret.expose()),
            _ => None,
        }
    }
}

/// Reads the secret in an environment variable.
pub(crate) fn read_variable(name: &str) -> Result<SecretString, Error> {
    let wrong = |why: &str| {
        let advice = if why.contains("; ") { "" } else { ": set it to the secret" };
        Error::unreadable(format!("the environment variable {name} {why}{advice}"))
    };
    let value = env::var_os(name).ok_or_else(|| wrong("is not set"))?;
    secret_text(&Zeroizing::new(value.into_encoded_bytes())).map_err(|why| wrong(&why))
}

impl From<SecretString> for Secret {
    fn from(secret: SecretString) -> Self {
        Self::at(Location::Memory(secret))
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
        match &self.location {
            Location::Memory(_) => f.write_str("[redacted]"),
            Location::Variable(name) => write!(f, "env({name})"),
            Location::File(file) => write!(f, "file({})", file.path().display()),
            Location::Function(_) => f.write_str("from_fn"),
        }
    }
}
