//! What others see of a cache: its names, its totals and its gauges.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::{
    cache::{cache_core::CacheCore, totals::Totals},
    events::{self, Named},
    extensions::NotRetried,
};

impl CacheCore {
    /// Adds to what is counted of this cache, and of its pool.
    pub(super) fn count(&self, which: impl Fn(&Totals) -> &AtomicU64) {
        which(&self.totals).fetch_add(1, Relaxed);
        if let Some(shared) = &self.family.shared {
            which(&shared.totals).fetch_add(1, Relaxed);
        }
    }

    /// Notes that a request whose token of `generation` was rejected is sent again, as its resend of this number.
    pub(crate) fn note_sent_again(&self, generation: u64, resend_count: u32) {
        self.count(|totals| &totals.second_attempts);
        events::sent_again(self.named(), generation, resend_count);
    }

    /// Notes that it is not sent again, and why.
    pub(crate) fn note_not_retried(&self, generation: u64, why_not: &NotRetried) {
        events::not_retried(self.named(), generation, why_not.name(), why_not.error());
    }

    /// Returns the names that the user gave: to the cache or its pool, and to its identity.
    pub(super) fn named(&self) -> Named<'_> {
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
