//! A grant's token request in a runtime that nobody drives any more.

use std::time::Duration;

use futures::FutureExt;
use tokio::{
    runtime::{Builder, Runtime},
    time::sleep,
};
use tower::{Layer, ServiceExt};
use tower_bearer::{
    BearerAuthLayer, TokenCache,
    grant::{ClientAuth, RefreshToken},
    testing::{Issuer, RefreshTokens, TokenFormat},
};

use crate::support::{MINUTE, accepted, ask, grant, issuer, obtain};

fn runtime(paused: bool) -> Runtime {
    Builder::new_current_thread().enable_all().start_paused(paused).build().unwrap()
}

/// Polls a token request until it waits at the issuer, and leaves it there.
macro_rules! leave {
    ($runtime:expr, $issuer:expr, $request:expr) => {{
        let mut request = Box::pin($request);
        let gate = $issuer.hold();
        $runtime.block_on(async {
            assert!(request.as_mut().now_or_never().is_none());
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
        });
        gate.release();
        request
    }};
}

#[test]
fn a_grant_whose_first_runtime_stopped_being_driven_recovers_in_another() {
    let issuer = issuer();
    let cache = TokenCache::new(grant(issuer.service()));
    let idle = runtime(false);
    let waiter = cache.clone();
    let _left = leave!(idle, issuer, async move { waiter.token().await });
    let driven = runtime(true);
    let mut errors = Vec::new();
    for _ in 0..20 {
        match driven.block_on(cache.token()) {
            Ok(_) => return assert!(errors.len() <= 1, "only the one that gave it up fails: {errors:?}"),
            Err(error) => errors.push(error.to_string()),
        }
        driven.block_on(async { sleep(MINUTE).await });
    }
    drop(idle);
    panic!("no token in {} attempts a minute apart: {}", errors.len(), errors.last().unwrap());
}

/// There are two blocking clients with a runtime each. The first one's background renewal is not driven after its request
/// is answered.
#[test]
#[expect(clippy::disallowed_methods, reason = "nothing drives a runtime while the thread sleeps")]
fn a_background_renewal_left_in_one_clients_runtime_does_not_fail_the_others() {
    let issuer = Issuer::builder().token_format(TokenFormat::Opaque).lifetime(Duration::from_secs(2)).build();
    let cache = TokenCache::builder(grant(issuer.service())).renewal_deadline(Duration::from_millis(500)).build();
    let client = BearerAuthLayer::with_cache(cache.clone()).layer(issuer.api());
    let (one, two) = (runtime(false), runtime(false));
    let call = || {
        let (client, request) = (client.clone(), ask("/fhir"));
        async move { client.oneshot(request).await }
    };
    assert!(one.block_on(call()).is_ok());
    std::thread::sleep(Duration::from_millis(1650)); // stale, not expired
    issuer.delay(Duration::from_millis(20));
    assert!(
        one.block_on(async {
            let answer = call().await;
            tokio::task::yield_now().await;
            answer
        })
        .is_ok()
    );
    std::thread::sleep(Duration::from_millis(300)); // expired
    let failed: Vec<_> = (0..6)
        .map_while(|_| {
            let failed = two.block_on(call()).err().map(|error| error.to_string());
            std::thread::sleep(Duration::from_millis(500)); // longer than the backoff
            failed
        })
        .collect();
    assert!(failed.len() <= 1, "{failed:#?}");
    drop(one);
}

/// The request that was left brings an older refresh token, long after a later one brought a newer one.
#[test]
fn a_late_answer_does_not_replace_a_newer_refresh_token() {
    let issuer = Issuer::builder().token_format(TokenFormat::Opaque).refresh_tokens(RefreshTokens::Kept).build();
    let source = grant(issuer.service());
    let (idle, driven) = (runtime(false), runtime(true));
    let left = leave!(idle, issuer, obtain(&source));
    driven.block_on(async { sleep(MINUTE).await });
    driven.block_on(obtain(&source)).unwrap();
    issuer.amend_next(serde_json::json!({ "refresh_token": "of-the-late-answer" }));
    assert!(accepted(&issuer, &idle.block_on(left).unwrap()), "its access token is as good as any");
    driven.block_on(obtain(&source)).unwrap();
    assert_eq!(issuer.last_request().unwrap().grant_type(), Some("refresh_token"));
    assert_ne!(issuer.last_request().unwrap().param("refresh_token"), Some("of-the-late-answer"));
}

/// The later request finds that the server has rotated the refresh token for the one that was left. The sign-in is not lost.
#[test]
fn a_late_answer_brings_the_refresh_token_that_nobody_has_replaced() {
    let issuer = Issuer::builder().token_format(TokenFormat::Opaque).build();
    let source = RefreshToken::builder("https://issuer.test/token")
        .client_auth(ClientAuth::basic("client1", "client-secret"))
        .refresh_token("first")
        .build_with(issuer.service())
        .unwrap();
    let (idle, driven) = (runtime(false), runtime(true));
    let left = leave!(idle, issuer, obtain(&source));
    driven.block_on(async { sleep(MINUTE).await });
    issuer.answer_next(serde_json::json!({ "error": "invalid_grant" }));
    driven.block_on(obtain(&source)).unwrap_err();
    issuer.answer_next(serde_json::json!({ "access_token": "a", "token_type": "Bearer", "refresh_token": "second" }));
    idle.block_on(left).unwrap();
    driven.block_on(obtain(&source)).unwrap_err();
    assert_eq!(issuer.last_request().unwrap().param("refresh_token"), Some("second"));
}

/// A renewal that is dropped gives its turn up at once.
#[tokio::test(start_paused = true)]
async fn a_token_request_that_is_dropped_does_not_delay_the_next() {
    let issuer = issuer();
    let source = grant(issuer.service());
    let gate = issuer.hold();
    assert!(obtain(&source).now_or_never().is_none());
    gate.release();
    let started = tokio::time::Instant::now();
    obtain(&source).await.unwrap();
    assert_eq!(started.elapsed(), Duration::ZERO);
}
