//! What happens to a rejected request.

use std::{pin::pin, sync::Arc, time::Duration};

use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body_util::Full;
use tokio::{sync::Semaphore, time::advance};
use tower::{Layer, ServiceBuilder, ServiceExt, limit::GlobalConcurrencyLimitLayer, timeout};
use tower_bearer::{BearerAuthLayer, FixedToken, NotRetried, SkipBearerAuth, TokenCache, cache::Age};

use crate::scripted::{Answer, Api, Numbered, Strict, URI, World, get, outcome, send, status, text, world};
use crate::support::polled;

/// RFC 9110 §15.5.2.
#[tokio::test]
async fn one_retry_never_two_and_its_answer_is_final() {
    for second in [200, 401, 403, 419, 500, 503] {
        let world = world([status(401), status(second), status(200)]);
        let answer = world.get().await;
        assert_eq!(answer.status(), second);
        assert!(outcome(&answer).retried() && outcome(&answer).not_retried().is_none());
        assert_eq!(outcome(&answer).generation(), 2);
        assert_eq!(world.api.take_authorizations(), ["Bearer t1", "Bearer t2"]);
        assert_eq!(world.source.asked(), 2);
    }
}

/// It is the inner service's own error, unchanged.
#[tokio::test]
async fn the_retrys_error_is_final() {
    let world = world([status(401), Answer::Fail("connection reset")]);
    let error = send(&mut world.service(), get(URI)).await.unwrap_err();
    assert_eq!(error.to_string(), "connection reset");
    assert!(!error.is::<tower_bearer::Error>());
    assert_eq!(world.api.take_seen().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_retrys_timeout_is_final() {
    let world = world([status(401), Answer::Hang]);
    let api = ServiceBuilder::new().timeout(Duration::from_secs(5)).service(Strict::new(world.api.clone()));
    let error = send(&mut world.layer.layer(api), get(URI)).await.unwrap_err();
    assert!(error.is::<timeout::error::Elapsed>());
    assert_eq!(world.api.take_seen().len(), 2);
}

#[tokio::test]
async fn a_body_that_cannot_be_replayed_costs_the_retry_but_not_the_renewal() {
    let World { api, source, layer } = world([status(401)]);
    let mut service = layer.without_retry().layer(Strict::new(api.clone()));
    let answer = send(&mut service, get(URI)).await.unwrap();
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.headers()["www-authenticate"], "Bearer error=invalid_token");
    assert!(matches!(outcome(&answer).not_retried(), Some(NotRetried::NotReplayable)));
    assert_eq!(send(&mut service, get(URI)).await.unwrap().status(), 200);
    assert_eq!(api.take_authorizations(), ["Bearer t1", "Bearer t2"]);
    assert_eq!(source.asked(), 2);
}

/// Any method is retried, because a 401 means that the request was not applied (RFC 9110 §9.2.2).
#[tokio::test]
async fn the_retried_request_differs_from_the_first_only_in_its_token() {
    #[derive(Clone, Debug, PartialEq)]
    struct Marker(u8);

    let world = world([status(401)]);
    let request = Request::builder()
        .method(Method::POST)
        .uri("https://api.example.org/a%20b?c=d&c=e")
        .version(Version::HTTP_10)
        .header("x-repeated", "1")
        .header("accept", "application/fhir+json")
        .header("x-repeated", "2")
        .header("x-bytes", HeaderValue::from_bytes(b"\xff").unwrap())
        .header("x-repeated", "1")
        .extension(Marker(7))
        .body(Full::from("payload"))
        .unwrap();
    let headers = request.headers().clone();
    send(&mut world.service(), request).await.unwrap();
    let seen = world.api.take_seen();
    let tokens: Vec<_> = seen.iter().map(|seen| seen.head.headers["authorization"].clone()).collect();
    assert_eq!(tokens, ["Bearer t1", "Bearer t2"]);
    for mut seen in seen {
        seen.head.headers.remove("authorization");
        assert_eq!(seen.head.method, Method::POST);
        assert_eq!(seen.head.uri, "https://api.example.org/a%20b?c=d&c=e");
        assert_eq!(seen.head.version, Version::HTTP_10);
        assert!(seen.head.headers.iter().eq(headers.iter()), "{:?}", seen.head.headers);
        assert_eq!(seen.head.extensions.get(), Some(&Marker(7)));
        assert_eq!(seen.body, "payload");
    }
}

#[tokio::test]
async fn a_failed_renewal_leaves_the_401_as_it_was() {
    let world = world([]);
    world.get().await;
    let rejection = Response::builder()
        .status(401)
        .version(Version::HTTP_2)
        .header("x-trace", "a")
        .header("x-trace", "b")
        .extension(7_u8)
        .body(Full::from("who are you?"))
        .unwrap();
    world.api.will(Answer::Say(rejection));
    world.source.fail(true);
    let answer = world.get().await;
    assert!(
        matches!(outcome(&answer).not_retried(), Some(NotRetried::RenewalFailed { error, .. }) if error.is_transient())
    );
    assert!(!outcome(&answer).retried());
    assert_eq!((answer.status(), answer.version()), (StatusCode::UNAUTHORIZED, Version::HTTP_2));
    assert!(answer.headers().get_all("x-trace").iter().eq(["a", "b"]));
    assert_eq!(answer.headers().len(), 2);
    assert_eq!(answer.extensions().get(), Some(&7_u8));
    assert_eq!(text(answer.into_body()).await, "who are you?");
    assert_eq!(world.api.take_authorizations(), ["Bearer t1", "Bearer t1"]);
}

/// The caller gets the original 401, without a second attempt.
#[tokio::test]
async fn the_same_token_again_is_not_sent_again() {
    let api = Api::answering([status(401)]);
    let layer = BearerAuthLayer::new(FixedToken::new("fixed").unwrap());
    let answer = send(&mut layer.layer(Strict::new(api.clone())), get(URI)).await.unwrap();
    assert!(matches!(outcome(&answer).not_retried(), Some(NotRetried::SameToken)));
    assert_eq!((answer.status().as_u16(), api.take_seen().len()), (401, 1));
}

/// A late rejection does not cause a renewal.
#[tokio::test]
async fn a_late_401_costs_a_retry_and_no_renewal() {
    let world = world([]);
    world.get().await;
    let old = world.layer.cache().token().await.unwrap();
    let mut service = world.service();
    let mut late = pin!(send(&mut service, get(URI)));
    assert!(futures::poll!(&mut late).is_pending(), "polled ready");
    world.api.will(status(401));
    // It is sent with the first token, which is replaced before the API decides.
    assert!(futures::poll!(&mut late).is_pending());
    world.layer.cache().invalidate(&old);
    world.layer.cache().token().await.unwrap();
    let answer = late.await.unwrap();
    assert_eq!((answer.status().as_u16(), outcome(&answer).generation()), (200, 2));
    assert_eq!(world.api.take_authorizations()[1..], ["Bearer t1", "Bearer t2"]);
    assert_eq!(world.source.asked(), 2);
}

/// The requests are rejected, so that they pass through every state. A semaphore would show a permit that is not
/// returned.
#[tokio::test(start_paused = true)]
async fn a_future_dropped_in_any_state_leaves_the_cache_sound() {
    let mut polls = 0;
    loop {
        let World { api, source, layer } = world([status(401)]);
        let permits = Arc::new(Semaphore::new(1));
        let limit = GlobalConcurrencyLimitLayer::with_semaphore(Arc::clone(&permits));
        let mut service = layer.layer(limit.layer(Strict::new(api.clone())));
        let ended = polled(polls, send(&mut service, get(URI))).await;
        // A service that was polled ready and not called keeps its permit until it is dropped.
        drop(service);
        assert_eq!(permits.available_permits(), 1, "after {polls} polls");

        advance(Duration::from_secs(1)).await;
        let mut service = layer.layer(limit.layer(Strict::new(api)));
        assert_eq!(send(&mut service, get(URI)).await.unwrap().status(), 200, "after {polls} polls");
        assert!((1..=2).contains(&source.asked()), "{} renewals after {polls} polls", source.asked());
        let status = layer.cache().status();
        assert!(status.age == Age::Fresh && !status.renewing && status.failures == 0, "{status:?}");
        if ended {
            break;
        }
        polls += 1;
    }
    assert!(polls > 8, "only {polls} polls: not all states were gone through");
}

/// Each request has one token, sent in one way (RFC 6750 §2).
#[tokio::test]
async fn the_layer_owns_authorization() {
    let with = || {
        let mut request = get(URI);
        for end_user in ["Bearer end-user", "Basic ZW5kLXVzZXI="] {
            request.headers_mut().append("authorization", end_user.parse().unwrap());
        }
        request
    };
    let world = world([status(401)]);
    send(&mut world.service(), with()).await.unwrap();
    for (seen, token) in world.api.take_seen().into_iter().zip(["Bearer t1", "Bearer t2"]) {
        let values: Vec<_> = seen.head.headers.get_all("authorization").iter().collect();
        assert_eq!(values, [token]);
        assert!(values[0].is_sensitive());
    }

    let keeping = world.layer.clone().keep_existing(true);
    let mut service = keeping.layer(Strict::new(world.api.clone()));
    world.api.will(status(401));
    let answer = send(&mut service, with()).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.extensions().is_empty()), (401, true));
    send(&mut service, get(URI)).await.unwrap();
    assert_eq!(world.api.take_authorizations(), ["Bearer end-user", "Bearer t2"]);
    assert_eq!(world.source.asked(), 2);
}

#[tokio::test]
async fn a_skipped_request_is_unchanged() {
    let world = world([status(401)]);
    let mut request = get(URI);
    request.extensions_mut().insert(SkipBearerAuth);
    let answer = send(&mut world.service(), request).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.extensions().is_empty()), (401, true));
    assert_eq!(world.api.take_authorizations(), ["none"]);
    assert_eq!(world.source.asked(), 0);
}

#[tokio::test]
async fn a_plain_hit_adds_nothing_to_the_answer() {
    let world = world([]);
    let first = world.get().await;
    assert!(outcome(&first).waited() && !outcome(&first).retried() && outcome(&first).not_retried().is_none());
    assert!(world.get().await.extensions().is_empty());
}

#[tokio::test]
async fn a_request_without_a_token_is_not_sent() {
    let world = world([]);
    world.source.fail(true);
    for backing_off in [false, true] {
        let error = send(&mut world.service(), get(URI)).await.unwrap_err();
        let error = error.downcast::<tower_bearer::Error>().expect("the token's error, not wrapped");
        assert_eq!(error.is_backing_off(), backing_off);
    }
    // The renewal is tried again three times, but not during the backoff.
    assert_eq!((world.api.take_seen().len(), world.source.asked()), (0, 4));
}

/// An error of the inner service in the first attempt is not wrapped either.
#[tokio::test]
async fn the_inner_services_error_passes_through() {
    let world = world([Answer::Fail("refused")]);
    assert_eq!(send(&mut world.service(), get(URI)).await.unwrap_err().to_string(), "refused");
    assert_eq!(world.get().await.status(), 200);
    assert_eq!(world.api.take_authorizations(), ["Bearer t1"; 2]);
}

/// With one cache and many layers, one renewal is enough. The retries of all layers use its token.
#[tokio::test]
async fn concurrent_rejections_share_one_renewal() {
    let source = Numbered::default();
    let cache = TokenCache::new(source.clone());
    cache.token().await.unwrap();
    let api = Api::answering((0..20).map(|_| status(401)));
    let requests = (0..20).map(|_| {
        let layer = BearerAuthLayer::with_cache(cache.clone());
        layer.layer(Strict::new(api.clone())).oneshot(get(URI))
    });
    for answer in futures::future::try_join_all(requests).await.unwrap() {
        assert_eq!((answer.status().as_u16(), outcome(&answer).retried()), (200, true));
    }
    assert_eq!((source.asked(), api.take_seen().len()), (2, 40));
}
