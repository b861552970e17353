//! A source whose tokens are verified before anybody uses them.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    error::Error,
    source::{
        narrowing::Narrowing,
        reason::Reason,
        token_source::{BoxTokenSource, TokenSource},
    },
    token::AccessToken,
    verify::{KeyProvider, KeySet, Verifier, VerifyError},
};

/// How long keys are used before they are asked for again: a key that the issuer withdrew is not trusted for ever.
const KEYS_LIVE: Duration = Duration::from_secs(3600);

/// A source that hands on only tokens that verify (feature `jwt`). Any other is a transient failure of the source, with the
/// [`VerifyError`] as its cause: nobody gets that token, and the cache asks again after a while.
///
/// Keys are kept for an hour. When a token's signature is of none of them, the provider is asked once more: the issuer may
/// have changed its keys, with or without new names for them.
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
    check: Arc<Check<K>>,
}

/// Shared with sources that are narrowed.
struct Check<K> {
    verifier: Verifier,
    provider: K,
    keys: Mutex<Option<(Instant, Arc<KeySet>)>>,
}

impl<T, K> Verified<T, K> {
    /// Verifies the tokens of `source` with the keys of `provider`.
    pub fn new(source: T, verifier: Verifier, provider: K) -> Self {
        Self { source, check: Arc::new(Check { verifier, provider, keys: Mutex::new(None) }) }
    }
}

impl<K> Check<K> {
    /// The keys at hand, if they are young enough.
    fn kept(&self) -> Option<Arc<KeySet>> {
        let kept = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        kept.as_ref().filter(|(since, _)| since.elapsed() < KEYS_LIVE).map(|(_, keys)| Arc::clone(keys))
    }
}

impl<K: KeyProvider> Check<K> {
    async fn verify(&self, token: &AccessToken) -> Result<(), Error> {
        let kept = self.kept().map(|keys| self.verifier.verify(token, &keys));
        let verdict = match kept {
            None | Some(Err(VerifyError::UnknownKey | VerifyError::Signature)) => {
                self.verifier.verify(token, &*self.ask().await?)
            }
            Some(verdict) => verdict,
        };
        verdict.map(drop).map_err(|error| Error::failed_check(error.why(), error))
    }

    async fn ask(&self) -> Result<Arc<KeySet>, Error> {
        let keys = Arc::new(self.provider.keys().await?);
        *self.keys.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), Arc::clone(&keys)));
        Ok(keys)
    }
}

impl<T: TokenSource, K: KeyProvider> TokenSource for Verified<T, K> {
    async fn obtain(&self, why: Reason) -> Result<AccessToken, Error> {
        let token = self.source.obtain(why).await?;
        self.check.verify(&token).await?;
        Ok(token)
    }

    fn credentials_version(&self) -> u64 {
        self.source.credentials_version()
    }

    fn narrowed(&self, to: &Narrowing) -> Option<BoxTokenSource> {
        let source = self.source.narrowed(to)?;
        Some(Verified { source, check: Arc::clone(&self.check) }.boxed())
    }

    fn revoke(&self, token: &AccessToken) -> impl Future<Output = Result<(), Error>> + Send {
        self.source.revoke(token)
    }
}

impl<T: fmt::Debug, K> fmt::Debug for Verified<T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified")
            .field("source", &self.source)
            .field("verifier", &self.check.verifier)
            .finish_non_exhaustive()
    }
}
