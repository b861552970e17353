//! Where the keys come from.

use crate::{error::Error, verify::key_set::KeySet};

/// Provides the keys of an issuer. It is implemented for any async closure that returns `Result<KeySet, Error>`, and for
/// [`KeySet`], which never changes.
pub trait KeyProvider: Send + Sync + 'static {
    /// Returns the keys that the issuer publishes now.
    ///
    /// # Errors
    /// Any error; usually [`Error::transient`].
    fn keys(&self) -> impl Future<Output = Result<KeySet, Error>> + Send;
}

impl KeyProvider for KeySet {
    async fn keys(&self) -> Result<KeySet, Error> {
        Ok(self.clone())
    }
}

impl<F, Fut> KeyProvider for F
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<KeySet, Error>> + Send,
{
    fn keys(&self) -> impl Future<Output = Result<KeySet, Error>> + Send {
        self()
    }
}
