//! What the renewals of a pool's identities have to do with each other, through an issuer.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
};

use futures::future::join_all;
use tokio::time::{Instant, advance, sleep};
use tower_bearer::{
    AccessToken, Error, PasswordGrant, Reason, TokenCache, TokenPool, TokenSource,
    grant::{ClientAuth, Secret},
    testing::{Failure, Issuer},
};

use crate::support::{HOUR, MINUTE, SECOND, issuer};

/// A pool of users of one client, and whether its client secret is right.
fn users(issuer: &Issuer, is_right: bool) -> (TokenPool<usize>, Arc<AtomicBool>) {
    let secret = Arc::new(AtomicBool::new(is_right));
    let (http, right) = (issuer.service(), Arc::clone(&secret));
    let pool = TokenPool::builder(move |user: &usize| {
        let (read, version) = (Arc::clone(&right), Arc::clone(&right));
        let secret = Secret::from_fn(move || {
            let secret = if read.load(SeqCst) { "client-secret" } else { "wrong" };
            async move { Ok(secret.into()) }
        });
        let grant = PasswordGrant::builder("https://issuer.test/token")
            .client_auth(ClientAuth::basic("client1", secret.with_version(move || version.load(SeqCst).into())))
            .credentials("user1", if *user == 7 { "wrong" } else { "user-password" })
            .build_with(http.clone())?;
        Ok(TokenCache::builder(grant))
    });
    (pool.max_identities(10_000).build(), secret)
}

/// Makes a request for each of `users`, and returns how many fail.
async fn failures(pool: &TokenPool<usize>, users: usize) -> usize {
    let caches: Vec<_> = (0..users).map(|user| pool.cache(&user).unwrap()).collect();
    join_all(caches.iter().map(TokenCache::token)).await.iter().filter(|token| token.is_err()).count()
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_of_one_user_costs_one_request_and_fails_only_that_user() {
    let issuer = issuer();
    issuer.delay(SECOND / 20);
    let (pool, _) = users(&issuer, true);
    assert_eq!(failures(&pool, 500).await, 1);
    assert_eq!(issuer.requests().len(), 500);
    assert_eq!(failures(&pool, 500).await, 1);
    assert_eq!(issuer.requests().len(), 500);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_client_secret_costs_one_request_for_all_users_and_its_replacement_ends_that_at_once() {
    let issuer = issuer();
    issuer.delay(SECOND / 20);
    let (pool, secret) = users(&issuer, false);
    for requests in [1, 1] {
        assert_eq!(failures(&pool, 500).await, 500);
        assert_eq!(issuer.requests().len(), requests);
    }
    advance(61 * SECOND).await;
    assert_eq!(failures(&pool, 500).await, 500);
    assert_eq!(issuer.requests().len(), 2);
    secret.store(true, SeqCst);
    assert_eq!(failures(&pool, 500).await, 1);
    assert_eq!(issuer.requests().len(), 502);
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_issuer_is_probed_by_one_user_at_a_time_and_ends_for_all() {
    let issuer = issuer();
    let (pool, _) = users(&issuer, true);
    failures(&pool, 100).await;
    advance(2 * HOUR).await;
    let before = issuer.requests().len();
    issuer.fail_until_cleared(Failure::Status(503));
    for _ in 0..120 {
        assert_eq!(failures(&pool, 100).await, 100);
        sleep(5 * SECOND).await;
    }
    let probes = issuer.requests().len() - before;
    assert!(probes <= 4 * 64 + 120, "{probes}");
    issuer.clear_failures();
    let began = Instant::now();
    while failures(&pool, 100).await > 1 {
        assert!(began.elapsed() < 32 * SECOND);
        sleep(SECOND).await;
    }
}

/// Counts how many requests are in progress.
#[derive(Clone, Default)]
struct Counting {
    requests: Arc<AtomicU64>,
    at_once: Arc<AtomicU64>,
    most: Arc<AtomicU64>,
}

impl TokenSource for Counting {
    async fn obtain(&self, _: Reason) -> Result<AccessToken, Error> {
        let n = self.requests.fetch_add(1, SeqCst);
        self.most.fetch_max(self.at_once.fetch_add(1, SeqCst) + 1, SeqCst);
        sleep(SECOND / 20).await;
        self.at_once.fetch_sub(1, SeqCst);
        Ok(AccessToken::new(format!("t{n}"))?.with_expires_in(HOUR))
    }
}

#[tokio::test(start_paused = true)]
async fn max_renewals_bounds_the_renewals_in_progress_and_no_request_fails() {
    for (max, most) in [(None, 64), (Some(8), 8)] {
        let source = Counting::default();
        let made = source.clone();
        let mut pool = TokenPool::builder(move |_: &usize| Ok(TokenCache::builder(made.clone())));
        if let Some(max) = max {
            pool = pool.max_renewals(max);
        }
        let pool = pool.build();
        for round in 1..=2 {
            let began = Instant::now();
            assert_eq!(failures(&pool, 1_000).await, 0);
            assert_eq!(source.requests.load(SeqCst), round * 1_000);
            assert!(began.elapsed() < MINUTE / 6, "{:?}", began.elapsed());
            advance(2 * HOUR).await;
        }
        assert_eq!(source.most.load(SeqCst), most);
    }
}
