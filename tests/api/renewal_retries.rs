//! A short failure of the issuer while requests wait for a token.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::future::join_all;
use tokio::time::{Instant, advance};
use tower::Layer;
use tower_bearer::{
    AccessToken, BearerAuthLayer, BoxTokenSource, Error, PasswordGrant, Reason, TokenCache, TokenSource,
    grant::ClientAuth,
    source::Narrowing,
    testing::{Failure, Issuer},
};

use crate::support::{HOUR, MINUTE, SECOND, get, grant, is_ok, issuer, scripted, settled, token, waiting};

fn cache(issuer: &Issuer) -> TokenCache {
    TokenCache::builder(grant(issuer.service())).stale_jitter(0.0).build()
}

#[tokio::test(start_paused = true)]
async fn a_revocation_and_one_503_fail_no_request() {
    let issuer = issuer();
    let client = BearerAuthLayer::with_cache(cache(&issuer)).layer(issuer.api());
    assert!(is_ok(&get(&client, "/").await));
    issuer.revoke_all();
    issuer.fail_next(1, Failure::Status(503));
    for _ in 0..3 {
        assert!(is_ok(&get(&client, "/").await));
    }
    assert_eq!(issuer.counts().token_requests, 3);
}

#[tokio::test(start_paused = true)]
async fn a_cold_start_with_one_short_failure_fails_nobody_and_all_share_the_second_try() {
    for failure in [Failure::Status(503), Failure::Status(429), Failure::Status(502), Failure::Outage] {
        let issuer = issuer();
        let cache = cache(&issuer);
        issuer.fail_next(1, failure);
        for token in join_all((0..100).map(|_| cache.token())).await {
            token.unwrap();
        }
        assert_eq!(issuer.counts().token_requests, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_costs_three_more_tries_within_two_seconds_and_then_fails_at_once() {
    let issuer = issuer();
    let cache = cache(&issuer);
    issuer.fail_until_cleared(Failure::Status(503));
    let start = Instant::now();
    assert!(!cache.token().await.unwrap_err().is_backing_off());
    assert!((SECOND * 7 / 8..=2 * SECOND).contains(&start.elapsed()), "{:?}", start.elapsed());
    assert_eq!(issuer.counts().token_requests, 4);
    for tries in 5..8 {
        advance(cache.status().retry_in.unwrap_or_default()).await;
        let start = Instant::now();
        assert!(!cache.token().await.unwrap_err().is_backing_off());
        assert!(cache.token().await.is_err() && start.elapsed().is_zero());
        assert_eq!(issuer.counts().token_requests, tries);
    }
}

#[tokio::test(start_paused = true)]
async fn after_an_outage_a_short_failure_is_tried_again_as_before() {
    let issuer = issuer();
    let cache = cache(&issuer);
    issuer.fail_next(4, Failure::Status(503));
    cache.token().await.unwrap_err();
    advance(SECOND).await;
    cache.token().await.unwrap();
    advance(HOUR).await;
    issuer.fail_next(3, Failure::Status(503));
    cache.token().await.unwrap();
    assert_eq!(issuer.counts().token_requests, 9);
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_is_waited_for_if_it_fits_the_deadline() {
    for (seconds, waited) in [("4", 4..5), ("9", 9..10), ("10", 0..1), ("3600", 0..1)] {
        let issuer = issuer();
        let cache = cache(&issuer);
        issuer.fail_next(1, Failure::RetryAfter(429, seconds.to_owned()));
        let start = Instant::now();
        let token = cache.token().await;
        assert!(waited.contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
        assert_eq!(token.is_ok(), waited.start > 0);
    }
}

#[tokio::test(start_paused = true)]
async fn the_longest_retry_after_that_is_honoured_bounds_the_wait_between_two_tries() {
    let issuer = issuer();
    let cache = TokenCache::builder(grant(issuer.service())).max_retry_after(SECOND).build();
    issuer.fail_next(1, Failure::RetryAfter(429, "8".to_owned()));
    let start = Instant::now();
    cache.token().await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_nobody_waits_for_is_not_tried_again() {
    let issuer = issuer();
    let cache = cache(&issuer);
    cache.token().await.unwrap();
    advance(56 * MINUTE).await;
    issuer.fail_next(1, Failure::Status(503));
    cache.token().await.unwrap();
    settled(&cache).await;
    assert_eq!((issuer.counts().token_requests, cache.status().failures), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn when_all_callers_have_gone_the_renewal_is_not_tried_again() {
    let issuer = issuer();
    let cache = cache(&issuer);
    issuer.fail_until_cleared(Failure::Status(503));
    let gate = issuer.hold();
    drop(waiting(3, || cache.token()));
    gate.release();
    settled(&cache).await;
    assert_eq!(issuer.counts().token_requests, 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_a_short_failure_is_not_tried_again() {
    for failure in [Failure::OAuth(400, "invalid_grant"), Failure::Status(403), Failure::Status(401)] {
        let issuer = issuer();
        let cache = cache(&issuer);
        issuer.fail_next(1, failure);
        cache.token().await.unwrap_err();
        assert_eq!(issuer.counts().token_requests, 1);
    }
    let (source, asked) = scripted(async |_| panic!("on purpose"));
    assert!(TokenCache::new(source).token().await.unwrap_err().is_panic());
    assert_eq!(asked.times(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_reset_ends_the_tries_of_the_renewal_before_it() {
    let (source, asked) = scripted(async |n| if n == 1 { Err(Error::transient("down")) } else { Ok(token(n)) });
    let cache = TokenCache::new(source);
    let resets = Arc::new(AtomicUsize::new(0));
    let before = {
        let (cache, resets) = (cache.clone(), Arc::clone(&resets));
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            cache.reset();
            resets.fetch_add(1, SeqCst);
        })
    };
    let token = cache.token().await.unwrap();
    before.await.unwrap();
    assert_eq!((token.secret(), asked.times(), resets.load(SeqCst)), ("t2", 2, 1));
}

#[tokio::test(start_paused = true)]
async fn the_tries_can_be_switched_off() {
    let issuer = issuer();
    let cache = TokenCache::builder(grant(issuer.service())).renewal_retries(0).build();
    issuer.fail_next(1, Failure::Status(503));
    cache.token().await.unwrap_err();
    assert_eq!(issuer.counts().token_requests, 1);
}

/// What a [`Scripted`] source does when it is asked.
#[derive(Clone, Copy)]
enum Does {
    Fail(fn() -> Error),
    FailAndChangeCredentials(fn() -> Error),
    Succeed,
    SucceedAndChangeCredentials,
    Hang,
}

/// A source of any scope. All of them share one script, and what is not in it refuses the credentials.
#[derive(Clone)]
struct Scripted {
    script: &'static [Does],
    asked: Arc<AtomicUsize>,
    version: Arc<AtomicU64>,
}

impl Scripted {
    fn new(script: &'static [Does]) -> Self {
        Self { script, asked: Arc::default(), version: Arc::default() }
    }
}

impl TokenSource for Scripted {
    async fn obtain(&self, _: Reason) -> Result<AccessToken, Error> {
        match self.script.get(self.asked.fetch_add(1, SeqCst)) {
            None => Err(Error::terminal("a wrong password")),
            Some(Does::Fail(error)) => Err(error()),
            Some(Does::FailAndChangeCredentials(error)) => {
                self.version.fetch_add(1, SeqCst);
                Err(error())
            }
            Some(Does::Succeed) => Ok(token(1)),
            Some(Does::SucceedAndChangeCredentials) => {
                self.version.fetch_add(1, SeqCst);
                Ok(token(2))
            }
            Some(Does::Hang) => pending().await,
        }
    }

    fn credentials_version(&self) -> u64 {
        self.version.load(SeqCst)
    }

    fn narrowed(&self, _: &Narrowing) -> Option<BoxTokenSource> {
        Some(self.clone().boxed())
    }
}

#[tokio::test(start_paused = true)]
async fn wrong_credentials_that_come_between_two_tries_are_tried_once() {
    let source = Scripted::new(&[Does::FailAndChangeCredentials(|| Error::transient("down"))]);
    let cache = TokenCache::new(source.clone());
    for _ in 0..30 {
        cache.token().await.unwrap_err();
        advance(SECOND).await;
    }
    assert_eq!(source.asked.load(SeqCst), 2);
}

/// Each answer counts for the issuer, whatever credentials it is for.
#[tokio::test(start_paused = true)]
async fn a_token_for_credentials_that_changed_meanwhile_ends_an_outage_too() {
    const DOWN: Does = Does::Fail(|| Error::transient("down"));
    let script = &[DOWN, DOWN, DOWN, DOWN, Does::SucceedAndChangeCredentials, DOWN, Does::Succeed];
    let source = Scripted::new(script);
    let cache = TokenCache::new(source.clone());
    cache.token().await.unwrap_err();
    advance(MINUTE).await;
    cache.token().await.unwrap();
    advance(2 * HOUR).await;
    cache.token().await.unwrap();
    assert_eq!(source.asked.load(SeqCst), script.len());
}

#[tokio::test(start_paused = true)]
async fn credentials_that_another_cache_was_refused_between_two_tries_are_not_tried_again() {
    let source = Scripted::new(&[Does::Fail(|| Error::transient("down").with_retry_after(9 * SECOND))]);
    let cache = TokenCache::new(source.clone());
    let other = cache.narrowed(&Narrowing::new().with_scope("a").unwrap()).unwrap();
    let (first, second) = tokio::join!(cache.token(), other.token());
    assert!(first.unwrap_err().is_transient() && second.unwrap_err().is_terminal());
    assert_eq!(source.asked.load(SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_has_to_fit_what_the_wait_for_another_cache_left_of_the_deadline() {
    let source = Scripted::new(&[Does::Hang, Does::Fail(|| Error::transient("busy").with_retry_after(5 * SECOND))]);
    let cache = TokenCache::new(source);
    let other = cache.narrowed(&Narrowing::new().with_scope("a").unwrap()).unwrap();
    let (_, second) = tokio::join!(cache.token(), other.token());
    let error = second.unwrap_err();
    assert!(!error.is_timeout() && error.retry_in() == Some(5 * SECOND), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_outage_that_one_narrowed_cache_has_met_costs_each_other_one_a_single_try() {
    let issuer = issuer();
    issuer.fail_until_cleared(Failure::Status(503));
    let (cache, start) = (cache(&issuer), Instant::now());
    let narrowed = (0..10).map(|n| cache.narrowed(&Narrowing::new().with_scope(format!("s{n}")).unwrap()).unwrap());
    for token in join_all(narrowed.map(|cache| async move { cache.token().await })).await {
        assert_eq!(token.unwrap_err().status().unwrap(), 503);
    }
    assert!(start.elapsed() <= 2 * SECOND, "{:?}", start.elapsed());
    assert_eq!(issuer.counts().token_requests, 4 + 9);
}

/// The server may have seen the password, and the deadline is used up.
#[tokio::test(start_paused = true)]
async fn a_token_request_that_gets_no_answer_in_time_is_not_tried_again() {
    let issuer = issuer();
    let grant = PasswordGrant::builder("https://issuer.test/token")
        .client_auth(ClientAuth::basic("client1", "client-secret"))
        .credentials("user1", "user-password")
        .deadline(2 * SECOND)
        .build_with(issuer.service())
        .unwrap();
    issuer.fail_until_cleared(Failure::Hang);
    assert!(TokenCache::new(grant).token().await.unwrap_err().is_timeout());
    assert_eq!(issuer.counts().token_requests, 1);
}
