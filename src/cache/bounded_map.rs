//! A bounded concurrent map that does not evict an entry that must stay. Pools keep their identities in it, and caches their
//! narrowed caches.
//!
//! # Why no user code runs under its locks, except that of keys
//!
//! An entry that leaves the map is returned, and dropped by the caller: the `Drop` of a source is user code. Whether an entry
//! must stay is asked under a lock, so it may take only locks under which the map is not used. The `Hash`, `Eq` and `Clone` of
//! keys run under a lock too.

use std::{
    borrow::Borrow,
    hash::{Hash, RandomState},
    sync::{
        Arc, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use quick_cache::{Lifecycle, OptionsBuilder, UnitWeighter, sync::Cache};

use crate::{per_core::copies, sync::Mutex};

/// How many times its bound the map grows while no entry may be evicted.
const GROWTH: usize = 16;

/// The share of the map that entries which are used often may fill. The others leave in the order in which they came. By default
/// the share is 0.97, which leaves a new entry in a full map no time to be used a second time.
const FOR_FREQUENT: f64 = 0.5;

/// The fewest entries for which the map has several parts, each with its own lock. Each part has a bound, so with few entries
/// the bound of all would be far from the sum.
const ENTRIES_A_PART: usize = 1024;

/// A bounded map from `K` to `V`. It evicts an entry that was not used recently.
pub(crate) struct BoundedMap<K, V> {
    entries: Cache<K, V, UnitWeighter, RandomState, Eviction<V>>,
    /// Held while an entry is added, so that each key is added once.
    adding: Mutex<()>,
    counts: Arc<Counts>,
}

/// How many entries there are, and how many were evicted.
#[derive(Default)]
struct Counts {
    entries: AtomicUsize,
    evicted: AtomicU64,
}

/// What decides about the eviction of entries.
struct Eviction<V> {
    must_stay: fn(&V) -> bool,
    counts: Arc<Counts>,
    limit: usize,
}

impl<K: Clone + Eq + Hash, V: Clone> BoundedMap<K, V> {
    /// Creates a map of about `max` entries. It grows to [`GROWTH`] times that while all `must_stay`.
    ///
    /// `must_stay` is called under a lock of the map.
    pub(crate) fn new(max: usize, must_stay: fn(&V) -> bool) -> Self {
        let max = max.max(1);
        let parts = (max / ENTRIES_A_PART).min(4 * copies()).max(1);
        let parts = 1 << parts.ilog2();
        // The entries are spread by chance, so a part has room for a few more than its share (six standard deviations).
        let share = max.div_ceil(parts);
        let room = if parts == 1 { 0 } else { parts * 6 * share.isqrt() };
        let counts = Arc::<Counts>::default();
        let eviction = Eviction { must_stay, counts: Arc::clone(&counts), limit: max.saturating_mul(GROWTH) };
        let options = OptionsBuilder::new()
            .shards(parts)
            .estimated_items_capacity(max)
            .weight_capacity((max + room) as u64)
            .hot_allocation(FOR_FREQUENT)
            .build()
            .expect("all that it needs is set");
        let entries = Cache::with_options(options, UnitWeighter, RandomState::new(), eviction);
        Self { entries, adding: Mutex::new(()), counts }
    }

    pub(crate) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.entries.get(key)
    }

    /// Adds an entry, unless another thread was faster, and returns the one that is in the map.
    pub(crate) fn add(&self, key: K, value: V) -> V {
        let adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = self.entries.get(&key) {
            drop(adding);
            return known;
        }
        self.counts.entries.fetch_add(1, Relaxed);
        let evicted = self.entries.insert_with_lifecycle(key, value.clone());
        // The lock first.
        drop(adding);
        drop(evicted);
        value
    }

    /// Removes the entry of a key, whether it must stay or not, and returns it. This is not an eviction.
    pub(crate) fn remove<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<(K, V)>
    where
        K: Borrow<Q>,
    {
        let removed = self.entries.remove(key);
        if removed.is_some() {
            self.counts.entries.fetch_sub(1, Relaxed);
        }
        removed
    }

    /// Evicts the entry of a key if `is_meant` says so.
    pub(crate) fn remove_if<Q: Eq + Hash + ?Sized>(&self, key: &Q, is_meant: impl Fn(&V) -> bool) -> bool
    where
        K: Borrow<Q>,
    {
        let removed = self.entries.remove_if(key, is_meant);
        if removed.is_some() {
            self.counts.entries.fetch_sub(1, Relaxed);
            self.counts.evicted.fetch_add(1, Relaxed);
        }
        removed.is_some()
    }

    /// Returns the entries, one after another. No lock is held between two of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, V)> {
        self.entries.iter()
    }

    /// Returns whether there is an entry for which `is_so` returns `true`. It is called under a lock of the map, and no entry
    /// is cloned or dropped.
    pub(crate) fn any(&self, is_so: impl Fn(&V) -> bool) -> bool {
        let found = std::cell::Cell::new(false);
        self.entries.retain(|_, value| {
            if !found.get() {
                found.set(is_so(value));
            }
            true
        });
        found.get()
    }

    /// Returns how many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.counts.entries.load(Relaxed)
    }

    /// Returns how many entries were evicted.
    pub(crate) fn evicted(&self) -> u64 {
        self.counts.evicted.load(Relaxed)
    }
}

impl<V> Clone for Eviction<V> {
    fn clone(&self) -> Self {
        Self { must_stay: self.must_stay, counts: Arc::clone(&self.counts), limit: self.limit }
    }
}

impl<K, V> Lifecycle<K, V> for Eviction<V> {
    /// The evicted entries.
    type RequestState = Vec<(K, V)>;

    fn is_pinned(&self, _: &K, value: &V) -> bool {
        self.counts.entries.load(Relaxed) <= self.limit && (self.must_stay)(value)
    }

    fn begin_request(&self) -> Self::RequestState {
        Vec::new()
    }

    fn on_evict(&self, evicted: &mut Self::RequestState, key: K, value: V) {
        self.counts.entries.fetch_sub(1, Relaxed);
        self.counts.evicted.fetch_add(1, Relaxed);
        evicted.push((key, value));
    }
}
