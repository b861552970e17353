//! The layer as a tower service: its contract, the limits that it shares, and real connections.

use std::{cell::Cell, convert::Infallible, rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::FutureExt;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{
    sync::Semaphore,
    task::{LocalSet, spawn_local, yield_now},
};
use tokio_test::{assert_pending, assert_ready_ok, task};
use tower::{Layer, Service, ServiceExt, limit::GlobalConcurrencyLimitLayer, service_fn};
use tower_bearer::{
    BearerAuthLayer, Error, NotRetried, Outcome, TokenCache,
    testing::{Failure, Issuer},
};
#[cfg(feature = "client")]
use tower_bearer::{
    PasswordGrant,
    grant::{ClientAuth, HttpClient},
};
use tower_test::mock;

use crate::raw;
use crate::scripted::{Api, Numbered, Strict, URI, get, send, status};
use crate::support::grant;

const LONG: Duration = Duration::from_secs(5);

/// See "Be careful when cloning inner services" in tower's documentation.
#[tokio::test]
async fn the_retry_waits_until_the_inner_service_is_ready() {
    let layer = BearerAuthLayer::new(Numbered::default());
    layer.cache().token().await.unwrap();
    let (mut service, mut handle) = mock::spawn_layer::<Request<Full<Bytes>>, Response<String>, _>(layer);
    handle.allow(0);
    assert_pending!(service.poll_ready());
    handle.allow(1);
    assert_ready_ok!(service.poll_ready());

    let mut answer = task::spawn(service.call(get(URI)));
    let (_, reply) = handle.next_request().await.unwrap();
    reply.send_response(Response::builder().status(401).body(String::new()).unwrap());
    for _ in 0..3 {
        assert_pending!(answer.poll());
        yield_now().await;
    }
    assert!(handle.next_request().now_or_never().is_none(), "sent without being ready");
    handle.allow(1);
    assert!(answer.is_woken());
    assert_pending!(answer.poll());
    let (second, reply) = handle.next_request().await.unwrap();
    assert_eq!(second.headers()["authorization"], "Bearer t2");
    reply.send_response(Response::new(String::new()));
    assert_eq!(assert_ready_ok!(answer.poll()).status(), 200);
}

/// The error is the service's own. It is neither a rejection nor an error of the crate.
#[tokio::test]
async fn the_error_of_a_service_that_is_gone_is_passed_on() {
    let layer = BearerAuthLayer::new(Numbered::default());
    let (mut service, mut handle) = mock::spawn_layer::<Request<Full<Bytes>>, Response<String>, _>(layer);
    handle.send_error("closed");
    let std::task::Poll::Ready(Err(error)) = service.poll_ready::<Request<Full<Bytes>>>() else {
        panic!("the service is closed, so it is an error")
    };
    assert!(!error.is::<Error>());
}

/// The permit is available to others while the request waits for a token.
#[tokio::test(start_paused = true)]
async fn readiness_is_given_up_while_waiting_for_a_token() {
    let (issuer, permits) = (Issuer::new(), Arc::new(Semaphore::new(1)));
    let limit = GlobalConcurrencyLimitLayer::with_semaphore(Arc::clone(&permits));
    let layer = BearerAuthLayer::new(grant(issuer.service()));
    let mut service = layer.layer(limit.layer(Strict::new(issuer.api())));
    let gate = issuer.hold();
    let request = tokio::spawn(async move { send(&mut service, get(URI)).await.map(|answer| answer.status()) });
    gate.waiting(1).await;
    assert_eq!(permits.available_permits(), 1);
    gate.release();
    assert_eq!(request.await.unwrap().unwrap(), 200);
}

/// A queue below the layer can take longer than a token's lifetime.
#[tokio::test(start_paused = true)]
async fn a_request_that_queued_for_long_goes_with_the_newest_token() {
    let (api, permits) = (Api::default(), Arc::new(Semaphore::new(1)));
    let cache = TokenCache::new(Numbered::default());
    let limit = GlobalConcurrencyLimitLayer::with_semaphore(Arc::clone(&permits));
    let mut client = BearerAuthLayer::with_cache(cache.clone()).layer(limit.layer(api.clone()));

    let ready = ServiceExt::<Request<Full<Bytes>>>::ready(&mut client).await.unwrap();
    let mut queued = task::spawn(ready.call(get(URI)));
    let place = permits.acquire_owned().await.unwrap();
    let first = cache.token().await.unwrap();
    assert_pending!(queued.poll(), "it has its token, and waits for the queue");
    cache.invalidate(&first);
    cache.token().await.unwrap();
    drop(place);
    assert_eq!(queued.await.unwrap().status(), StatusCode::OK);
    assert_eq!(api.take_authorizations(), ["Bearer t2"]);
}

/// An idle service holds no permit after a call that failed because there was no token.
#[tokio::test(start_paused = true)]
async fn readiness_is_given_up_when_there_is_no_token() {
    let (source, permits) = (Numbered::default(), Arc::new(Semaphore::new(1)));
    let limit = GlobalConcurrencyLimitLayer::with_semaphore(Arc::clone(&permits));
    let mut service = BearerAuthLayer::new(source.clone()).layer(limit.layer(Strict::new(Api::default())));
    source.fail(true);
    for backing_off in [false, true] {
        let error = send(&mut service, get(URI)).await.unwrap_err();
        assert_eq!(error.downcast_ref().map(Error::is_backing_off), Some(backing_off));
        assert_eq!(permits.available_permits(), 1, "backing off: {backing_off}");
    }
}

/// The token endpoint's client and the API's client share one permit, in all situations.
#[tokio::test(start_paused = true)]
async fn one_permit_for_both_clients_is_enough() {
    let limit = GlobalConcurrencyLimitLayer::new(1);
    let issuer = Issuer::new();
    let layer = BearerAuthLayer::new(grant(limit.layer(issuer.service())));
    let mut service = layer.layer(limit.layer(Strict::new(issuer.api())));
    issuer.fail_next(4, Failure::Status(503));
    send(&mut service, get(URI)).await.unwrap_err();
    send(&mut service, get(URI)).await.unwrap_err();
    tokio::time::advance(LONG).await;
    let mut other = service.clone();
    let answer = tokio::time::timeout(10 * LONG, send(&mut other, get(URI))).await.expect("a permit is free");
    assert_eq!(answer.unwrap().status(), 200);
    issuer.revoke_all();
    assert_eq!(send(&mut service, get(URI)).await.unwrap().status(), 200);
    assert_eq!(issuer.counts().issued, 2);
}

fn client() -> Client<HttpConnector, Full<Bytes>> {
    Client::builder(TokioExecutor::new()).build_http()
}

#[cfg(feature = "client")]
fn loopback_grant(token_url: String) -> PasswordGrant<HttpClient> {
    PasswordGrant::builder(token_url)
        .client_auth(ClientAuth::basic("client1", "client-secret"))
        .credentials("user1", "user-password")
        .build()
        .unwrap()
}

#[cfg(feature = "client")]
#[tokio::test]
async fn a_real_client_gets_reuses_and_renews_a_token_from_a_real_server() {
    let issuer = Issuer::new();
    let server = issuer.listen().await.unwrap();
    let mut service = BearerAuthLayer::new(loopback_grant(server.token_url())).layer(client());
    for (revoked, tokens) in [(false, 1), (false, 1), (true, 2), (false, 2)] {
        if revoked {
            issuer.revoke_all();
        }
        let request = Request::post(server.url("/fhir/Patient")).body(Full::from("{}")).unwrap();
        let answer = send(&mut service, request).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert!(answer.into_body().collect().await.unwrap().to_bytes().starts_with(b"{"));
        assert_eq!(issuer.counts().token_requests, tokens);
    }
    assert_eq!(issuer.counts().api_rejected, 1);
}

#[tokio::test]
async fn the_retry_reuses_the_connection_of_the_401() {
    let (addr, taken) = raw::api([
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
        "HTTP/1.1 401 Unauthorized\r\ncontent-length: 25\r\n\r\n{\"error\":\"invalid_token\"}",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
    ])
    .await;
    let mut service = BearerAuthLayer::new(Numbered::default()).layer(client());
    for retried in [false, true] {
        let answer = send(&mut service, get(&format!("http://{addr}/"))).await.unwrap();
        assert_eq!(answer.extensions().get().map(Outcome::retried), Some(retried));
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "hi");
    }
    assert_eq!(taken.lock().unwrap().connections, 1);
}

#[tokio::test]
async fn two_layers_over_one_cache_make_one_token_request() {
    let issuer = Issuer::new();
    let cache = TokenCache::new(grant(issuer.service()));
    let layers = [BearerAuthLayer::with_cache(cache.clone()), BearerAuthLayer::with_cache(cache)];
    let requests = layers.map(|layer| layer.layer(Strict::new(issuer.api())).oneshot(get(URI)));
    for answer in futures::future::try_join_all(requests).await.unwrap() {
        assert_eq!(answer.status(), 200);
    }
    assert_eq!(issuer.counts().token_requests, 1);
}

#[tokio::test]
async fn a_body_that_is_not_clone_is_sent_without_retry() {
    let api = Api::answering([status(401)]);
    let layer = BearerAuthLayer::new(Numbered::default()).without_retry();
    let mut service = layer.layer(Strict::new(api.clone()));
    for expected in [401, 200] {
        let request = Request::post(URI).body(Full::from("once").boxed_unsync()).unwrap();
        assert_eq!(send(&mut service, request).await.unwrap().status(), expected);
    }
    assert_eq!(api.take_authorizations(), ["Bearer t1", "Bearer t2"]);
}

#[tokio::test]
async fn an_inner_service_need_not_be_send() {
    let calls = Rc::new(Cell::new(0));
    let counting = Rc::clone(&calls);
    let api = service_fn(move |request: Request<Rc<str>>| {
        counting.set(counting.get() + 1);
        let rejected = request.headers()["authorization"] == "Bearer t1";
        async move {
            Ok::<_, Infallible>(
                Response::builder().status(if rejected { 401 } else { 200 }).body(String::new()).unwrap(),
            )
        }
    });
    let service = BearerAuthLayer::new(Numbered::default()).layer(api);
    let answer = LocalSet::new()
        .run_until(async { spawn_local(service.oneshot(Request::new(Rc::from("here")))).await.unwrap().unwrap() })
        .await;
    assert_eq!(answer.status(), 200);
    assert_eq!(calls.get(), 2);
}

/// A 401 of the token endpoint is a refusal, and does not cause a renewal.
#[tokio::test(start_paused = true)]
async fn a_401_of_the_token_endpoint_is_an_error() {
    let issuer = Issuer::new();
    let mut service = BearerAuthLayer::new(grant(issuer.service())).layer(Strict::new(issuer.api()));
    issuer.fail_until_cleared(Failure::OAuth(401, "invalid_client"));
    let error = send(&mut service, get(URI)).await.unwrap_err().downcast::<Error>().unwrap();
    assert!(error.is_terminal() && error.status() == Some(StatusCode::UNAUTHORIZED));
    assert_eq!((issuer.counts().token_requests, issuer.counts().api_requests), (1, 0));

    issuer.clear_failures();
    tokio::time::advance(Duration::from_secs(600)).await;
    send(&mut service, get(URI)).await.unwrap();
    issuer.revoke_all();
    issuer.fail_until_cleared(Failure::Status(401));
    let answer = send(&mut service, get(URI)).await.unwrap();
    let why = answer.extensions().get().and_then(Outcome::not_retried);
    assert!(matches!(why, Some(NotRetried::RenewalFailed { .. })), "{why:?}");
    assert_eq!((issuer.counts().token_requests, issuer.counts().api_requests), (3, 2));
}
