//! The map of narrowed caches as it was before pools: copied whole with each entry. `identities.rs` compares it.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwap;

use tower_bearer::source::Narrowing;

/// How many times its size the map grows while no cache may be dropped.
const GROWTH: usize = 16;

/// A bounded map from a narrowing to a cache `C`. It is read without a lock, and copied when an entry is added, which is rare.
pub struct NarrowedCaches<C> {
    caches: ArcSwap<HashMap<Narrowing, Arc<Slot<C>>>>,
    /// Advances by two with each cache that is added.
    clock: AtomicU64,
    max: usize,
}

struct Slot<C> {
    cache: C,
    /// The clock when the cache was added, and one more if it was used since. So a use does not write to the clock.
    used: AtomicU64,
}

impl<C: Clone> NarrowedCaches<C> {
    /// Creates a map of at most `max` caches.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { caches: ArcSwap::default(), clock: AtomicU64::new(0), max: max.max(1) }
    }

    /// Returns the cache of a narrowing.
    pub fn get(&self, narrowing: &Narrowing) -> Option<C> {
        let caches = self.caches.load();
        let slot = caches.get(narrowing)?;
        slot.used.store(self.clock.load(Relaxed) + 1, Relaxed);
        Some(slot.cache.clone())
    }

    /// Adds a cache, unless another thread was faster, and returns the one that is in the map. In a full map, the least
    /// recently used one that need not stay makes room. If all must stay, the map grows, up to [`GROWTH`] times its size.
    pub fn add(&self, narrowing: &Narrowing, cache: &C, must_stay: impl Fn(&C) -> bool) -> C {
        let now = self.clock.fetch_add(2, Relaxed) + 2;
        self.caches.rcu(|caches| {
            let mut caches = HashMap::clone(caches);
            if !caches.contains_key(narrowing) {
                while caches.len() >= self.max {
                    let is_at_limit = caches.len() >= self.max.saturating_mul(GROWTH);
                    let mut may_go: Vec<_> = caches.iter().collect();
                    may_go.sort_unstable_by_key(|(_, slot)| slot.used.load(Relaxed));
                    let oldest = may_go.iter().find(|(_, slot)| !must_stay(&slot.cache));
                    let oldest = oldest.or(may_go.first().filter(|_| is_at_limit)).map(|(to, _)| (*to).clone());
                    let Some(oldest) = oldest else { break };
                    caches.remove(&oldest);
                }
                let slot = Slot { cache: cache.clone(), used: AtomicU64::new(now) };
                caches.insert(narrowing.clone(), Arc::new(slot));
            }
            caches
        });
        self.caches.load().get(narrowing).map_or_else(|| cache.clone(), |slot| slot.cache.clone())
    }
}
