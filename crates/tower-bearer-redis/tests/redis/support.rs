//! What most tests need.

use std::{array, time::Duration};

use tokio::time::Instant;
use tower_bearer::store::{Lease, LeaseAnswer, LeaseOwner, StoreError, StoreKey, TokenStore};
use tower_bearer_redis::{RedisStore, RedisStoreError};

pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// A call may take so much longer than its limit on a busy machine.
pub(crate) const SLACK: Duration = Duration::from_secs(1);

/// Creates a store that waits longer than by default, for tests on a busy machine that are not about time.
pub(crate) fn patient(url: &str) -> Result<RedisStore, RedisStoreError> {
    RedisStore::builder(url).timeout(Duration::from_secs(5)).build()
}

pub(crate) fn key() -> StoreKey {
    StoreKey::new(array::from_fn(|_| fastrand::u8(..)))
}

pub(crate) fn owner() -> LeaseOwner {
    LeaseOwner(fastrand::u128(..))
}

pub(crate) async fn given(store: &RedisStore, key: StoreKey, owner: LeaseOwner) -> Lease {
    match store.lease(key, owner, MINUTE).await.expect("a lease") {
        LeaseAnswer::Given(lease) => lease,
        LeaseAnswer::Held(left) => panic!("held for {left:?}"),
    }
}

pub(crate) async fn commit(store: &RedisStore, key: StoreKey, lease: Lease, record: &[u8]) -> Result<bool, StoreError> {
    store.commit(key, lease, record.to_vec(), MINUTE).await
}

pub(crate) async fn record(store: &RedisStore, key: StoreKey) -> Option<Vec<u8>> {
    store.load(key).await.expect("load").record
}

/// Waits until the store answers, and returns how long that took. Each call until then must end.
pub(crate) async fn recovered(store: &RedisStore) -> Duration {
    let start = Instant::now();
    loop {
        let call = Instant::now();
        let loaded = store.load(key()).await;
        assert!(call.elapsed() < Duration::from_millis(250) + SLACK, "a call took {:?}", call.elapsed());
        if loaded.is_ok() {
            return start.elapsed();
        }
        assert!(start.elapsed() < Duration::from_secs(30), "{loaded:?}, {:?}", store.status());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
