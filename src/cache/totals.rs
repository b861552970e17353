//! What is counted of a cache and of a pool since it was created, and the names by which others know them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::{
    cache::{cache_core::CacheCore, status::CacheStatus},
    events::Named,
};

/// Counts what is rare. A hit is not counted.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) renewals: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) rejections: AtomicU64,
    pub(crate) second_attempts: AtomicU64,
}

impl CacheCore {
    /// Adds to what is counted of this cache, and of its pool.
    pub(crate) fn count(&self, which: impl Fn(&Totals) -> &AtomicU64) {
        which(&self.totals).fetch_add(1, Relaxed);
        if let Some(shared) = &self.family.shared {
            which(&shared.totals).fetch_add(1, Relaxed);
        }
    }

    /// Returns the names that the user gave: to the cache or its pool, and to its identity.
    pub(crate) fn named(&self) -> Named<'_> {
        let Self { family, settings, .. } = self;
        let cache = family.shared.as_ref().map_or(settings.name.as_deref(), |shared| shared.renewals.pool());
        Named { cache, identity: family.name.as_deref() }
    }
}

impl Totals {
    pub(super) fn show(&self, status: CacheStatus) -> CacheStatus {
        CacheStatus {
            total_failures: self.failures.load(Relaxed),
            rejections: self.rejections.load(Relaxed),
            second_attempts: self.second_attempts.load(Relaxed),
            ..status
        }
    }
}
