//! A token that ended for one process ends for all.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use futures::future::join_all;
use tokio::time::{Instant, sleep};
use tower_bearer::{
    AccessToken, Judged, Reason, TokenCache, TokenSource,
    store::{
        Lease, LeaseAnswer, LeaseOwner, Loaded, MemoryStore, NewsChannel, NewsReceiver, SharedStore, StoreError,
        StoreKey, Stored, TokenStore,
    },
    testing::{Failure, Issuer, RefreshTokens, TokenFormat},
};

use super::{
    faults::{Fault, Faulty},
    keys,
    processes::Fleet,
};
use crate::support::{SECOND, accepted, grant, issuer, obtain};

async fn warm(fleet: &Fleet, n: usize) -> Vec<TokenCache> {
    let caches: Vec<_> = (0..n).map(|_| fleet.cache()).collect();
    for cache in &caches {
        cache.token().await.unwrap();
    }
    caches
}

#[tokio::test(start_paused = true)]
async fn a_token_that_one_process_rejected_is_not_used_by_others_after_a_second() {
    let fleet = Fleet::new(issuer());
    let caches = warm(&fleet, 8).await;
    let rejected = caches[0].token().await.unwrap();
    caches[0].invalidate(&rejected);
    sleep(SECOND).await;
    for cache in &caches {
        assert_ne!(cache.token().await.unwrap().secret(), rejected.secret());
    }
    assert_eq!(fleet.issuer.counts().token_requests, 2, "one for all");
}

#[tokio::test(start_paused = true)]
async fn all_caches_over_one_source_lose_a_rejected_token_as_soon_as_the_store_tells_it() {
    let fleet = Fleet::new(issuer());
    let (process, other) = (fleet.process(), fleet.cache());
    let stored = fleet.stored(&process);
    let caches = [TokenCache::new(stored.clone()), TokenCache::new(stored)];
    for cache in &caches {
        cache.token().await.unwrap();
    }
    let rejected = other.token().await.unwrap();
    assert_eq!(caches[1].token().await.unwrap().secret(), rejected.secret());
    // The first round is over.
    sleep(SECOND).await;
    other.invalidate(&rejected);
    sleep(SECOND / 10).await;
    assert_eq!(process.status().withdrawn, 2);
    for cache in &caches {
        assert_ne!(cache.token().await.unwrap().secret(), rejected.secret());
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_rejected_in_one_process_withdraws_the_token_from_all() {
    let fleet = Fleet::new(issuer());
    let caches = warm(&fleet, 4).await;
    let rejected = caches[0].token().await.unwrap();
    let send = async |token: AccessToken| Ok::<_, Infallible>(token.secret() == rejected.secret());
    let judge = |is_rejected: &bool| if *is_rejected { Judged::REJECTED } else { Judged::ACCEPTED };
    assert_eq!(caches[0].call(send, judge).await.unwrap(), Ok(false));
    sleep(SECOND).await;
    for cache in &caches {
        assert_ne!(cache.token().await.unwrap().secret(), rejected.secret());
        let next = cache.reject(&rejected).await.unwrap();
        assert_ne!(next.secret(), rejected.secret(), "a late rejection");
    }
    assert_eq!(fleet.issuer.counts().token_requests, 2, "one for all");
}

/// The lease of the renewal is in the way of the rejection.
#[tokio::test(start_paused = true)]
async fn a_token_that_is_rejected_during_a_renewal_of_another_process_is_withdrawn_from_all() {
    let fleet = Fleet::new(issuer());
    let caches = warm(&fleet, 4).await;
    let rejected = caches[0].token().await.unwrap();
    let renewing = fleet.stored(&fleet.process());
    obtain(&renewing).await.unwrap();
    fleet.issuer.delay(SECOND / 2);
    let rejecting = async {
        sleep(SECOND / 10).await;
        caches[0].invalidate(&rejected);
        caches[0].token().await.unwrap()
    };
    let (renewed, next) = tokio::join!(renewing.obtain(Reason::Ageing), rejecting);
    assert_eq!(renewed.unwrap().secret(), next.secret());
    sleep(SECOND).await;
    for cache in &caches {
        assert_eq!(cache.token().await.unwrap().secret(), next.secret());
    }
    assert_eq!(fleet.issuer.counts().token_requests, 2);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_revoked_during_a_slow_renewal_of_another_process_is_withdrawn_from_all() {
    let fleet = Fleet::new(issuer());
    let caches = warm(&fleet, 4).await;
    let revoked = caches[0].token().await.unwrap();
    let renewing = fleet.stored(&fleet.process());
    obtain(&renewing).await.unwrap();
    fleet.issuer.delay(5 * SECOND);
    let revoking = async {
        sleep(SECOND / 10).await;
        let _ = caches[0].revoke().await;
    };
    tokio::join!(renewing.obtain(Reason::Ageing), revoking).0.unwrap();
    sleep(SECOND).await;
    for cache in &caches {
        assert_ne!(cache.token().await.unwrap().secret(), revoked.secret());
    }
}

/// News may be lost, so records are read as well.
#[tokio::test(start_paused = true)]
async fn a_store_without_news_withdraws_within_a_second() {
    let fleet = Fleet::new(issuer());
    let caches: Vec<_> = (0..4)
        .map(|_| {
            let store = Faulty::new(fleet.store.clone(), Fault::None).without_news();
            fleet.cache_of(&SharedStore::builder(store, keys()).wall_clock(fleet.clock()).build())
        })
        .collect();
    for cache in &caches {
        cache.token().await.unwrap();
    }
    let rejected = caches[0].token().await.unwrap();
    caches[0].invalidate(&rejected);
    sleep(SECOND).await;
    for cache in &caches {
        assert_ne!(cache.token().await.unwrap().secret(), rejected.secret());
    }
}

#[tokio::test(start_paused = true)]
async fn a_rejected_token_is_not_taken_from_the_store_while_its_successor_is_requested() {
    let fleet = Fleet::new(issuer());
    let caches = warm(&fleet, 2).await;
    let rejected = caches[0].token().await.unwrap();
    fleet.issuer.delay(3 * SECOND);
    caches[0].invalidate(&rejected);
    sleep(Duration::from_millis(100)).await;
    let cold: Vec<_> = (0..4).map(|_| fleet.cache()).collect();
    for token in join_all(cold.iter().map(TokenCache::token)).await {
        assert_ne!(token.unwrap().secret(), rejected.secret());
    }
    assert_eq!(fleet.issuer.counts().token_requests, 2);
}

/// The record cannot be changed, so it still has the rejected token.
#[tokio::test(start_paused = true)]
async fn a_rejected_token_does_not_come_back_from_a_store_that_did_not_learn_of_it() {
    let fleet = Fleet::new(issuer());
    let faulty = Faulty::new(fleet.store.clone(), Fault::None);
    let process = SharedStore::builder(faulty.clone(), keys()).wall_clock(fleet.clock()).build();
    let source = fleet.stored(&process);
    let rejected = obtain(&source).await.unwrap();
    faulty.set(Fault::ReadOnly);
    let next = source.obtain(Reason::rejected(rejected.clone())).await.unwrap();
    assert_ne!(next.secret(), rejected.secret());
    sleep(20 * SECOND).await;
    for why in [Reason::Ageing, Reason::First] {
        assert_ne!(source.obtain(why).await.unwrap().secret(), rejected.secret());
    }
    faulty.set(Fault::None);
    sleep(20 * SECOND).await;
    assert_ne!(obtain(&source).await.unwrap().secret(), rejected.secret());
    // Now the others learn of it too.
    assert_ne!(obtain(&fleet.stored(&fleet.process())).await.unwrap().secret(), rejected.secret());
}

#[tokio::test(start_paused = true)]
async fn the_token_of_before_is_withdrawn_but_a_renewed_one_stays() {
    let fleet = Fleet::new(issuer());
    let caches = warm(&fleet, 2).await;
    let first = caches[0].token().await.unwrap();
    // Another process renews ahead of time. The first token is still good.
    let process = fleet.process();
    fleet.stored(&process).obtain(Reason::rejected(grant_token(&fleet).await)).await.unwrap();
    sleep(2 * SECOND).await;
    let status = process.status();
    assert_eq!(status.withdrawn, 0);
    assert_eq!(caches[1].token().await.unwrap().secret(), first.secret());
}

/// The layer sends a rejected request once more. Its second token must not be one that ended together with the first.
#[tokio::test(start_paused = true)]
async fn a_stored_token_that_may_have_ended_together_with_the_rejected_one_is_not_used() {
    let fleet = Fleet::new(issuer());
    // After an outage, each process has a token of its own, and the store has that of one of them.
    let mut sources = Vec::new();
    for _ in 0..4 {
        let faulty = Faulty::new(fleet.store.clone(), Fault::Fail);
        let process = SharedStore::builder(faulty.clone(), keys()).wall_clock(fleet.clock()).build();
        let source = fleet.stored(&process);
        let own = obtain(&source).await.unwrap();
        faulty.set(Fault::None);
        sources.push((source, own));
    }
    sleep(20 * SECOND).await;
    let stored = obtain(&fleet.stored(&fleet.process())).await.unwrap();
    sleep(20 * SECOND).await;
    assert_eq!(fleet.issuer.counts().token_requests, 5);
    fleet.issuer.revoke_all();
    let renewed =
        join_all(sources.iter().map(async |(source, own)| source.obtain(Reason::rejected(own.clone())).await.unwrap()));
    for token in renewed.await {
        assert!(accepted(&fleet.issuer, &token), "it ended together with the rejected one");
    }
    assert_eq!(fleet.issuer.counts().token_requests, 6, "one for all");
    // The others are told that it has ended.
    let next = fleet.stored(&fleet.process()).obtain(Reason::rejected(stored)).await.unwrap();
    assert!(accepted(&fleet.issuer, &next));
    assert_eq!(fleet.issuer.counts().token_requests, 6);
}

/// Perhaps it has not ended.
#[tokio::test(start_paused = true)]
async fn a_stored_token_that_may_have_ended_is_used_if_there_is_no_other() {
    let fleet = Fleet::new(issuer());
    let stored = obtain(&fleet.stored(&fleet.process())).await.unwrap();
    sleep(20 * SECOND).await;
    let own = grant_token(&fleet).await;
    fleet.issuer.fail_until_cleared(Failure::Status(503));
    let used = fleet.stored(&fleet.process()).obtain(Reason::rejected(own)).await.unwrap();
    assert_eq!(used.secret(), stored.secret());
}

async fn grant_token(fleet: &Fleet) -> AccessToken {
    obtain(&grant(fleet.issuer.service())).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_revocation_reaches_all_processes() {
    let issuer = Issuer::builder().token_format(TokenFormat::Opaque).refresh_tokens(RefreshTokens::Rotating).build();
    let fleet = Fleet::new(issuer);
    let caches = warm(&fleet, 4).await;
    let revoked = caches[0].token().await.unwrap();
    // Its own process does not have it.
    let signs_out = fleet.cache();
    signs_out.revoke().await.unwrap_err();
    drop(signs_out);
    sleep(SECOND).await;
    let cold = fleet.cache().token().await.unwrap();
    assert_ne!(cold.secret(), revoked.secret());
    for cache in &caches {
        assert_eq!(cache.token().await.unwrap().secret(), cold.secret());
    }
    let last = fleet.issuer.last_request().unwrap();
    assert_eq!(last.grant_type(), Some("password"), "the refresh token ended too");
    let counts = fleet.issuer.counts();
    assert_eq!((counts.token_requests, counts.refused), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_withdrawn_token_is_not_used_again_if_no_new_one_comes() {
    let fleet = Fleet::new(issuer());
    let caches = warm(&fleet, 2).await;
    let rejected = caches[0].token().await.unwrap();
    fleet.issuer.fail_until_cleared(Failure::Status(503));
    caches[0].invalidate(&rejected);
    sleep(SECOND).await;
    let began = Instant::now();
    assert!(caches[1].token().await.is_err());
    assert!(began.elapsed() < 10 * SECOND);
    fleet.issuer.clear_failures();
    sleep(60 * SECOND).await;
    assert_ne!(caches[1].token().await.unwrap().secret(), rejected.secret());
}

/// A store with its own news, which counts the readings.
#[derive(Clone, Default)]
struct Counting {
    store: MemoryStore,
    news: NewsChannel,
    loads: Arc<AtomicUsize>,
}

impl TokenStore for Counting {
    async fn load(&self, key: StoreKey) -> Result<Loaded, StoreError> {
        self.loads.fetch_add(1, Relaxed);
        self.store.load(key).await
    }

    async fn lease(&self, key: StoreKey, owner: LeaseOwner, length: Duration) -> Result<LeaseAnswer, StoreError> {
        self.store.lease(key, owner, length).await
    }

    async fn commit(&self, key: StoreKey, lease: Lease, record: Vec<u8>, keep: Duration) -> Result<bool, StoreError> {
        self.store.commit(key, lease, record, keep).await
    }

    async fn release(&self, key: StoreKey, lease: Lease) -> Result<(), StoreError> {
        self.store.release(key, lease).await
    }

    fn news(&self) -> NewsReceiver {
        self.news.receiver()
    }
}

#[tokio::test(start_paused = true)]
async fn lost_news_and_a_flood_of_it_cost_few_readings() {
    let (fleet, store) = (Fleet::new(issuer()), Counting::default());
    let process = SharedStore::builder(store.clone(), keys()).wall_clock(fleet.clock()).build();
    let cache = fleet.cache_of(&process);
    cache.token().await.unwrap();
    sleep(SECOND).await;
    let before = store.loads.load(Relaxed);
    for n in 0..1000_u16 {
        store.news.missed();
        for other in 0..3 {
            store.news.changed(StoreKey::new([other + (n % 7) as u8; 32]));
        }
        sleep(SECOND / 1000).await;
    }
    let loads = store.loads.load(Relaxed) - before;
    assert!((1..=11).contains(&loads), "{loads} in a second");
}

#[tokio::test(start_paused = true)]
async fn the_watch_ends_with_its_store() {
    let fleet = Fleet::new(issuer());
    let process = fleet.process();
    let stored: Stored = fleet.stored(&process);
    obtain(&stored).await.unwrap();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert_eq!(tasks(), 1);
    drop((stored, process));
    sleep(SECOND).await;
    assert_eq!(tasks(), 0);
}

/// It is all that the issuer has.
#[tokio::test(start_paused = true)]
async fn a_rejected_token_that_the_issuer_returns_again_is_served_again() {
    let fleet = Fleet::new(issuer());
    fleet.issuer.return_same_token(true);
    let caches = warm(&fleet, 4).await;
    let token = caches[0].token().await.unwrap();
    caches[0].invalidate(&token);
    for _ in 0..100 {
        for cache in &caches {
            assert_eq!(cache.token().await.unwrap().secret(), token.secret());
        }
        sleep(Duration::from_millis(100)).await;
    }
    assert!(fleet.issuer.counts().token_requests <= 3, "{:?}", fleet.issuer.counts());
}
