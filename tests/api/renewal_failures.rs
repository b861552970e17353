//! Renewals that fail: how often the issuer is asked, and what callers get.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tower::ServiceExt;
use tower_bearer::{
    AccessToken, BearerAuthLayer, Error, FailureClass, Reason, TokenCache, TokenSource,
    cache::{Age, Backoff},
    testing::{Failure, Issuer},
};

use crate::support::{HOUR, MINUTE, SECOND, ask, attempts_at, grant, issuer, scripted, token};

/// The transient backoff without jitter, so that the test knows the times of its attempts.
const STEADY: Backoff = Backoff::new(SECOND, Duration::from_secs(30));

fn cache(issuer: &Issuer) -> TokenCache {
    TokenCache::builder(grant(issuer.service())).transient_backoff(STEADY).renewal_retries(0).stale_jitter(0.0).build()
}

async fn attempts(seconds: u64, issuer: &Issuer, cache: &TokenCache) -> Vec<u64> {
    let call = async || drop(cache.token().await);
    attempts_at(seconds, || issuer.counts().token_requests, call).await
}

#[tokio::test(start_paused = true)]
async fn while_the_issuer_is_down_a_stale_token_serves_until_it_expires_and_attempts_follow_the_backoff() {
    let issuer = issuer();
    let cache = cache(&issuer);
    let first = cache.token().await.unwrap();
    tokio::time::advance(55 * MINUTE).await;
    issuer.fail_until_cleared(Failure::Outage);
    let serves = async || assert_eq!(cache.token().await.unwrap().secret(), first.secret());
    let attempts = attempts_at(240, || issuer.counts().token_requests, serves).await;
    assert_eq!(attempts, [0, 1, 3, 7, 15, 31, 61, 91, 121, 151, 181, 211]);
    assert_eq!(cache.status().age, Age::Expired);
    let error = cache.token().await.unwrap_err();
    assert!(error.is_backing_off() && error.is_connect());
    issuer.clear_failures();
    tokio::time::advance(SECOND).await;
    assert_ne!(cache.token().await.unwrap().secret(), first.secret());
}

#[tokio::test(start_paused = true)]
async fn while_expired_and_the_issuer_is_down_callers_fail_at_once_with_the_last_error() {
    let issuer = issuer();
    let cache = cache(&issuer);
    cache.token().await.unwrap();
    tokio::time::advance(HOUR).await;
    issuer.fail_until_cleared(Failure::Status(503));
    assert_eq!(cache.token().await.unwrap_err().status().unwrap(), 503);
    let start = tokio::time::Instant::now();
    for _ in 0..1000 {
        let error = cache.token().await.unwrap_err();
        assert!(error.is_backing_off() && error.status().unwrap() == 503, "{error:?}");
        assert_eq!(error.retry_in(), Some(SECOND));
    }
    assert!(start.elapsed().is_zero());
    assert_eq!(issuer.counts().token_requests, 2);
    tokio::time::advance(SECOND).await;
    assert_eq!(attempts(120, &issuer, &cache).await, [0, 2, 6, 14, 30, 60, 90]);
}

#[tokio::test(start_paused = true)]
async fn the_default_backoffs_jitter_stays_below_its_bounds() {
    for _ in 0..20 {
        let (source, asked) = scripted(async |_| Err(Error::transient("down")));
        let cache = TokenCache::builder(source).renewal_retries(0).build();
        for failures in 1..20 {
            assert!(!cache.token().await.unwrap_err().is_backing_off());
            let full = (SECOND / 4 * (1 << (failures - 1))).min(30 * SECOND);
            let wait = cache.status().retry_in.unwrap_or_default();
            assert!(wait < full, "{wait:?} after {failures} failures");
            tokio::time::advance(wait).await;
        }
        assert_eq!(asked.times(), 19);
    }
}

#[tokio::test(start_paused = true)]
async fn invalid_grant_latches_for_a_minute_and_then_twice_as_long_each_time() {
    let issuer = issuer();
    let cache = cache(&issuer);
    issuer.fail_until_cleared(Failure::OAuth(400, "invalid_grant"));
    for _ in 0..1000 {
        let error = cache.token().await.unwrap_err();
        assert!(error.is_terminal() && error.oauth_code() == Some("invalid_grant"));
        tokio::time::advance(MINUTE / 1001).await;
    }
    assert_eq!(issuer.counts().token_requests, 1);
    tokio::time::advance(MINUTE / 1001 + SECOND).await;
    assert_eq!(attempts(3600, &issuer, &cache).await, [0, 120, 360, 840, 1440, 2040, 2640, 3240]);
}

#[tokio::test(start_paused = true)]
async fn an_outage_in_between_does_not_shorten_the_latch() {
    let (source, asked) = scripted(async |n| match n % 2 {
        1 => Err(Error::terminal("a wrong password")),
        _ => Err(Error::transient("down")),
    });
    let cache = TokenCache::builder(source).transient_backoff(STEADY).build();
    let attempts = attempts_at(1000, || asked.times(), async || drop(cache.token().await)).await;
    assert_eq!(attempts, [0, 60, 61, 181, 183, 423, 427, 907, 915]);
    assert_eq!(cache.status().failures, 9);
}

/// A source whose credentials change. It refuses those with an odd number.
#[derive(Clone, Default)]
struct Rotated {
    version: Arc<AtomicU64>,
    asked: Arc<Mutex<Vec<u64>>>,
}

impl TokenSource for Rotated {
    async fn obtain(&self, _why: Reason) -> Result<AccessToken, Error> {
        let version = self.credentials_version();
        self.asked.lock().unwrap().push(version);
        if version == 2 { Ok(token(version)) } else { Err(Error::terminal("a wrong password")) }
    }

    fn credentials_version(&self) -> u64 {
        self.version.load(Ordering::Relaxed)
    }
}

#[tokio::test(start_paused = true)]
async fn changed_credentials_end_the_latch_at_once() {
    let source = Rotated::default();
    let cache = TokenCache::new(source.clone());
    for version in [0, 0, 1, 1] {
        source.version.store(version, Ordering::Relaxed);
        assert!(cache.token().await.unwrap_err().is_terminal());
    }
    source.version.store(2, Ordering::Relaxed);
    assert_eq!(cache.token().await.unwrap().secret(), "t2");
    assert_eq!(*source.asked.lock().unwrap(), [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_honoured_within_its_cap() {
    let issuer = issuer();
    let cache = cache(&issuer);
    let in_two_minutes = {
        let answer = issuer.service().oneshot(ask("/jwks")).await.unwrap();
        let now = httpdate::parse_http_date(answer.headers()["date"].to_str().unwrap()).unwrap();
        httpdate::fmt_http_date(now + 2 * MINUTE)
    };
    let far = u64::MAX.to_string();
    for (retry_after, wait) in [
        ("90", 90 * SECOND),
        (in_two_minutes.as_str(), 2 * MINUTE),
        ("Thu, 01 Jan 1970 00:00:00 GMT", SECOND),
        ("0", SECOND),
        ("-5", SECOND),
        ("soon", SECOND),
        ("86400", 10 * MINUTE),
        (far.as_str(), 10 * MINUTE),
    ] {
        for status in [429, 503] {
            cache.reset();
            issuer.fail_next(1, Failure::RetryAfter(status, retry_after.to_owned()));
            assert_eq!(cache.token().await.unwrap_err().status().unwrap(), status);
            assert_eq!(cache.status().retry_in, Some(wait), "{retry_after}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_longest_settings_do_not_overflow() {
    let (source, asked) = scripted(async |n| match n {
        1 => Err(Error::transient("down").with_retry_after(Duration::MAX)),
        _ => Ok(AccessToken::new("t").unwrap()),
    });
    let cache = TokenCache::builder(source)
        .max_retry_after(Duration::MAX)
        .default_lifetime(Duration::MAX)
        .transient_backoff(Backoff::new(Duration::MAX, Duration::MAX))
        .rejection_budget(tower_bearer::cache::RejectionBudget::new(1, Duration::MAX, Duration::MAX))
        .build();
    assert!(cache.token().await.unwrap_err().is_transient());
    assert!(cache.token().await.unwrap_err().is_backing_off());
    cache.reset();
    for _ in 0..3 {
        cache.invalidate(&cache.token().await.unwrap());
    }
    assert_eq!((asked.times(), cache.status().rejections_limited), (3, true));
}

#[tokio::test(start_paused = true)]
async fn a_token_endpoint_that_answers_401_is_an_error_and_nothing_more() {
    let issuer = issuer();
    issuer.fail_until_cleared(Failure::Status(401));
    let layer = BearerAuthLayer::with_cache(cache(&issuer));
    let client = tower::ServiceBuilder::new().layer(&layer).service(issuer.api());
    let error = client.oneshot(ask("/")).await.unwrap_err();
    let error = error.downcast_ref::<Error>().unwrap();
    assert_eq!((error.status().unwrap().as_u16(), error.class()), (401, FailureClass::Unexplained));
    assert_eq!((issuer.counts().token_requests, issuer.counts().api_requests), (1, 0));
    assert_eq!(layer.cache().status().retry_in, Some(5 * SECOND));
}
