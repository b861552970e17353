//! A bounded concurrent map that does not evict an entry that must stay. Pools keep their identities in it, and caches their
//! narrowed caches.
//!
//! # Which entry leaves
//!
//! When there are too many entries, each new one makes room: a hand goes on around them and takes the first that may leave. It
//! looks at a few entries and then stops, so the cost of a new entry does not grow with the number of those that stay. Until then
//! the map grows, up to [`Rules::growth`] times its bound. Above that, the oldest entry leaves in any case.
//!
//! Entries that never got a token are apart from the others. They displace each other, and the others only from one eighth of the
//! map. So requests with made-up identities do not displace the good ones.
//!
//! # Why no user code runs under its locks, except that of keys
//!
//! An entry that leaves the map is returned, and dropped by the caller: the `Drop` of a source is user code. Whether an entry
//! must stay is asked under a lock, so it may take only locks under which the map is not used. The `Hash`, `Eq` and `Clone` of
//! keys run under a lock too.

use std::{
    borrow::Borrow,
    cell::Cell,
    hash::Hash,
    sync::{
        PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use crate::{
    cache::eviction_order::{EvictionOrder, Queue},
    per_core::copies,
    sync::{Entries, Mutex, MutexGuard, entries},
};

/// How many entries the hand looks at for a new entry, in each queue.
const STEPS: usize = 16;

/// The bound from which on a map may have an eighth more. In so many additions, each hand goes around once. In a smaller map it does
/// so in a few.
const WITHOUT_SLACK: usize = 64;

/// The fewest entries for which the map has several parts, each with its own lock.
const ENTRIES_A_PART: usize = 1024;

/// A bounded map from `K` to `V`. It evicts an entry that was not used recently.
pub(crate) struct BoundedMap<K, V> {
    entries: Entries<K, V>,
    /// Held while an entry is added or removed, so that each key is added once.
    order: Mutex<EvictionOrder<K>>,
    rules: Rules<V>,
    max: usize,
    count: AtomicUsize,
    evicted: AtomicU64,
}

/// What decides about the eviction of entries. All of these are called under locks of the map.
pub(crate) struct Rules<V> {
    /// How many times its bound the map grows while entries must stay.
    pub(crate) growth: usize,
    pub(crate) must_stay: fn(&V) -> bool,
    /// Returns whether the entry ever got a token.
    pub(crate) has_succeeded: fn(&V) -> bool,
    /// Returns whether the entry was used since this was asked last.
    pub(crate) take_use: fn(&V) -> bool,
    /// Where the map notes the entry's place in the order.
    pub(crate) place: fn(&V) -> &AtomicU64,
}

/// A key of the order, and the entry.
type Left<K, V> = (Option<K>, Option<(K, V)>);

/// What the hand does with an entry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// It was removed already.
    Gone,
    /// It is not one of those that never got a token.
    Succeeded,
    Stays,
    /// It stays because it was used since the hand was there last.
    Used,
    Leaves,
}

impl<K: Clone + Eq + Hash, V: Clone> BoundedMap<K, V> {
    /// Creates a map of `max` entries. It has an eighth more while all of these are used, and [`Rules::growth`] times as many
    /// while they must stay.
    pub(crate) fn new(max: usize, rules: Rules<V>) -> Self {
        let max = max.max(1);
        let parts = (max / ENTRIES_A_PART).min(4 * copies()).max(1);
        let entries = entries(1 << parts.ilog2(), max);
        let order = Mutex::new(EvictionOrder::default());
        Self { entries, order, rules, max, count: AtomicUsize::new(0), evicted: AtomicU64::new(0) }
    }

    pub(crate) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.entries.get(key)
    }

    /// Adds an entry, unless another thread was faster, and returns the one that is in the map.
    pub(crate) fn add(&self, key: K, value: V) -> V {
        let mut order = self.lock();
        if let Some(known) = self.entries.get(&key) {
            drop(order);
            return known;
        }
        let place = order.add(key.clone());
        (self.rules.place)(&value).store(place, Relaxed);
        self.count.fetch_add(1, Relaxed);
        self.entries.insert(key, value.clone());
        let gone = self.make_room(&mut order);
        // The lock first.
        drop(order);
        drop(gone);
        value
    }

    /// Removes the entry of a key, whether it must stay or not, and returns it. This is not an eviction.
    pub(crate) fn remove<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<(K, V)>
    where
        K: Borrow<Q>,
    {
        self.take_if(key, |_| true)
    }

    /// Evicts the entry of a key if `is_meant` says so.
    pub(crate) fn remove_if<Q: Eq + Hash + ?Sized>(&self, key: &Q, is_meant: impl Fn(&V) -> bool) -> bool
    where
        K: Borrow<Q>,
    {
        let removed = self.take_if(key, is_meant);
        self.evicted.fetch_add(u64::from(removed.is_some()), Relaxed);
        removed.is_some()
    }

    fn take_if<Q: Eq + Hash + ?Sized>(&self, key: &Q, is_meant: impl Fn(&V) -> bool) -> Option<(K, V)>
    where
        K: Borrow<Q>,
    {
        let mut order = self.lock();
        let removed = self.entries.remove_if(key, is_meant);
        let from_order = removed.as_ref().and_then(|(_, value)| order.remove((self.rules.place)(value).load(Relaxed)));
        self.count.fetch_sub(usize::from(removed.is_some()), Relaxed);
        // The lock first.
        drop(order);
        drop(from_order);
        removed
    }

    /// Returns the entries, one after another. No lock is held between two of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, V)> {
        self.entries.iter()
    }

    /// Returns whether there is an entry for which `is_so` returns `true`. It is called under a lock of the map, and no entry
    /// is cloned or dropped.
    pub(crate) fn any(&self, is_so: impl Fn(&V) -> bool) -> bool {
        let found = Cell::new(false);
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
        self.count.load(Relaxed)
    }

    /// Returns how many entries were evicted.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted.load(Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, EvictionOrder<K>> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Evicts what is too much, as far as a few steps find it. Returns what the caller drops after the lock is released.
    fn make_room(&self, order: &mut EvictionOrder<K>) -> Vec<Left<K, V>> {
        let mut gone = Vec::new();
        let mut spared = None;
        let for_new = (self.max / 8).max(1);
        for (queue, keeps) in [(Queue::New, for_new), (Queue::Succeeded, self.max - for_new)] {
            for _ in 0..STEPS.min(order.len(queue)) {
                if self.len() <= self.max || order.len(queue) <= keeps {
                    break;
                }
                let Some((place, key)) = order.next(queue) else { break };
                let (verdict, entry) = self.visit(key, |value| self.judge(queue, value));
                match verdict {
                    Verdict::Stays => {}
                    Verdict::Used => spared = spared.or(Some(place)),
                    Verdict::Succeeded => order.promote(place),
                    Verdict::Gone | Verdict::Leaves => gone.push((order.remove(place), entry)),
                }
            }
        }
        let slack = if self.max < WITHOUT_SLACK { 0 } else { self.max / 8 };
        if let Some(place) = spared.filter(|_| self.len() > self.max.saturating_add(slack))
            && let Some(key) = order.key(Queue::Succeeded, place)
        {
            let leaves_unless_needed =
                |value: &V| if (self.rules.must_stay)(value) { Verdict::Stays } else { Verdict::Leaves };
            if let (Verdict::Leaves, entry) = self.visit(key, leaves_unless_needed) {
                gone.push((order.remove(place), entry));
            }
        }
        for _ in 0..STEPS {
            if self.len() <= self.max.saturating_mul(self.rules.growth) {
                break;
            }
            let queue = if order.len(Queue::New) > for_new { Queue::New } else { Queue::Succeeded };
            let Some((place, key)) = order.oldest(queue) else { break };
            let leaves = |value: &V| match queue {
                Queue::New if (self.rules.has_succeeded)(value) => Verdict::Succeeded,
                _ => Verdict::Leaves,
            };
            match self.visit(key, leaves) {
                (Verdict::Succeeded, _) => order.promote(place),
                (_, entry) => gone.push((order.remove(place), entry)),
            }
        }
        gone
    }

    fn judge(&self, queue: Queue, value: &V) -> Verdict {
        let Rules { must_stay, has_succeeded, take_use, .. } = self.rules;
        match queue {
            Queue::New if has_succeeded(value) => Verdict::Succeeded,
            _ if must_stay(value) => Verdict::Stays,
            Queue::Succeeded if take_use(value) => Verdict::Used,
            _ => Verdict::Leaves,
        }
    }

    /// Judges the entry of a key, and evicts it if it leaves.
    fn visit(&self, key: &K, judge: impl Fn(&V) -> Verdict) -> (Verdict, Option<(K, V)>) {
        let verdict = Cell::new(Verdict::Gone);
        let entry = self.entries.remove_if(key, |value| {
            verdict.set(judge(value));
            verdict.get() == Verdict::Leaves
        });
        if entry.is_some() {
            self.count.fetch_sub(1, Relaxed);
            self.evicted.fetch_add(1, Relaxed);
        }
        (verdict.get(), entry)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, atomic::AtomicBool};

    use super::*;

    #[derive(Default)]
    struct Probe {
        stays: bool,
        has_succeeded: bool,
        is_used: AtomicBool,
        asked: AtomicUsize,
        place: AtomicU64,
    }

    const RULES: Rules<Arc<Probe>> = Rules {
        growth: 2,
        must_stay: |probe| {
            probe.asked.fetch_add(1, Relaxed);
            probe.stays
        },
        has_succeeded: |probe| probe.has_succeeded,
        take_use: |probe| probe.is_used.swap(false, Relaxed),
        place: |probe| &probe.place,
    };

    fn add(map: &BoundedMap<usize, Arc<Probe>>, keys: std::ops::Range<usize>, has_succeeded: bool, stays: bool) {
        for key in keys {
            map.add(key, Arc::new(Probe { stays, has_succeeded, ..Probe::default() }));
        }
    }

    fn kept(map: &BoundedMap<usize, Arc<Probe>>, keys: std::ops::Range<usize>) -> usize {
        keys.filter(|key| map.get(key).is_some()).count()
    }

    #[test]
    fn an_entry_is_added_at_the_same_cost_however_many_must_stay() {
        for has_succeeded in [false, true] {
            let map = BoundedMap::new(5_000, RULES);
            add(&map, 0..20_000, has_succeeded, true);
            assert_eq!(map.len(), 10_000);
            let asked = || map.iter().map(|(_, probe)| probe.asked.load(Relaxed)).sum::<usize>();
            let before = asked();
            add(&map, 20_000..20_100, has_succeeded, true);
            assert!(asked() <= before + 100 * 2 * STEPS, "{} for 100 entries", asked() - before);
            assert_eq!(map.len(), 10_000);
        }
    }

    #[test]
    fn entries_that_never_got_a_token_displace_others_from_one_eighth_of_the_map_at_most() {
        for stays in [false, true] {
            let map = BoundedMap::new(800, RULES);
            add(&map, 0..800, true, false);
            add(&map, 800..20_000, false, stays);
            assert_eq!(kept(&map, 0..800), 700);
            assert_eq!(map.len(), if stays { 1600 } else { 800 });
            assert!(map.get(&19_999).is_some() && map.get(&800).is_none(), "the oldest leaves first");
        }
    }

    #[test]
    fn an_entry_that_is_used_stays_longer_than_those_that_are_not() {
        let map = BoundedMap::new(1_000, RULES);
        add(&map, 0..1_000, true, false);
        for round in 1..20 {
            (0..500).filter_map(|key| map.get(&key)).for_each(|probe| probe.is_used.store(true, Relaxed));
            add(&map, round * 1_000..round * 1_000 + 300, true, false);
        }
        assert_eq!(kept(&map, 0..500), 500);
        assert!(map.len() <= 1_126, "{}", map.len());
    }

    #[test]
    fn what_is_removed_leaves_nothing_in_the_order() {
        let map = BoundedMap::new(10, RULES);
        for key in 0..100 {
            add(&map, key..key + 1, key % 2 == 0, false);
            assert!(map.remove_if(&key, |_| true));
        }
        let order = map.lock();
        assert_eq!((order.len(Queue::New), order.len(Queue::Succeeded)), (0, 0));
    }

    #[test]
    fn the_bound_may_be_any_number() {
        for max in [0, 1, 2, usize::MAX / 2, usize::MAX] {
            let map = BoundedMap::new(max, RULES);
            add(&map, 0..100, true, false);
            assert_eq!(map.len(), max.clamp(1, 100));
        }
    }

    #[test]
    fn any_returns_whether_it_is_so_for_one_entry() {
        let map = BoundedMap::new(10, RULES);
        add(&map, 0..3, true, false);
        assert!(!map.any(|probe| probe.stays));
        add(&map, 3..4, true, true);
        assert!(map.any(|probe| probe.stays));
        assert_eq!(map.len(), 4, "it removes none");
    }

    #[test]
    fn above_its_growth_the_oldest_entry_leaves_though_it_must_stay() {
        let map = BoundedMap::new(16, RULES);
        add(&map, 0..32, true, true);
        add(&map, 32..42, false, true);
        assert_eq!(map.len(), 32);
        // New entries have an eighth of the map.
        assert_eq!((kept(&map, 0..32), kept(&map, 40..42)), (30, 2));
    }

    #[test]
    fn above_its_growth_an_entry_that_succeeded_meanwhile_stays() {
        let map =
            BoundedMap::new(100, Rules { has_succeeded: |probe: &Arc<Probe>| probe.is_used.load(Relaxed), ..RULES });
        add(&map, 0..300, false, true);
        assert_eq!(map.len(), 200);
        let before: Vec<_> = map.iter().collect();
        before.iter().for_each(|(_, probe)| probe.is_used.store(true, Relaxed));
        add(&map, 300..301, false, true);
        assert!(before.iter().all(|(key, _)| map.get(key).is_some()));
    }
}
