//! A source that shares its tokens with other processes.

use std::{fmt, sync::Arc};

use crate::{
    error::Error,
    source::{BoxTokenSource, CacheHandle, Narrowing, Reason, TokenSource},
    store::{shared_store::SharedStore, sharing::Sharing, store_status::StoreStatus},
    token::AccessToken,
};

/// A source around a source, which shares its tokens by a store with all processes of a fleet.
///
/// One process at a time asks the issuer. The others read the token, or the failure, from the store. What is shared, when, and what
/// happens without the store is in the [module](crate::store).
///
/// ```
/// # #[cfg(all(feature = "client", feature = "sealing"))]
/// # fn cache(store: impl tower_bearer::store::TokenStore) -> Result<tower_bearer::TokenCache, tower_bearer::Error> {
/// use tower_bearer::{TokenCache, grant::{ClientAuth, ClientCredentials}, store::{SealingKey, SealingKeys, SharedStore, Stored}};
///
/// let keys = SealingKeys::new(SealingKey::parse("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")?);
/// let store = SharedStore::new(store, keys);
/// let grant = ClientCredentials::builder("https://auth.example.org/oauth2/token")
///     .client_auth(ClientAuth::secret("client-id", "client-secret"))
///     .build()?;
/// let cache = TokenCache::new(Stored::new(grant, &store));
/// # Ok(cache) }
/// ```
#[derive(Clone)]
pub struct Stored(Arc<Sharing>);

impl Stored {
    /// Shares the tokens of `source` by `store`.
    ///
    /// Processes find each other's tokens by the source's [identity](TokenSource::identity): for a grant, the server, the client, the user,
    /// the scope and all other parameters.
    pub fn new(source: impl TokenSource, store: &SharedStore) -> Self {
        Self(Arc::new(Sharing::new(source.boxed(), store.clone())))
    }

    /// Gives the tokens a name, which only processes with the same tokens give. It counts in addition to the source's identity.
    ///
    /// A source whose identity does not say whose tokens it gets needs a name: a [`RefreshToken`](crate::grant::RefreshToken) grant, the
    /// tokens or assertions that a function returns, and a custom source that does not implement
    /// [`identity`](TokenSource::identity). Without one, it fails.
    #[must_use]
    pub fn named(self, name: impl Into<Box<str>>) -> Self {
        let mut sharing = Sharing::new(self.0.source.clone(), self.0.store.clone());
        sharing.name = Some(name.into());
        sharing.narrowing = self.0.narrowing.clone();
        Self(Arc::new(sharing))
    }

    /// Returns how the store was used so far, by all sources of this [`SharedStore`].
    #[must_use]
    pub fn status(&self) -> StoreStatus {
        self.0.store.status()
    }
}

impl TokenSource for Stored {
    fn obtain(&self, why: Reason) -> impl Future<Output = Result<AccessToken, Error>> + Send {
        self.0.obtain(why)
    }

    fn credentials_version(&self) -> u64 {
        self.0.source.credentials_version()
    }

    fn client(&self) -> Option<u64> {
        self.0.source.client()
    }

    fn issuer(&self) -> Option<u64> {
        self.0.source.issuer()
    }

    fn check(&self) -> Result<(), Error> {
        self.0.source.check()
    }

    fn narrowed(&self, to: &Narrowing) -> Option<BoxTokenSource> {
        let mut sharing = Sharing::new(self.0.source.narrowed(to)?, self.0.store.clone());
        sharing.name.clone_from(&self.0.name);
        sharing.requesting = Arc::clone(&self.0.requesting);
        let scoped = self.0.narrowing.clone().with("scope", to.scope().unwrap_or_default());
        sharing.narrowing = to.resources().iter().fold(scoped, |all, resource| all.with("resource", &**resource));
        Some(Self(Arc::new(sharing)).boxed())
    }

    fn revoke(&self, token: &AccessToken) -> impl Future<Output = Result<(), Error>> + Send {
        self.0.revoke(Some(token))
    }

    fn revoke_unused(&self) -> impl Future<Output = Result<(), Error>> + Send {
        self.0.revoke(None)
    }

    fn reset(&self) {
        self.0.memory().was_reset = true;
        self.0.source.reset();
    }

    fn attach(&self, cache: CacheHandle) {
        self.0.attach(cache.clone());
        self.0.source.attach(cache);
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stored").field("store", &self.0.store).finish_non_exhaustive()
    }
}
