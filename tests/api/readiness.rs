//! A token before the first request, and while there are none.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tower_bearer::{
    Error, PasswordGrant, TokenCache,
    grant::ClientAuth,
    testing::{Failure, Issuer},
};

use crate::support::{HOUR, MINUTE, grant, issuer, scripted, token};

#[tokio::test(start_paused = true)]
async fn ready_waits_through_an_outage_of_the_issuer() {
    let issuer = issuer();
    issuer.fail_until_cleared(Failure::Status(503));
    let cache = TokenCache::new(grant(issuer.service()));
    let ready = tokio::spawn({
        let cache = cache.clone();
        async move { cache.ready().await }
    });
    sleep(10 * MINUTE).await;
    assert!(!ready.is_finished());
    let asked = issuer.counts().token_requests;
    assert!((15..60).contains(&asked), "{asked} token requests in ten minutes");
    issuer.clear_failures();
    ready.await.unwrap().unwrap();
    assert!(cache.status().is_ready());
    assert_eq!(issuer.counts().token_requests, asked + 1);
}

#[tokio::test(start_paused = true)]
async fn ready_ends_at_once_where_waiting_does_not_help() {
    let issuer = issuer();
    let wrong = PasswordGrant::builder("https://issuer.test/token")
        .client_auth(ClientAuth::basic("client1", "client-secret"))
        .credentials("user1", "wrong")
        .build_with(issuer.service())
        .unwrap();
    let start = Instant::now();
    let error = TokenCache::new(wrong).ready().await.unwrap_err();
    assert_eq!((error.oauth_code(), issuer.counts().token_requests), (Some("invalid_grant"), 1));

    let (panics, asked) = scripted(|_| async { panic!("a source that panics") });
    assert!(TokenCache::new(panics).ready().await.unwrap_err().is_panic());
    assert_eq!((asked.times(), start.elapsed()), (1, Duration::ZERO));
}

#[test]
fn ready_needs_a_runtime_and_says_so() {
    let cache = TokenCache::new(grant(issuer().service()));
    assert!(futures::executor::block_on(cache.ready()).unwrap_err().is_no_runtime());
}

#[tokio::test(start_paused = true)]
async fn keep_ready_renews_tokens_that_live_for_a_minute() {
    let issuer = Issuer::builder().lifetime(MINUTE).build();
    let cache = TokenCache::new(grant(issuer.service()));
    let keeper = tokio::spawn({
        let cache = cache.clone();
        async move { cache.keep_ready().await }
    });
    for _ in 0..600 {
        sleep(Duration::from_secs(1)).await;
        assert!(cache.status().is_ready(), "{:?}", cache.status());
    }
    keeper.abort();
}

/// A request after a long pause finds a token. Without the task it would wait for one.
#[tokio::test(start_paused = true)]
async fn keep_ready_renews_each_token_without_requests() {
    let issuer = issuer();
    let cache = TokenCache::new(grant(issuer.service()));
    let keeper = tokio::spawn({
        let cache = cache.clone();
        async move { cache.keep_ready().await }
    });
    for _ in 0..200 {
        sleep(3 * MINUTE).await;
        assert!(cache.status().is_ready(), "{:?}", cache.status());
    }
    // A token lives for an hour, and these were ten. It is renewed a few minutes before its end.
    let asked = issuer.counts().token_requests;
    assert!((11..=12).contains(&asked), "{asked} token requests");

    keeper.abort();
    let _ = keeper.await;
    // This grant has no URL for it. The token is forgotten all the same.
    assert!(cache.revoke().await.unwrap_err().is_config());
    sleep(HOUR).await;
    assert_eq!((cache.status().is_ready(), issuer.counts().token_requests), (false, asked));
}

#[tokio::test(start_paused = true)]
async fn keep_ready_goes_on_after_failures_at_the_pace_of_the_backoff() {
    let (source, asked) = scripted(|n| async move {
        match n {
            1..=9 => Err(Error::transient("the source is down")),
            _ => Ok(token(n)),
        }
    });
    let cache = TokenCache::new(source);
    assert!(timeout(10 * MINUTE, cache.keep_ready()).await.is_err());
    assert!(cache.status().is_ready());
    assert_eq!(asked.times(), 10);
}

/// Its tokens have expired when they come. Each would be requested at once again.
#[tokio::test(start_paused = true)]
async fn keep_ready_does_not_ask_all_the_time_for_tokens_that_have_expired() {
    let issuer = Issuer::builder().lifetime(Duration::ZERO).build();
    let cache = TokenCache::new(grant(issuer.service()));
    assert!(timeout(10 * MINUTE, cache.keep_ready()).await.is_err());
    let asked = issuer.counts().token_requests;
    assert!(asked <= 11, "{asked} token requests in ten minutes");
}
