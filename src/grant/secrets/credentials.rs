//! The resource owner's username and password.

use std::{fmt, pin::Pin, sync::Arc};

use crate::{error::BoxError, secret_string::SecretString};

/// A username and a password. The password is wiped from memory on drop, and `Debug` does not show it.
#[derive(Clone, Debug)]
pub struct Credentials {
    pub(crate) username: String,
    pub(crate) password: SecretString,
}

impl Credentials {
    /// Creates credentials from a username and a password.
    pub fn new(username: impl Into<String>, password: impl Into<SecretString>) -> Self {
        Self { username: username.into(), password: password.into() }
    }
}

/// Provides credentials: fixed ones, or ones that are fetched only when they are needed. With the second kind, the client
/// discards the credentials once it has a token, as RFC 6749 §4.3 requires.
///
/// It is implemented for [`Credentials`] and for any async closure that returns `Result<Credentials, BoxError>`.
pub trait CredentialsProvider: Send + Sync + 'static {
    /// Returns the credentials for one token request.
    ///
    /// # Errors
    /// Any error. It counts as transient.
    fn credentials(&self) -> impl Future<Output = Result<Credentials, BoxError>> + Send;

    /// Returns a number that changes when the credentials change. A change ends the backoff after a refusal, and the refresh
    /// token of the earlier credentials is not used. Default: always 0. For a closure, set
    /// [`credentials_version`](crate::grant::PasswordGrantBuilder::credentials_version).
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

/// A type-erased [`CredentialsProvider`].
#[derive(Clone)]
pub(crate) struct BoxCredentialsProvider(Arc<dyn DynCredentialsProvider>);

type CredentialsFuture<'a> = Pin<Box<dyn Future<Output = Result<Credentials, BoxError>> + Send + 'a>>;

trait DynCredentialsProvider: Send + Sync {
    fn credentials(&self) -> CredentialsFuture<'_>;
    fn version(&self) -> u64;
}

impl<P: CredentialsProvider> DynCredentialsProvider for P {
    fn credentials(&self) -> CredentialsFuture<'_> {
        Box::pin(CredentialsProvider::credentials(self))
    }

    fn version(&self) -> u64 {
        CredentialsProvider::version(self)
    }
}

impl BoxCredentialsProvider {
    pub(crate) fn new(provider: impl CredentialsProvider) -> Self {
        Self(Arc::new(provider))
    }

    pub(crate) fn credentials(&self) -> CredentialsFuture<'_> {
        self.0.credentials()
    }

    pub(crate) fn version(&self) -> u64 {
        self.0.version()
    }
}

impl fmt::Debug for BoxCredentialsProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CredentialsProvider")
    }
}
