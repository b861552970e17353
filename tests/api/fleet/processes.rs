//! The processes of a fleet, all in this one.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use tower_bearer::{
    TokenCache,
    store::{MemoryStore, SealingKey, SealingKeys, SharedStore, Stored},
    testing::Issuer,
};

use crate::support::grant;

/// A store, an issuer, and processes that share both.
pub(super) struct Fleet {
    pub(super) store: MemoryStore,
    pub(super) issuer: Issuer,
    began: Instant,
}

impl Fleet {
    pub(super) fn new(issuer: Issuer) -> Self {
        Self { store: MemoryStore::new(), issuer, began: Instant::now() }
    }

    /// Returns a wall clock that goes as tokio's paused one does.
    pub(super) fn clock(&self) -> impl Fn() -> SystemTime + Send + Sync + 'static {
        let began = self.began;
        move || SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000) + began.elapsed()
    }

    /// Starts a process.
    pub(super) fn process(&self) -> SharedStore {
        SharedStore::builder(self.store.clone(), keys()).wall_clock(self.clock()).build()
    }

    /// Returns the password grant of a process.
    pub(super) fn stored(&self, process: &SharedStore) -> Stored {
        Stored::new(grant(self.issuer.service()), process)
    }

    pub(super) fn cache_of(&self, process: &SharedStore) -> TokenCache {
        TokenCache::new(self.stored(process))
    }

    /// Returns the cache of a process of its own.
    pub(super) fn cache(&self) -> TokenCache {
        self.cache_of(&self.process())
    }
}

pub(super) fn keys() -> SealingKeys {
    SealingKeys::new(SealingKey::new(&[7; 32]))
}
