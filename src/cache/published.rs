//! What the hot path reads without a lock.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use arc_swap::Guard;

use crate::{
    cache::{served_token::ServedToken, state::CacheState},
    sync::{ArcSwapOption, AtomicBool},
};

/// A copy of what the [`CacheState`] decided, for readers without the lock.
///
/// It is written in [`publish`](Self::publish) alone, which runs under the lock of the state, after each change. So it is
/// never newer than the state, and older only while a change is being made.
#[derive(Debug, Default)]
pub(crate) struct Published {
    served: ArcSwapOption<ServedToken>,
    /// Whether the answers to requests are watched.
    watched: AtomicBool,
}

impl Published {
    /// Publishes what `state` serves now. The caller holds the lock of the state.
    pub(crate) fn publish(&self, state: &CacheState) {
        let served = state.served();
        if self.served.load().as_ref().map(Arc::as_ptr) != served.map(Arc::as_ptr) {
            self.served.store(served.cloned());
        }
        // Written only when it changes, because every hit reads it.
        if self.is_watched() != state.is_watched() {
            self.watched.store(state.is_watched(), Relaxed);
        }
    }

    /// Returns the token that is served, whatever its age.
    #[inline]
    pub(crate) fn served(&self) -> Guard<Option<Arc<ServedToken>>> {
        self.served.load()
    }

    /// Returns whether the answers to requests are watched; see [`CacheState::is_watched`].
    #[inline]
    pub(crate) fn is_watched(&self) -> bool {
        self.watched.load(Relaxed)
    }
}
