//! The scripted API of `testing`, and the assertions about what came.

use std::{convert::Infallible, panic::AssertUnwindSafe, time::Duration};

use bytes::Bytes;
use futures::channel::mpsc;
use http::{Request, header::AUTHORIZATION};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::time::Instant;
use tower::{Layer, ServiceExt};
use tower_bearer::{
    BearerAuthLayer, Outcome,
    testing::{Issuer, Reply, Upstream},
};

use crate::support::{grant, issuer, obtain};

fn client() -> Client<HttpConnector, Full<Bytes>> {
    Client::builder(TokioExecutor::new()).build_http()
}

fn post(uri: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post(uri).body(Full::new(body.into())).unwrap()
}

fn with_token(token: &str) -> Request<Full<Bytes>> {
    let mut request = post("https://api.test/a?access_token=s3cret", "the body");
    request.headers_mut().insert(AUTHORIZATION, token.parse().unwrap());
    request
}

/// Returns the message with which an assertion fails.
fn message(assertion: impl FnOnce()) -> String {
    *std::panic::catch_unwind(AssertUnwindSafe(assertion)).unwrap_err().downcast().unwrap()
}

#[tokio::test]
async fn the_replies_come_in_order_in_process_and_on_loopback() {
    for loopback in [false, true] {
        let api = Upstream::new();
        let busy = Reply::status(503).header("retry-after", "1").body("busy");
        api.answer_next([busy, Reply::redirect(307, "/b"), Reply::close()]);
        api.answer_next(std::iter::repeat_n(Reply::unauthorized(), 2));
        let server = api.listen().await.unwrap();
        let mut answers = Vec::new();
        for _ in 0..6 {
            let request = post(&server.url("a?b=c"), "hello");
            let answer = if loopback {
                client().request(request).await.map_err(drop).map(|answer| answer.map(BodyExt::boxed_unsync))
            } else {
                let map = |body: Full<Bytes>| body.map_err(|never| match never {}).boxed_unsync();
                api.service().oneshot(request).await.map_err(drop).map(|answer| answer.map(map))
            };
            if let Ok(answer) = answer {
                let (head, body) = answer.into_parts();
                let name = if head.status == 503 { "retry-after" } else { "location" };
                let value = head.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
                answers.push((head.status.as_u16(), value, body.collect().await.unwrap().to_bytes()));
            }
        }
        let expected =
            [(503, Some("1"), "busy"), (307, Some("/b"), ""), (401, None, ""), (401, None, ""), (200, None, "")];
        assert_eq!(answers, expected.map(|(status, value, body)| (status, value.map(str::to_owned), body.into())));
        api.assert_statuses([503, 307, 0, 401, 401, 200]);
        api.assert_bodies("hello");
        let first = &api.requests()[0];
        assert_eq!((first.method().as_str(), first.path(), first.uri().query()), ("POST", "/a", Some("b=c")));
        assert_eq!(first.header("content-length").is_some(), loopback);
    }
}

#[tokio::test]
async fn a_protected_api_checks_tokens_and_names_them_without_showing_them() {
    let issuer = Issuer::new();
    let api = Upstream::protected_by(&issuer);
    let server = api.listen().await.unwrap();
    let layer = BearerAuthLayer::new(grant(issuer.service()));
    for revoked in [false, true, false] {
        if revoked {
            issuer.revoke_current();
        }
        let answer = layer.layer(client()).oneshot(post(&server.url("/a"), "hello")).await.unwrap();
        assert_eq!(answer.extensions().get().is_some_and(Outcome::retried), revoked);
    }
    api.assert_statuses([200, 401, 200, 200]);
    api.assert_tokens(["token 1", "token 1", "token 2", "token 2"]);
    api.assert_bodies("hello");
    issuer.assert_token_requests(2);
    issuer.assert_grants(["password", "password"]);

    let secret = layer.cache().token().await.unwrap().secret().to_owned();
    let requests = api.requests();
    let shown = format!("{api:?} {requests:?} {} {:?}", requests[3], requests[3].headers());
    assert!(shown.contains("token 2") && shown.contains("authorization") && !shown.contains(&secret), "{shown}");
}

/// In process, the header is as the layer sent it.
#[tokio::test]
async fn in_process_a_test_sees_that_the_token_is_marked_as_sensitive() {
    let api = Upstream::new();
    let layer = BearerAuthLayer::new(grant(issuer().service()));
    layer.layer(api.service()).oneshot(post("https://api.test/a", "")).await.unwrap();
    assert!(api.requests()[0].headers()[AUTHORIZATION].is_sensitive());
    api.service().oneshot(with_token("Bearer own")).await.unwrap();
    assert!(!api.requests()[1].headers()[AUTHORIZATION].is_sensitive());
}

#[tokio::test]
async fn an_answer_before_the_body_is_read_is_followed_by_the_body_on_loopback_only() {
    let api = Upstream::new();
    api.answer_otherwise(Reply::unauthorized().before_reading());
    let server = api.listen().await.unwrap();
    let (sender, chunks) = mpsc::unbounded::<Result<Frame<Bytes>, Infallible>>();
    let body = StreamBody::new(chunks);
    let client = Client::builder(TokioExecutor::new()).build_http();
    let answer = client.request(Request::post(server.url("/a")).body(body).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 401);
    let [request] = &api.requests()[..] else { panic!("one request") };
    assert!(!request.is_whole() && request.to_string().contains("not the whole body"), "{request}");
    sender.unbounded_send(Ok(Frame::data(Bytes::from("late")))).unwrap();
    drop(sender);
    while !api.requests()[0].is_whole() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    api.assert_bodies("late");

    api.forget_requests();
    api.service().oneshot(post("https://api.test/a", "body")).await.unwrap();
    api.assert_statuses([401]);
    assert!(!api.requests()[0].is_whole() && api.requests()[0].body().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_delay_uses_tokio_time_a_gate_holds_and_a_hanging_request_has_no_answer() {
    let api = Upstream::new();
    api.answer_next([Reply::status(200).delay(Duration::from_secs(5)), Reply::hang()]);
    let start = Instant::now();
    api.service().oneshot(with_token("Bearer a")).await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    let hanging = api.service().oneshot(with_token("Bearer a"));
    tokio::time::timeout(Duration::from_secs(60), hanging).await.unwrap_err();
    let gate = api.hold();
    let held = tokio::spawn(api.service().oneshot(with_token("Bearer b")));
    gate.waiting(1).await;
    api.assert_statuses([200, 0, 0]);
    gate.release();
    held.await.unwrap().unwrap();
    api.assert_statuses([200, 0, 200]);
}

#[tokio::test]
async fn the_message_of_an_assertion_lists_what_came_without_secrets() {
    let (issuer, api) = (issuer(), Upstream::new());
    let source = grant(issuer.service());
    assert_eq!(message(|| issuer.assert_token_requests(1)), "token requests: expected 1, but 0 arrived: none");
    obtain(&source).await.unwrap();
    issuer.assert_token_requests(1);
    assert_eq!(
        message(|| issuer.assert_token_requests(2)),
        "token requests: expected 2, but 1 arrived:\n  1. password with grant_type, username, password"
    );
    let says = message(|| issuer.assert_grants(["refresh_token"]));
    assert_eq!(
        says,
        "grants: expected [\"refresh_token\"], but these arrived:\n  1. password with grant_type, username, password"
    );

    api.assert_requests(0);
    assert_eq!(message(|| api.assert_bodies("")), "bodies: expected 0 bytes, but no request arrived");
    api.answer_next([Reply::unauthorized()]);
    for token in ["Bearer s3cret-a", "Bearer s3cret-b"] {
        api.service().oneshot(with_token(token)).await.unwrap();
    }
    let list = "\n  1. POST /a, token 1, 8 bytes, answered 401\n  2. POST /a, token 2, 8 bytes, answered 200";
    assert_eq!(message(|| api.assert_requests(1)), format!("requests: expected 1, but 2 arrived:{list}"));
    assert_eq!(
        message(|| api.assert_statuses([200, 200])),
        format!("statuses: expected [200, 200], but it was:{list}")
    );
    assert_eq!(
        message(|| api.assert_tokens(["token 1", "token 1"])),
        format!("tokens: expected [\"token 1\", \"token 1\"], but it was:{list}")
    );
    assert_eq!(
        message(|| api.assert_bodies("the bod")),
        format!("bodies: expected 7 bytes, but request 1 has another body:{list}")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_dropped_answers_no_request() {
    for _ in 0..50 {
        let api = Upstream::new();
        api.answer_otherwise(Reply::status(204));
        let server = api.listen().await.unwrap();
        let client = client();
        let url = server.url("/");
        assert_eq!(client.request(post(&url, "")).await.unwrap().status(), 204);
        drop(server);
        assert!(client.request(post(&url, "")).await.is_err());
        api.assert_requests(1);
    }
}
