//! Stores, and the suite that checks them.

use std::time::Duration;

use tower_bearer::{
    conformance,
    store::{LeaseAnswer, LeaseOwner, MemoryStore, StoreKey, TokenStore},
};

#[tokio::test(start_paused = true)]
async fn the_memory_store_keeps_the_contract() {
    conformance::check_store(MemoryStore::new()).await;
    conformance::check_store(MemoryStore::new().boxed()).await;
}

#[tokio::test(start_paused = true)]
async fn no_fence_comes_back_after_the_data_is_lost() {
    let (store, key, second) = (MemoryStore::new(), StoreKey::new([7; 32]), Duration::from_secs(1));
    let lease = async |owner| match store.lease(key, LeaseOwner(owner), second).await.unwrap() {
        LeaseAnswer::Given(lease) => lease,
        LeaseAnswer::Held(_) => panic!("nobody holds it"),
    };
    let before = lease(1).await;
    store.clear();
    let after = lease(2).await;
    assert!(after.fence > before.fence);
    assert!(!store.commit(key, before, b"late".to_vec(), second).await.unwrap());
}
