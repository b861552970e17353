//! What others see of a cache: its names, its totals and its gauges.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::{
    cache::{cache_core::CacheCore, totals::Totals},
    events::Named,
};

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

    /// Shows what has changed in the gauges. The recorder is user code, so no lock is held.
    pub(super) fn show_gauges(&self) {
        if let Some(gauges) = &self.gauges
            && let Some(name) = self.named().cache
        {
            gauges.show(name);
        }
    }
}
