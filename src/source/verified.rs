//! A source whose tokens are verified before they are used.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    error::Error,
    secret_string::SecretString,
    source::{
        cache_handle::CacheHandle,
        identity::SourceIdentity,
        narrowing::Narrowing,
        reason::Reason,
        token_source::{BoxTokenSource, TokenSource},
    },
    token::AccessToken,
    verify::{KeyProvider, KeySet, Verifier, VerifyError},
};

/// How long keys are used before they are fetched again. A key that the issuer withdrew must not stay trusted.
const KEYS_MAX_AGE: Duration = Duration::from_secs(3600);

/// A source that returns only tokens that verify (feature `jwt`).
///
/// A token that does not verify is a transient failure of the source, with the [`VerifyError`] as its cause. The token is not
/// used, and the cache asks again later.
///
/// Keys are kept for an hour. If none of them made the signature of a token, they are fetched again once: the issuer may have
/// changed its keys, with or without new names.
///
/// ```
/// use tower_bearer::{BearerAuthLayer, Error, FixedToken, source::Verified, verify::{KeySet, Verifier}};
///
/// # async fn get(url: &str) -> Result<Vec<u8>, std::io::Error> { Ok(vec![]) }
/// # let issuer = FixedToken::new("t")?;
/// let keys = || async {
///     let json = get("https://auth.example.org/jwks").await.map_err(Error::transient)?;
///     KeySet::from_json(json).map_err(Error::transient)
/// };
/// let verifier = Verifier::new("https://auth.example.org").audience("https://fhir.example.org");
/// let layer = BearerAuthLayer::new(Verified::new(issuer, verifier, keys));
/// # Ok::<(), tower_bearer::Error>(())
/// ```
pub struct Verified<T, K> {
    source: T,
    keys: Arc<VerifyingKeys<K>>,
}

/// The verifier and its keys. Narrowed sources share it.
struct VerifyingKeys<K> {
    verifier: Verifier,
    provider: K,
    /// A `KeySet` contains nothing of a user's, so no user code runs when one is replaced under the lock.
    fetched: Mutex<Option<(Instant, Arc<KeySet>)>>,
}

impl<T, K> Verified<T, K> {
    /// Creates a source that verifies the tokens of `source` with the keys of `provider`.
    pub fn new(source: T, verifier: Verifier, provider: K) -> Self {
        Self { source, keys: Arc::new(VerifyingKeys { verifier, provider, fetched: Mutex::new(None) }) }
    }
}

impl<K> VerifyingKeys<K> {
    /// Returns the keys that were fetched last, if they are not too old.
    fn cached(&self) -> Option<Arc<KeySet>> {
        let cached = self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
        cached.as_ref().filter(|(since, _)| since.elapsed() < KEYS_MAX_AGE).map(|(_, keys)| Arc::clone(keys))
    }
}

impl<K: KeyProvider> VerifyingKeys<K> {
    async fn verify(&self, token: &AccessToken) -> Result<(), Error> {
        let cached = self.cached().map(|keys| self.verifier.verify(token, &keys));
        let verdict = match cached {
            None | Some(Err(VerifyError::UnknownKey | VerifyError::Signature)) => {
                self.verifier.verify(token, &*self.fetch().await?)
            }
            Some(verdict) => verdict,
        };
        verdict.map(drop).map_err(|error| Error::failed_check(error.why(), error))
    }

    async fn fetch(&self) -> Result<Arc<KeySet>, Error> {
        let keys = Arc::new(self.provider.keys().await?);
        *self.fetched.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), Arc::clone(&keys)));
        Ok(keys)
    }
}

impl<T: TokenSource, K: KeyProvider> TokenSource for Verified<T, K> {
    async fn obtain(&self, why: Reason) -> Result<AccessToken, Error> {
        let token = self.source.obtain(why).await?;
        self.keys.verify(&token).await?;
        Ok(token)
    }

    fn credentials_version(&self) -> u64 {
        self.source.credentials_version()
    }

    fn client(&self) -> Option<u64> {
        self.source.client()
    }

    fn issuer(&self) -> Option<u64> {
        self.source.issuer()
    }

    fn check(&self) -> Result<(), Error> {
        self.source.check()
    }

    fn narrowed(&self, to: &Narrowing) -> Option<BoxTokenSource> {
        let source = self.source.narrowed(to)?;
        Some(Verified { source, keys: Arc::clone(&self.keys) }.boxed())
    }

    fn revoke(&self, token: &AccessToken) -> impl Future<Output = Result<(), Error>> + Send {
        self.source.revoke(token)
    }

    fn revoke_unused(&self) -> impl Future<Output = Result<(), Error>> + Send {
        self.source.revoke_unused()
    }

    fn identity(&self) -> impl Future<Output = Result<Option<SourceIdentity>, Error>> + Send {
        self.source.identity()
    }

    fn refresh_token(&self) -> Option<SecretString> {
        self.source.refresh_token()
    }

    fn continue_with(&self, refresh_token: Option<SecretString>) -> impl Future<Output = ()> + Send {
        self.source.continue_with(refresh_token)
    }

    fn attach(&self, cache: CacheHandle) {
        self.source.attach(cache);
    }

    fn reset(&self) {
        self.source.reset();
    }
}

impl<T: fmt::Debug, K> fmt::Debug for Verified<T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified")
            .field("source", &self.source)
            .field("verifier", &self.keys.verifier)
            .finish_non_exhaustive()
    }
}
