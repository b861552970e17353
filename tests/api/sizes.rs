//! Requests and settings of any size: an error where there is no room, and never a panic.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, header::AUTHORIZATION};
use http_body_util::Full;
use tokio::{
    sync::Semaphore,
    time::{Instant, advance},
};
use tower::{Layer, limit::GlobalConcurrencyLimitLayer};
use tower_bearer::{
    AccessToken, Error, TokenCache,
    cache::{Backoff, RejectionBudget},
};

use crate::{
    scripted::{URI, World, get, outcome, send, status, world},
    support::{HOUR, SECOND, scripted, token},
};

/// Returns a request whose map of headers has room for so many more names.
fn with_room_for(more: usize) -> Request<Full<Bytes>> {
    let mut headers = HeaderMap::new();
    let name = |n: usize| HeaderName::try_from(format!("x-{n}")).unwrap();
    while headers.try_append(name(headers.len()), HeaderValue::from_static("v")).is_ok() {}
    let all = headers.len();
    // A new map: one that was full once has more room than others.
    let mut request = get(URI);
    request.headers_mut().extend((0..all - more).map(|n| (name(n), HeaderValue::from_static("v"))));
    request
}

#[tokio::test]
async fn a_full_map_of_headers_is_an_error_and_nothing_is_sent_or_reserved() {
    let World { api, layer, .. } = world([]);
    let permits = Arc::new(Semaphore::new(1));
    let limit = GlobalConcurrencyLimitLayer::with_semaphore(Arc::clone(&permits));
    let mut service = layer.layer(limit.layer(api.clone()));
    // First without a token, and then with one.
    for _ in 0..2 {
        let error = send(&mut service, with_room_for(0)).await.unwrap_err();
        let error = error.downcast::<Error>().unwrap();
        assert!(error.is_config() && error.to_string().contains("fewer headers"), "{error}");
        assert_eq!(permits.available_permits(), 1, "readiness is given back");
    }
    assert!(api.take_seen().is_empty());
    assert!(layer.cache().status().is_ready(), "the token is good");
}

#[tokio::test]
async fn a_map_of_headers_with_room_for_one_more_is_sent_twice() {
    let World { api, layer, .. } = world([status(401)]);
    let answer = send(&mut layer.layer(api.clone()), with_room_for(1)).await.unwrap();
    assert!(answer.status().is_success() && outcome(&answer).retried());
    let seen = api.take_seen();
    assert_eq!(seen.len(), 2);
    for (seen, token) in seen.iter().zip(["Bearer t1", "Bearer t2"]) {
        assert_eq!(seen.head.headers.get_all(AUTHORIZATION).iter().collect::<Vec<_>>(), [token]);
        assert_eq!(seen.head.headers.len(), with_room_for(0).headers().len());
    }
}

/// Durations that do not fit into an instant.
#[tokio::test(start_paused = true)]
async fn settings_and_lifetimes_may_be_as_long_as_a_duration() {
    const MAX: Duration = Duration::MAX;
    for share in [0.0, 1.0, f64::INFINITY, f64::NAN] {
        let (source, _) = scripted(|n| async move {
            match n {
                1 | 3 => Err(Error::transient("no").with_retry_after(MAX)),
                2 => Ok(AccessToken::new("t2")?.with_refresh_in(MAX)),
                _ => Ok(AccessToken::new("t4")?.with_expires_in(MAX).with_refresh_in(MAX)),
            }
        });
        let cache = TokenCache::builder(source)
            .stale_before_expiry(MAX, share)
            .stale_jitter(share)
            .expired_before_expiry(MAX, share)
            .default_lifetime(MAX)
            .renewal_deadline(MAX)
            .renewal_retries(0)
            .transient_backoff(Backoff::new(MAX, MAX).with_full_jitter())
            .unexplained_backoff(Backoff::new(MAX, MAX))
            .terminal_backoff(Backoff::new(MAX, MAX))
            .max_retry_after(MAX)
            .rejection_budget(RejectionBudget::new(u32::MAX, MAX, MAX).detect_revocation_after(MAX))
            .max_narrowed(usize::MAX)
            .build();
        cache.token().await.unwrap_err();
        assert!(cache.status().retry_in > Some(HOUR));
        cache.reset();
        let token = cache.token().await.unwrap();
        cache.invalidate(&token);
        crate::support::settled(&cache).await;
        assert_eq!(cache.status().failures, 1);
        cache.reset();
        assert_eq!(cache.token().await.unwrap().secret(), "t4");
        advance(10 * 365 * 24 * HOUR).await;
        let _ = (cache.token().await, cache.status());
    }
}

/// The end of its range, which a sum of a time and a lifetime is beyond.
#[tokio::test(start_paused = true)]
async fn a_wall_clock_at_the_end_of_its_range_costs_one_token_request_each_time() {
    let mut end = SystemTime::UNIX_EPOCH;
    for seconds in (0..63).rev().map(|bit| Duration::from_secs(1 << bit)) {
        end = end.checked_add(seconds).unwrap_or(end);
    }
    let (source, asked) = scripted(|n| async move { Ok(token(n)) });
    let cache = TokenCache::builder(source).wall_clock(move || end).build();
    for n in 1..=2 {
        assert_eq!(cache.token().await.unwrap().secret(), format!("t{n}"));
        assert_eq!(asked.times(), n);
    }
}

/// The numbers in an issuer's answers.
#[tokio::test(start_paused = true)]
async fn an_issuer_may_answer_with_any_number() {
    for (expires_in, retry_after) in
        [("1e308", "18446744073709551615"), ("-1e308", "-1"), ("99999999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT")]
    {
        let http = tower::service_fn(move |_: Request<Full<Bytes>>| async move {
            let json = format!(
                r#"{{"access_token":"t","token_type":"Bearer","expires_in":{expires_in},"refresh_in":{expires_in}}}"#
            );
            let answer = http::Response::builder().header("content-type", "application/json");
            Ok::<_, tower::BoxError>(answer.body(Full::<Bytes>::from(json))?)
        });
        let cache = TokenCache::new(crate::support::grant(http));
        assert_eq!(cache.token().await.unwrap().secret(), "t");
        let busy = tower::service_fn(move |_: Request<Full<Bytes>>| async move {
            let answer = http::Response::builder().status(503).header("retry-after", retry_after);
            Ok::<_, tower::BoxError>(answer.body(Full::<Bytes>::default())?)
        });
        let cache =
            TokenCache::builder(crate::support::grant(busy)).max_retry_after(Duration::MAX).renewal_retries(0).build();
        let start = Instant::now();
        cache.token().await.unwrap_err();
        assert!(cache.token().await.unwrap_err().is_backing_off() && start.elapsed() < SECOND);
    }
}
