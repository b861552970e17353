//! A store in the memory of one process. It shows the contract of all stores.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::store::{
    news::{NewsChannel, NewsReceiver},
    store_error::StoreError,
    store_key::StoreKey,
    token_store::{Lease, LeaseAnswer, LeaseOwner, Loaded, TokenStore},
};

/// So many keys are kept before those that are over are looked for.
const FIRST_SWEEP: usize = 64;

/// A [`TokenStore`] in memory, for tests and as a model for other stores. Clones share what is stored.
///
/// It shares nothing with other processes. Within one process, it lets several caches share one token.
#[derive(Clone, Default)]
pub struct MemoryStore(Arc<Shared>);

#[derive(Default)]
struct Shared {
    contents: Mutex<Contents>,
    news: NewsChannel,
}

#[derive(Default)]
struct Contents {
    entries: HashMap<StoreKey, Entry>,
    /// It is not lost with the entries, so that a fence is never given twice.
    last_fence: u64,
    next_sweep: usize,
}

#[derive(Default)]
struct Entry {
    record: Option<Held<Vec<u8>>>,
    lease: Option<Held<Lease>>,
}

/// Something that is held until a time. A time that cannot be represented never comes.
struct Held<T> {
    it: T,
    until: Option<Instant>,
}

impl MemoryStore {
    /// Creates an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Loses all records and leases, as an eviction or a failover may. Later fences are still greater than the earlier ones.
    pub fn clear(&self) {
        self.contents().entries.clear();
        self.0.news.missed();
    }

    /// Returns all records as they are stored, for a test that looks for secrets in them.
    #[must_use]
    pub fn records(&self) -> Vec<(StoreKey, Vec<u8>)> {
        let now = Instant::now();
        let record = |(key, entry): (&StoreKey, &Entry)| Some((*key, Held::get(entry.record.as_ref(), now)?.clone()));
        self.contents().entries.iter().filter_map(record).collect()
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.0.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TokenStore for MemoryStore {
    async fn load(&self, key: StoreKey) -> Result<Loaded, StoreError> {
        let (contents, now) = (self.contents(), Instant::now());
        let Some(entry) = contents.entries.get(&key) else { return Ok(Loaded::default()) };
        let lease = entry.lease.as_ref().filter(|lease| lease.is_held(now));
        Ok(Loaded::new(Held::get(entry.record.as_ref(), now).cloned(), lease.map(|lease| lease.left(now))))
    }

    async fn lease(&self, key: StoreKey, owner: LeaseOwner, length: Duration) -> Result<LeaseAnswer, StoreError> {
        let (mut contents, now) = (self.contents(), Instant::now());
        let next_fence = contents.last_fence + 1;
        let entry = contents.entry(key, now);
        let lease = match &entry.lease {
            Some(held) if held.is_held(now) && held.it.owner != owner => return Ok(LeaseAnswer::Held(held.left(now))),
            Some(held) if held.is_held(now) => held.it,
            _ => Lease { owner, fence: next_fence },
        };
        entry.lease = Some(Held::new(lease, now, length));
        contents.last_fence = contents.last_fence.max(lease.fence);
        Ok(LeaseAnswer::Given(lease))
    }

    async fn commit(&self, key: StoreKey, lease: Lease, record: Vec<u8>, keep: Duration) -> Result<bool, StoreError> {
        let (mut contents, now) = (self.contents(), Instant::now());
        let entry = contents.entry(key, now);
        if Held::get(entry.lease.as_ref(), now) != Some(&lease) {
            return Ok(false);
        }
        entry.record = Some(Held::new(record, now, keep));
        drop(contents);
        self.0.news.changed(key);
        Ok(true)
    }

    async fn release(&self, key: StoreKey, lease: Lease) -> Result<(), StoreError> {
        let (mut contents, now) = (self.contents(), Instant::now());
        let entry = contents.entry(key, now);
        if Held::get(entry.lease.as_ref(), now) == Some(&lease) {
            entry.lease = None;
            drop(contents);
            self.0.news.changed(key);
        }
        Ok(())
    }

    fn news(&self) -> NewsReceiver {
        self.0.news.receiver()
    }
}

impl Contents {
    /// Returns the entry of a key. From time to time, it drops what is over.
    fn entry(&mut self, key: StoreKey, now: Instant) -> &mut Entry {
        if self.entries.len() >= self.next_sweep.max(FIRST_SWEEP) {
            self.entries.retain(|_, entry| {
                Held::get(entry.record.as_ref(), now).is_some() || Held::get(entry.lease.as_ref(), now).is_some()
            });
            self.next_sweep = self.entries.len() * 2;
        }
        self.entries.entry(key).or_default()
    }
}

impl<T> Held<T> {
    fn new(it: T, now: Instant, length: Duration) -> Self {
        Self { it, until: now.checked_add(length) }
    }

    fn get(held: Option<&Self>, now: Instant) -> Option<&T> {
        held.filter(|held| held.is_held(now)).map(|held| &held.it)
    }

    fn is_held(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    fn left(&self, now: Instant) -> Duration {
        self.until.map_or(Duration::MAX, |until| until.saturating_duration_since(now))
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("keys", &self.contents().entries.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn key(n: usize) -> StoreKey {
        StoreKey::new([u8::try_from(n).unwrap(); 32])
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_over_is_dropped_and_what_is_held_is_kept() {
        let (store, owner) = (MemoryStore::new(), LeaseOwner(1));
        let held = async |n, lease, keep| {
            let LeaseAnswer::Given(given) = store.lease(key(n), owner, lease).await.unwrap() else {
                panic!("it is free")
            };
            assert!(store.commit(key(n), given, vec![1], keep).await.unwrap());
        };
        held(0, SECOND, 9 * SECOND).await;
        held(1, 9 * SECOND, SECOND).await;
        for n in 2..FIRST_SWEEP - 1 {
            held(n, SECOND, SECOND).await;
        }
        advance(2 * SECOND).await;
        held(FIRST_SWEEP, SECOND, SECOND).await;
        assert_eq!(store.contents().entries.len(), 3);
        assert_eq!(store.load(key(0)).await.unwrap().record, Some(vec![1]));
        assert_eq!(store.load(key(1)).await.unwrap().leased_for, Some(7 * SECOND));
        assert_eq!(store.contents().next_sweep, 6, "twice what was left");
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_listen_are_told_that_all_was_lost() {
        let store = MemoryStore::new();
        let mut news = store.news();
        store.clear();
        assert_eq!(news.next().await, crate::store::News::Missed);
    }
}
