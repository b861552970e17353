//! Stacks with other layers of tower.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use reqwest::{Body, Client, StatusCode, Version};
use tower::{ServiceBuilder, service_fn};
use tower_bearer::{BearerAuthLayer, FixedToken, Outcome, judge_body::BodyRule};
use tower_bearer_reqwest::{HttpClient, KeepBody, RequestBuilderExt, ReqwestTypesLayer};
use tower_http::trace::TraceLayer;

use crate::{
    server::{Server, answer},
    support::{issuer, layer, outcome, spawned},
};

#[tokio::test]
async fn other_layers_above_and_below_keep_the_types_of_reqwest_and_the_url() {
    let issuer = issuer();
    let server = Server::protected(&issuer).await;
    let client = Client::new();
    let layer = layer(&issuer);
    layer.cache().token().await.unwrap();
    issuer.revoke_all();
    // Trace wraps the body, so the response is put together from parts.
    let api = ServiceBuilder::new()
        .layer(ReqwestTypesLayer)
        .layer(TraceLayer::new_for_http())
        .timeout(Duration::from_secs(60))
        .concurrency_limit(2)
        .layer(layer.replay(KeepBody::new()))
        .concurrency_limit(1)
        .layer(TraceLayer::new_for_http())
        .service(HttpClient::new(client.clone()));
    let response = spawned(client.post(server.url("/a?b=c")).body("x").send_with(&api)).await.unwrap();
    assert_eq!((response.status(), response.url().as_str()), (StatusCode::OK, &*server.url("/a?b=c")));
    assert!(outcome(&response).is_some_and(Outcome::retried));
    assert_eq!((response.content_length(), response.text().await.unwrap()), (Some(11), r#"{"total":0}"#.into()));
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_changed_status_and_added_headers_reach_the_response() {
    let server = Server::start(|_| answer(200, "text")).await;
    let client = Client::new();
    let api = ServiceBuilder::new()
        .layer(ReqwestTypesLayer)
        .map_response(|mut response: http::Response<_>| {
            response.headers_mut().insert("x-added", "1".parse().unwrap());
            *response.status_mut() = StatusCode::ACCEPTED;
            response
        })
        .service(HttpClient::new(client.clone()));
    let response = client.get(server.url("/a")).send_with(&api).await.unwrap();
    assert_eq!((response.status(), response.url().as_str()), (StatusCode::ACCEPTED, &*server.url("/a")));
    assert_eq!(
        (&response.headers()["x-added"], &response.headers()["content-length"]),
        (&"1".parse().unwrap(), &"4".parse().unwrap())
    );
    assert_eq!(response.text().await.unwrap(), "text");
}

#[tokio::test]
async fn a_rejection_in_the_body_is_found() {
    const REJECTED: &str = r#"{"errors":[{"extensions":{"code":"UNAUTHENTICATED"}}]}"#;
    let issuer = issuer();
    let checks = issuer.clone();
    let server = Server::start(move |seen| {
        let accepted = checks.check(&seen.headers).is_accepted();
        let mut answer = answer(200, if accepted { r#"{"data":{}}"# } else { REJECTED });
        answer.headers_mut().insert("content-type", "application/json".parse().unwrap());
        answer
    })
    .await;
    let (client, layer) = (Client::new(), layer(&issuer));
    layer.cache().token().await.unwrap();
    issuer.revoke_all();
    let api = ServiceBuilder::new()
        .layer(ReqwestTypesLayer)
        .layer(layer.replay(KeepBody::new()).judge_body(16 * 1024, BodyRule::graphql("UNAUTHENTICATED")))
        .service(HttpClient::new(client.clone()));
    let response = client.post(server.url("/graphql")).json("query").send_with(&api).await.unwrap();
    assert!(outcome(&response).is_some_and(Outcome::retried));
    assert_eq!(response.url().path(), "/graphql");
    assert_eq!(response.text().await.unwrap(), r#"{"data":{}}"#);
}

#[tokio::test]
async fn each_attempt_has_the_timeout_the_version_and_the_extensions_of_the_request() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&seen);
    let below = service_fn(move |request: http::Request<Body>| {
        let tenant = request.extensions().get::<&str>().copied();
        let request = reqwest::Request::try_from(request).unwrap();
        record.lock().unwrap().push((request.timeout().copied(), request.version(), tenant));
        std::future::ready(Ok::<_, reqwest::Error>(
            http::Response::builder().status(401).body(Body::default()).unwrap(),
        ))
    });
    let tokens = std::sync::atomic::AtomicU64::new(0);
    let source = tower_bearer::source::from_fn(move |_| {
        let n = tokens.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        std::future::ready(tower_bearer::AccessToken::new(format!("t{n}")))
    });
    let api = ServiceBuilder::new()
        .layer(ReqwestTypesLayer)
        .layer(BearerAuthLayer::new(source).replay(KeepBody::new()))
        .service(below);
    let request = Client::new().get("https://api.test/").timeout(Duration::from_secs(5)).version(Version::HTTP_2);
    request.with_extension("acme").unwrap().send_with(&api).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), [(Some(Duration::from_secs(5)), Version::HTTP_2, Some("acme")); 2]);
}

/// A layer with the default strategy works for bodies that are `Clone`, and not for reqwest's.
#[test]
fn keep_body_is_a_strategy_like_others() {
    fn keeps<R: tower_bearer::replay::Replay<Body>>(_: R) {}
    keeps(KeepBody::default());
    keeps(Some(KeepBody::new()));
    keeps(tower_bearer::replay::NoReplay);
    let layer = BearerAuthLayer::new(FixedToken::new("t").unwrap()).replay(KeepBody::new());
    assert!(format!("{layer:?}").contains("KeepBody"));
}
