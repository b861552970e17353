//! What the gauges of a cache with a name show.

use std::time::UNIX_EPOCH;

use crate::{
    cache::state::CacheState,
    events::{self, Shown},
};

/// The numbers behind the gauges of a cache. They change under the lock of its state, and are shown after it is released.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    expiry: Shown,
    limited: Shown,
}

impl Gauges {
    pub(super) fn note(&self, state: &CacheState) {
        let expiry = state.served().and_then(|served| served.expires_wall().duration_since(UNIX_EPOCH).ok());
        self.expiry.set(expiry.map_or(0, |expiry| expiry.as_secs()));
        self.limited.set(u64::from(state.is_limited()));
    }

    /// Shows what has changed. The recorder is user code, so no lock is held.
    pub(super) fn show(&self, cache: &str) {
        self.expiry.show(|at| events::show_expiry(cache, at));
        self.limited.show(|is_limited| events::show_limited(cache, is_limited > 0));
    }
}
