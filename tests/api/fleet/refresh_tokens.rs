//! A refresh token that can be used once, in the hands of several processes.

use std::{
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::join_all;
use proptest::{prelude::*, test_runner::Config};
use tokio::time::{Instant, sleep};
use tower_bearer::{
    Reason, TokenCache, TokenSource,
    grant::{ClientAuth, PasswordGrant, RefreshToken, RefreshTokenBuilder},
    source::Narrowing,
    store::{SharedStore, Stored},
    testing::{Issuer, IssuerService, RefreshTokens, TokenFormat},
};

use super::{
    faults::{Fault, Faulty},
    processes::Fleet,
};
use crate::support::{MINUTE, SECOND, grant, obtain};

/// Returns an issuer that ends the session when a refresh token comes a second time, and the first refresh token.
async fn rotating() -> (Fleet, String) {
    let issuer = Issuer::builder()
        .token_format(TokenFormat::Opaque)
        .refresh_tokens(RefreshTokens::Rotating)
        .lifetime(Duration::from_secs(100))
        .build();
    let consent = grant(issuer.service());
    obtain(&consent).await.unwrap();
    let first = consent.refresh_token().unwrap();
    (Fleet::new(issuer), first.expose().to_owned())
}

fn refresh_token(fleet: &Fleet, first: &str) -> RefreshToken<IssuerService> {
    refresh_token_builder(first).build_with(fleet.issuer.service()).unwrap()
}

fn refresh_token_builder(first: &str) -> RefreshTokenBuilder {
    RefreshToken::builder("https://issuer.test/token")
        .client_auth(ClientAuth::basic("client1", "client-secret"))
        .refresh_token(first)
}

fn stored(fleet: &Fleet, process: &SharedStore, first: &str) -> Stored {
    Stored::new(refresh_token(fleet, first), process).named("user1")
}

#[tokio::test(start_paused = true)]
async fn eight_processes_use_each_refresh_token_once() {
    let (fleet, first) = rotating().await;
    fleet.issuer.delay(Duration::from_millis(300));
    let caches: Vec<_> = (0..8).map(|_| TokenCache::new(stored(&fleet, &fleet.process(), &first))).collect();
    for _ in 0..100 {
        for token in join_all(caches.iter().map(TokenCache::token)).await {
            token.unwrap();
        }
        sleep(Duration::from_secs(37)).await;
    }
    let counts = fleet.issuer.counts();
    assert!(counts.refused == 0 && counts.refresh_token > 20, "{counts:?}");
}

/// Each starts with the first refresh token, which was used long ago.
#[tokio::test(start_paused = true)]
async fn processes_that_come_and_go_use_each_refresh_token_once() {
    let (fleet, first) = rotating().await;
    for _ in 0..50 {
        obtain(&stored(&fleet, &fleet.process(), &first)).await.unwrap();
        sleep(101 * SECOND).await;
    }
    let counts = fleet.issuer.counts();
    assert_eq!((counts.refused, counts.refresh_token), (0, 50));
}

#[tokio::test(start_paused = true)]
async fn a_process_that_saved_a_later_refresh_token_starts_with_the_newest() {
    let (fleet, first) = rotating().await;
    let source = refresh_token(&fleet, &first);
    let process = stored(&fleet, &fleet.process(), &first);
    obtain(&process).await.unwrap();
    let saved = fleet.issuer.last_request().unwrap();
    assert_eq!(saved.param("refresh_token"), Some(&*first));
    for _ in 0..3 {
        sleep(101 * SECOND).await;
        obtain(&process).await.unwrap();
    }
    let second_to_last = fleet.issuer.last_request().unwrap().param("refresh_token").unwrap().to_owned();
    sleep(101 * SECOND).await;
    obtain(&stored(&fleet, &fleet.process(), &second_to_last)).await.unwrap();
    assert_eq!(fleet.issuer.counts().refused, 0);
    drop(source);
}

#[tokio::test(start_paused = true)]
async fn a_new_consent_takes_the_place_of_the_stored_refresh_token() {
    let (fleet, first) = rotating().await;
    obtain(&stored(&fleet, &fleet.process(), &first)).await.unwrap();
    fleet.issuer.revoke_all();
    let consent = grant(fleet.issuer.service());
    obtain(&consent).await.unwrap();
    let second = consent.refresh_token().unwrap();
    sleep(101 * SECOND).await;
    let requests = fleet.issuer.counts().token_requests;
    obtain(&stored(&fleet, &fleet.process(), second.expose())).await.unwrap();
    // A process that still has the old consent in its settings.
    sleep(101 * SECOND).await;
    obtain(&stored(&fleet, &fleet.process(), &first)).await.unwrap();
    assert_eq!(fleet.issuer.counts().token_requests, requests + 2);
}

#[tokio::test(start_paused = true)]
async fn narrowed_caches_of_several_processes_use_each_refresh_token_once() {
    let (fleet, first) = rotating().await;
    let narrowing = Narrowing::new().with_scope("patient/Patient.rs").unwrap();
    let caches: Vec<_> = (0..4)
        .flat_map(|_| {
            let cache = TokenCache::new(stored(&fleet, &fleet.process(), &first));
            [cache.narrowed(&narrowing).unwrap(), cache]
        })
        .collect();
    for _ in 0..20 {
        for token in join_all(caches.iter().map(TokenCache::token)).await {
            if let Err(error) = token {
                assert_eq!(error.oauth_code(), Some("invalid_scope"), "{error}");
            }
        }
        sleep(37 * SECOND).await;
    }
    assert!(fleet.issuer.requests().iter().any(|request| request.param("scope").is_some()));
    let last = join_all(caches.iter().skip(1).step_by(2).map(TokenCache::token)).await;
    assert!(last.iter().all(Result::is_ok), "the session was not ended");
}

#[tokio::test(start_paused = true)]
async fn a_process_that_dies_between_the_answer_and_the_commit_ends_nothing() {
    let (fleet, first) = rotating().await;
    let process = stored(&fleet, &fleet.process(), &first);
    obtain(&process).await.unwrap();
    // Its successor keeps on with the same source: it has the newest refresh token, which the store has not.
    for _ in 0..5 {
        sleep(101 * SECOND).await;
        fleet.issuer.delay(SECOND);
        let renewal = tokio::spawn({
            let process = process.clone();
            async move { process.obtain(Reason::Ageing).await }
        });
        sleep(Duration::from_millis(500)).await;
        renewal.abort();
        let _ = renewal.await;
        fleet.issuer.delay(Duration::ZERO);
        sleep(10 * SECOND).await;
        obtain(&process).await.unwrap();
    }
    assert_eq!(fleet.issuer.counts().refused, 0);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_refresh_token_does_not_take_the_place_of_the_stored_one() {
    let (fleet, first) = rotating().await;
    let source = stored(&fleet, &fleet.process(), &first);
    obtain(&source).await.unwrap();
    sleep(101 * SECOND).await;
    let wrong = stored(&fleet, &fleet.process(), "not-a-refresh-token");
    assert_eq!(obtain(&wrong).await.unwrap_err().oauth_code(), Some("invalid_grant"));
    obtain(&source).await.unwrap();
    obtain(&stored(&fleet, &fleet.process(), &first)).await.unwrap();
    assert_eq!(fleet.issuer.counts().refused, 1, "the wrong one");
}

/// The process that comes last has the refresh token of before.
#[tokio::test(start_paused = true)]
async fn after_a_wrong_password_the_stored_refresh_token_is_still_used_once() {
    let (fleet, _) = rotating().await;
    let (one, other) = (fleet.stored(&fleet.process()), fleet.stored(&fleet.process()));
    obtain(&one).await.unwrap();
    obtain(&other).await.unwrap();
    sleep(101 * SECOND).await;
    obtain(&one).await.unwrap();
    sleep(101 * SECOND).await;
    let wrong = PasswordGrant::builder("https://issuer.test/token")
        .client_auth(ClientAuth::basic("client1", "client-secret"))
        .credentials("user1", "wrong")
        .build_with(fleet.issuer.service())
        .unwrap();
    obtain(&Stored::new(wrong, &fleet.process())).await.unwrap_err();
    let before = fleet.issuer.counts();
    obtain(&other).await.unwrap();
    let after = fleet.issuer.counts();
    assert_eq!((after.refused, after.refresh_token), (before.refused, before.refresh_token + 1));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_has_only_a_refresh_token_does_not_go_on_without_the_store() {
    let (fleet, first) = rotating().await;
    let store = Faulty::new(fleet.store.clone(), Fault::Hang);
    let process = SharedStore::builder(store, super::keys()).wall_clock(fleet.clock()).build();
    let requests = fleet.issuer.counts().token_requests;
    let error = obtain(&stored(&fleet, &process, &first)).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert!(error.to_string().contains("the token store does not answer"), "{error}");
    assert_eq!(fleet.issuer.counts().token_requests, requests);
}

/// The password is used instead. Another process may use the refresh token that both know.
#[tokio::test(start_paused = true)]
async fn without_the_store_a_shared_refresh_token_is_not_used() {
    let (fleet, _) = rotating().await;
    let sources: Vec<_> = (0..4).map(|_| fleet.stored(&fleet.process())).collect();
    for source in &sources {
        obtain(source).await.unwrap();
    }
    let counts = fleet.issuer.counts();
    let faulty = Faulty::new(fleet.store.clone(), Fault::None);
    let process = SharedStore::builder(faulty.clone(), super::keys()).wall_clock(fleet.clock()).build();
    let source = fleet.stored(&process);
    obtain(&source).await.unwrap();
    faulty.set(Fault::Fail);
    sleep(2 * MINUTE).await;
    source.obtain(Reason::Ageing).await.unwrap();
    let after = fleet.issuer.counts();
    assert_eq!((after.password, after.refresh_token), (counts.password + 1, counts.refresh_token));
}

proptest! {
    #![proptest_config(Config { cases: 8, failure_persistence: None, ..Config::default() })]

    #[test]
    fn a_store_that_fails_at_random_does_not_make_anyone_use_a_refresh_token_twice(seed: u64) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(random_faults(seed));
    }
}

async fn random_faults(seed: u64) {
    let (fleet, first) = rotating().await;
    fleet.issuer.delay(Duration::from_millis(300));
    let caches: Vec<_> = (0..4)
        .map(|n| {
            let store = Faulty::seeded(fleet.store.clone(), Fault::RandomCalls, seed ^ n);
            let process = SharedStore::builder(store, super::keys()).wall_clock(fleet.clock()).build();
            TokenCache::new(stored(&fleet, &process, &first))
        })
        .collect();
    let mut tokens = 0;
    for _ in 0..30 {
        tokens += join_all(caches.iter().map(TokenCache::token)).await.iter().filter(|token| token.is_ok()).count();
        sleep(Duration::from_secs(37)).await;
    }
    let counts = fleet.issuer.counts();
    assert_eq!(counts.refused, 0, "{counts:?}");
    assert!(tokens > 20 && counts.refresh_token > 3, "{tokens} {counts:?}");
}

/// Only the process that used it has the successor, until the store takes it.
#[tokio::test(start_paused = true)]
async fn a_refresh_token_that_the_store_did_not_take_is_stored_when_it_recovers() {
    let (fleet, first) = rotating().await;
    let faulty = Faulty::new(fleet.store.clone(), Fault::None);
    let process = SharedStore::builder(faulty.clone(), super::keys()).wall_clock(fleet.clock()).build();
    let (holder, other) = (stored(&fleet, &process, &first), stored(&fleet, &fleet.process(), &first));
    obtain(&holder).await.unwrap();
    sleep(101 * SECOND).await;
    fleet.issuer.delay(SECOND);
    let failing = async {
        sleep(Duration::from_millis(500)).await;
        faulty.set(Fault::Fail);
    };
    tokio::join!(obtain(&holder), failing).0.unwrap();
    sleep(2 * SECOND).await;
    faulty.set(Fault::None);
    sleep(SECOND).await;
    sleep(101 * SECOND).await;
    obtain(&other).await.unwrap();
    let counts = fleet.issuer.counts();
    assert_eq!((counts.refused, counts.refresh_token), (0, 3));
}

/// A process that dies before the store has the new refresh token takes it with it. So no time is lost before that.
#[tokio::test(start_paused = true)]
async fn the_store_has_a_new_refresh_token_before_it_is_saved() {
    for fault in [Fault::None, Fault::Full] {
        let (fleet, first) = rotating().await;
        let store = Faulty::new(fleet.store.clone(), fault);
        let process = SharedStore::builder(store, super::keys()).wall_clock(fleet.clock()).build();
        let stored_when_saved = Arc::new(Mutex::new(Vec::new()));
        let (log, records) = (stored_when_saved.clone(), fleet.store.clone());
        let save = move |_| {
            log.lock().unwrap().push(records.records().len());
            pending()
        };
        let source = refresh_token_builder(&first).on_rotation(save).build_with(fleet.issuer.service()).unwrap();
        let began = Instant::now();
        obtain(&Stored::new(source, &process).named("user1")).await.unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO, "nothing waits for a save");
        let stored = usize::from(fault == Fault::None);
        assert_eq!(*stored_when_saved.lock().unwrap(), [stored], "it is saved in any case: {fault:?}");
    }
}
