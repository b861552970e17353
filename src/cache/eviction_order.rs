//! The order in which a map looks for an entry that may leave.

use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
};

/// The keys of a map, in two queues. Each key has a place, which is a number that grows with its age in the map.
pub(super) struct EvictionOrder<K> {
    new: Keys<K>,
    succeeded: Keys<K>,
    last: u64,
}

/// One of the two queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queue {
    /// Of the entries that never got a token, as far as the hand has seen.
    New,
    Succeeded,
}

struct Keys<K> {
    by_place: BTreeMap<u64, K>,
    /// The place that was looked at last.
    hand: u64,
}

impl<K> EvictionOrder<K> {
    /// Adds a key to the new ones, and returns its place.
    pub(super) fn add(&mut self, key: K) -> u64 {
        self.last += 1;
        self.new.by_place.insert(self.last, key);
        self.last
    }

    pub(super) fn len(&self, queue: Queue) -> usize {
        self.keys(queue).by_place.len()
    }

    pub(super) fn key(&self, queue: Queue, place: u64) -> Option<&K> {
        self.keys(queue).by_place.get(&place)
    }

    pub(super) fn oldest(&self, queue: Queue) -> Option<(u64, &K)> {
        self.keys(queue).by_place.first_key_value().map(|(place, key)| (*place, key))
    }

    /// Moves the hand to the next key, and returns it. After the last comes the first.
    pub(super) fn next(&mut self, queue: Queue) -> Option<(u64, &K)> {
        let Keys { by_place, hand } = match queue {
            Queue::New => &mut self.new,
            Queue::Succeeded => &mut self.succeeded,
        };
        let next = by_place.range((Excluded(*hand), Unbounded)).next().or_else(|| by_place.first_key_value());
        let (place, key) = next?;
        *hand = *place;
        Some((*place, key))
    }

    /// Moves a key from the new ones to those that got a token.
    pub(super) fn promote(&mut self, place: u64) {
        if let Some(key) = self.new.by_place.remove(&place) {
            self.succeeded.by_place.insert(place, key);
        }
    }

    /// Removes a key, and returns it.
    pub(super) fn remove(&mut self, place: u64) -> Option<K> {
        self.new.by_place.remove(&place).or_else(|| self.succeeded.by_place.remove(&place))
    }

    fn keys(&self, queue: Queue) -> &Keys<K> {
        match queue {
            Queue::New => &self.new,
            Queue::Succeeded => &self.succeeded,
        }
    }
}

impl<K> Default for EvictionOrder<K> {
    fn default() -> Self {
        let keys = || Keys { by_place: BTreeMap::new(), hand: 0 };
        Self { new: keys(), succeeded: keys(), last: 0 }
    }
}
