//! The caches of a source that was narrowed, one a [`Narrowing`].

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;

use crate::{cache::token_cache::TokenCache, source::Narrowing};

/// Read without a lock; the map is copied when one is added, which is rare.
pub(crate) struct Narrowed<T> {
    caches: ArcSwap<HashMap<Narrowing, Arc<Slot<T>>>>,
    /// Ticks by two with each cache that is added.
    clock: AtomicU64,
    most: usize,
}

struct Slot<T> {
    cache: TokenCache<T>,
    /// The clock when the cache was added, one more when it was used since: so that a use need not tick it.
    used: AtomicU64,
}

impl<T> Narrowed<T> {
    pub(crate) fn new(most: usize) -> Self {
        Self { caches: ArcSwap::default(), clock: AtomicU64::new(0), most: most.max(1) }
    }

    pub(crate) fn get(&self, narrowing: &Narrowing) -> Option<TokenCache<T>> {
        let caches = self.caches.load();
        let slot = caches.get(narrowing)?;
        slot.used.store(self.clock.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        Some(slot.cache.clone())
    }

    /// Adds a cache, unless somebody was faster, in the place of the one that was unused for longest.
    pub(crate) fn add(&self, narrowing: &Narrowing, cache: &TokenCache<T>) -> TokenCache<T> {
        let now = self.clock.fetch_add(2, Ordering::Relaxed) + 2;
        self.caches.rcu(|caches| {
            let mut caches = HashMap::clone(caches);
            if !caches.contains_key(narrowing) {
                if caches.len() >= self.most {
                    let oldest = caches.iter().min_by_key(|(_, slot)| slot.used.load(Ordering::Relaxed));
                    let oldest = oldest.map(|(narrowing, _)| narrowing.clone());
                    oldest.map(|oldest| caches.remove(&oldest));
                }
                let slot = Slot { cache: cache.clone(), used: AtomicU64::new(now) };
                caches.insert(narrowing.clone(), Arc::new(slot));
            }
            caches
        });
        self.caches.load().get(narrowing).map_or_else(|| cache.clone(), |slot| slot.cache.clone())
    }

    pub(crate) fn all(&self) -> Vec<TokenCache<T>> {
        self.caches.load().values().map(|slot| slot.cache.clone()).collect()
    }
}
