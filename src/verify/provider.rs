//! Where the keys come from.

use crate::{error::Error, verify::key_set::KeySet};

/// Where the keys of an issuer come from. Any async closure that gives `Result<KeySet, Error>` is one, and so is a
/// [`KeySet`] that never changes.
pub trait KeyProvider: Send + Sync + 'static {
    /// The keys that the issuer publishes now.
    ///
    /// # Errors
    /// Whatever went wrong: [`Error::transient`], most often.
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
