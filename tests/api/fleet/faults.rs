//! Stores that fail in every way: no request fails while the issuer answers.

use std::{
    collections::BTreeSet,
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::join_all;
use proptest::{prelude::*, test_runner::Config};
use tokio::time::{Instant, sleep};
use tower_bearer::{
    Reason, TokenCache, TokenSource,
    store::{
        Lease, LeaseAnswer, LeaseOwner, Loaded, MemoryStore, NewsReceiver, SharedStore, StoreError, StoreKey,
        TokenStore,
    },
};

use super::{keys, processes::Fleet, short_lived, tokens};
use crate::support::{MINUTE, SECOND, issuer, obtain};

/// How a store fails.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fault {
    None,
    Fail,
    Hang,
    Panic,
    Garbage,
    ReadOnly,
    /// Each lease is refused a moment after it was given.
    NeverCommits,
    /// Leases are given, and records are not taken.
    Full,
    /// It forgets all that is written.
    Forgets,
    /// Each call fails, hangs, is late, or is made twice, at random.
    RandomCalls,
    /// The same, and sometimes nothing is found.
    Random,
}

/// A store in front of another one, with faults.
#[derive(Clone)]
pub(super) struct Faulty(Arc<State>);

struct State {
    store: MemoryStore,
    fault: Mutex<Fault>,
    random: Mutex<fastrand::Rng>,
    has_news: bool,
}

impl Faulty {
    pub(super) fn new(store: MemoryStore, fault: Fault) -> Self {
        Self(Arc::new(State {
            store,
            fault: Mutex::new(fault),
            random: Mutex::new(fastrand::Rng::with_seed(1)),
            has_news: true,
        }))
    }

    pub(super) fn seeded(store: MemoryStore, fault: Fault, seed: u64) -> Self {
        let random = Mutex::new(fastrand::Rng::with_seed(seed));
        Self(Arc::new(State { store, fault: Mutex::new(fault), random, has_news: true }))
    }

    pub(super) fn without_news(self) -> Self {
        let state = Arc::into_inner(self.0).unwrap();
        Self(Arc::new(State { has_news: false, ..state }))
    }

    pub(super) fn set(&self, fault: Fault) {
        *self.0.fault.lock().unwrap() = fault;
    }

    fn fault(&self) -> Fault {
        *self.0.fault.lock().unwrap()
    }

    fn chance(&self) -> u32 {
        self.0.random.lock().unwrap().u32(0..100)
    }

    /// Makes a call, as the fault allows.
    async fn call<T, F: Future<Output = Result<T, StoreError>>>(&self, call: impl Fn() -> F) -> Result<T, StoreError> {
        match self.fault() {
            Fault::Fail => return Err(StoreError::new("the test says so")),
            Fault::Hang => return pending().await,
            Fault::Panic => panic!("the test says so"),
            Fault::RandomCalls | Fault::Random => match self.chance() {
                0..10 => return Err(StoreError::new("before")),
                10..20 => {
                    call().await?;
                    return Err(StoreError::new("after"));
                }
                20..25 => {
                    call().await?;
                    return pending().await;
                }
                25..30 => return pending().await,
                30..40 => drop(call().await?),
                40..50 => sleep(Duration::from_millis(u64::from(self.chance()) * 4)).await,
                _ => {}
            },
            _ => {}
        }
        call().await
    }
}

impl TokenStore for Faulty {
    async fn load(&self, key: StoreKey) -> Result<Loaded, StoreError> {
        let loaded = self.call(|| self.0.store.load(key)).await?;
        Ok(match self.fault() {
            Fault::Garbage => Loaded::new(Some(b"garbage".repeat(20)), loaded.leased_for),
            Fault::Forgets => Loaded::new(None, loaded.leased_for),
            Fault::Random if self.chance() < 5 => Loaded::new(None, None),
            _ => loaded,
        })
    }

    async fn lease(&self, key: StoreKey, owner: LeaseOwner, length: Duration) -> Result<LeaseAnswer, StoreError> {
        if self.fault() == Fault::ReadOnly {
            return Err(StoreError::new("read only"));
        }
        self.call(|| self.0.store.lease(key, owner, length)).await
    }

    async fn commit(&self, key: StoreKey, lease: Lease, record: Vec<u8>, keep: Duration) -> Result<bool, StoreError> {
        match self.fault() {
            Fault::ReadOnly | Fault::Full => return Err(StoreError::new("no room")),
            Fault::NeverCommits => return Ok(false),
            _ => {}
        }
        self.call(|| self.0.store.commit(key, lease, record.clone(), keep)).await
    }

    async fn release(&self, key: StoreKey, lease: Lease) -> Result<(), StoreError> {
        self.call(|| self.0.store.release(key, lease)).await
    }

    fn news(&self) -> NewsReceiver {
        if self.0.has_news { self.0.store.news() } else { NewsReceiver::none() }
    }
}

/// Puts a record into a store, whoever has the lease.
pub(super) async fn put(store: &MemoryStore, key: StoreKey, record: Vec<u8>) {
    let owner = LeaseOwner(u128::MAX);
    let LeaseAnswer::Given(lease) = store.lease(key, owner, SECOND).await.unwrap() else { panic!("it is held") };
    assert!(store.commit(key, lease, record, MINUTE).await.unwrap());
    store.release(key, lease).await.unwrap();
}

const ALL: [Fault; 9] = [
    Fault::Fail,
    Fault::Hang,
    Fault::Panic,
    Fault::Garbage,
    Fault::ReadOnly,
    Fault::NeverCommits,
    Fault::Full,
    Fault::Forgets,
    Fault::Random,
];

#[tokio::test(start_paused = true)]
async fn no_request_fails_whatever_the_store_does() {
    for fault in ALL {
        let fleet = Fleet::new(short_lived());
        let faulty = Faulty::new(fleet.store.clone(), fault);
        let caches: Vec<_> = (0..4)
            .map(|_| {
                let process = SharedStore::builder(faulty.clone(), keys()).wall_clock(fleet.clock()).build();
                fleet.cache_of(&process)
            })
            .collect();
        for round in 0..10 {
            let began = Instant::now();
            for token in tokens(&caches).await {
                let token = token.unwrap_or_else(|error| panic!("{fault:?}, round {round}: {error}"));
                if round % 3 == 2 {
                    caches[0].invalidate(&token);
                }
            }
            assert!(began.elapsed() < 10 * SECOND, "{fault:?}: {:?}", began.elapsed());
            sleep(35 * SECOND).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_delays_a_cold_process_by_a_quarter_second() {
    let fleet = Fleet::new(issuer());
    let process = SharedStore::new(Faulty::new(fleet.store.clone(), Fault::Hang), keys());
    let began = Instant::now();
    fleet.cache_of(&process).token().await.unwrap();
    assert!(began.elapsed() <= Duration::from_millis(252), "{:?}", began.elapsed());
    let status = process.status();
    assert_eq!((status.alone, status.failures, status.is_available), (1, 1, false));
    // The outage is not paid by each.
    let began = Instant::now();
    fleet.cache_of(&process).token().await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_comes_back_is_used_again() {
    let fleet = Fleet::new(issuer());
    let faulty = Faulty::new(fleet.store.clone(), Fault::Fail);
    let process = SharedStore::builder(faulty.clone(), keys()).wall_clock(fleet.clock()).build();
    obtain(&fleet.stored(&process)).await.unwrap();
    faulty.set(Fault::None);
    sleep(10 * SECOND).await;
    obtain(&fleet.stored(&process)).await.unwrap();
    assert_eq!(fleet.issuer.counts().token_requests, 2);
    obtain(&fleet.stored(&fleet.process())).await.unwrap();
    assert_eq!(fleet.issuer.counts().token_requests, 2);
    assert!(process.status().is_available);
}

/// The holder lives, so its lease does not end.
#[tokio::test(start_paused = true)]
async fn a_busy_holder_is_not_taken_for_a_dead_store() {
    let fleet = Fleet::new(issuer());
    fleet.issuer.delay(7 * SECOND);
    let processes: Vec<_> = (0..4).map(|_| fleet.process()).collect();
    let caches: Vec<_> = processes.iter().map(|process| fleet.cache_of(process)).collect();
    assert!(join_all(caches.iter().map(TokenCache::token)).await.iter().all(Result::is_ok));
    assert!(processes.iter().all(|process| process.status().alone == 0));
    assert_eq!(fleet.issuer.counts().token_requests, 1);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_lost_its_data_costs_one_token_request() {
    let fleet = Fleet::new(issuer());
    let caches: Vec<_> = (0..4).map(|_| fleet.cache()).collect();
    tokens(&caches).await;
    fleet.store.clear();
    tokens(&[fleet.cache(), fleet.cache()]).await;
    tokens(&caches).await;
    assert_eq!(fleet.issuer.counts().token_requests, 2);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_a_store_loses_is_counted_also_if_only_the_commit_finds_it_gone() {
    let fleet = Fleet::new(issuer());
    // The lease is five seconds long, and extended after a third of that.
    for (request, token_requests) in [(SECOND, 1), (4 * SECOND, 2)] {
        fleet.issuer.delay(request);
        let process = fleet.process();
        let cache = fleet.cache_of(&process);
        fleet.store.clear();
        let renewing = tokio::spawn(async move { cache.token().await });
        sleep(SECOND / 2).await;
        fleet.store.clear();
        renewing.await.unwrap().unwrap();
        assert_eq!((process.status().exchanges, process.status().lost_leases), (1, 1), "{request:?}");
        assert_eq!(fleet.issuer.counts().token_requests, token_requests);
    }
}

proptest! {
    #![proptest_config(Config { cases: 32, failure_persistence: None, ..Config::default() })]

    #[test]
    fn with_random_faults_each_request_gets_a_token_that_was_not_rejected(seed: u64) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(random_faults(seed));
    }
}

/// Plays several processes over one faulty store, with rejections and new processes at random.
async fn random_faults(seed: u64) {
    let fleet = Fleet::new(short_lived());
    let mut random = fastrand::Rng::with_seed(seed);
    let process = |seed| {
        let store = Faulty::seeded(fleet.store.clone(), Fault::Random, seed);
        fleet.cache_of(&SharedStore::builder(store, keys()).wall_clock(fleet.clock()).build())
    };
    let mut caches: Vec<_> = (0..4).map(|n| process(seed ^ n)).collect();
    // What each process rejected itself.
    let mut rejected: Vec<BTreeSet<String>> = vec![BTreeSet::new(); caches.len()];
    for _ in 0..30 {
        let which = random.usize(..caches.len());
        let token = caches[which].token().await.expect("the issuer answers");
        assert!(!rejected[which].contains(token.secret()), "a token came back that this process rejected");
        match random.u32(0..6) {
            0 => {
                if caches[which].status().rejections_limited {
                    continue;
                }
                caches[which].invalidate(&token);
                let next = caches[which].token().await.expect("the issuer answers");
                if next.secret() != token.secret() {
                    rejected[which].insert(token.secret().to_owned());
                }
            }
            1 => {
                caches[which] = process(random.u64(..));
                rejected[which].clear();
            }
            2 => sleep(Duration::from_secs(random.u64(0..100))).await,
            3 => fleet.store.clear(),
            _ => sleep(Duration::from_millis(random.u64(0..2000))).await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewal_does_not_take_a_stored_token_that_is_older_than_the_own_one() {
    let fleet = Fleet::new(issuer());
    obtain(&fleet.stored(&fleet.process())).await.unwrap();
    let store = Faulty::new(fleet.store.clone(), Fault::Fail);
    let stored = fleet.stored(&SharedStore::builder(store.clone(), keys()).wall_clock(fleet.clock()).build());
    sleep(SECOND).await;
    let own = obtain(&stored).await.unwrap();
    store.set(Fault::None);
    sleep(MINUTE).await;
    let renewed = stored.obtain(Reason::Ageing).await.unwrap();
    assert_ne!(renewed.secret(), own.secret());
    assert_eq!(fleet.issuer.counts().token_requests, 3);
}
