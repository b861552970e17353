//! The resource owner's username and password.

use std::{fmt, pin::Pin, sync::Arc};

use crate::error::BoxError;
use secrecy::SecretString;

/// A username and a password. The password is wiped from memory on drop, and in no `Debug`.
#[derive(Clone, Debug)]
pub struct Credentials {
    pub(crate) username: String,
    pub(crate) password: SecretString,
}

impl Credentials {
    /// A username and a password.
    pub fn new(username: impl Into<String>, password: impl Into<SecretString>) -> Self {
        Self { username: username.into(), password: password.into() }
    }
}

/// Where credentials come from: fixed, or asked for only when they are needed, which lets RFC 6749 §4.3 be followed: the
/// client discards them once it has a token.
///
/// Any async closure that gives `Result<Credentials, BoxError>` is one, and so are [`Credentials`].
pub trait CredentialsProvider: Send + Sync + 'static {
    /// The credentials, for one token request.
    ///
    /// # Errors
    /// Whatever went wrong; it counts as transient.
    fn credentials(&self) -> impl Future<Output = Result<Credentials, BoxError>> + Send;

    /// A number that changes when the credentials do: ends the wait after a refusal. Default: always 0.
    fn version(&self) -> u64 {
        0
    }
}

impl CredentialsProvider for Credentials {
    async fn credentials(&self) -> Result<Credentials, BoxError> {
        Ok(self.clone())
    }
}

impl<F, Fut> CredentialsProvider for F
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Credentials, BoxError>> + Send,
{
    fn credentials(&self) -> impl Future<Output = Result<Credentials, BoxError>> + Send {
        self()
    }
}

/// A provider whose type is forgotten.
#[derive(Clone)]
pub(crate) struct BoxProvider(Arc<dyn Erased>);

type Providing<'a> = Pin<Box<dyn Future<Output = Result<Credentials, BoxError>> + Send + 'a>>;

trait Erased: Send + Sync {
    fn credentials(&self) -> Providing<'_>;
    fn version(&self) -> u64;
}

impl<P: CredentialsProvider> Erased for P {
    fn credentials(&self) -> Providing<'_> {
        Box::pin(CredentialsProvider::credentials(self))
    }

    fn version(&self) -> u64 {
        CredentialsProvider::version(self)
    }
}

impl BoxProvider {
    pub(crate) fn new(provider: impl CredentialsProvider) -> Self {
        Self(Arc::new(provider))
    }

    pub(crate) fn credentials(&self) -> Providing<'_> {
        self.0.credentials()
    }

    pub(crate) fn version(&self) -> u64 {
        self.0.version()
    }
}

impl fmt::Debug for BoxProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CredentialsProvider")
    }
}
