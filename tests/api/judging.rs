//! What a response says about the token.

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use tower::Layer;
use tower_bearer::{
    AccessToken, BearerAuthLayer, InsufficientScope, InsufficientUserAuthentication, NotRetried, Outcome, Verdict,
    source::from_fn,
};

use crate::scripted::{Answer, Api, Strict, URI, World, challenge, get, outcome, send, status, world};

/// RFC 6750 §3.1, RFC 9470 §3.
#[tokio::test]
async fn a_response_that_a_new_token_cannot_fix_causes_no_renewal_and_no_retry() {
    const SCOPE: &str = "Bearer error=\"insufficient_scope\", scope=\"admin\"";
    const USER: &str = "Bearer error=insufficient_user_authentication, acr_values=mfa";
    for (code, says) in [
        (401, SCOPE),
        (401, USER),
        (403, SCOPE),
        (403, USER),
        (403, "Bearer error=invalid_token"),
        (403, "DPoP error=insufficient_scope"),
        (403, ""),
        (400, "Bearer error=invalid_request"),
        (400, SCOPE),
        (407, "Bearer error=invalid_token"),
        (500, "Bearer error=invalid_token"),
        (503, ""),
    ] {
        let world = world([challenge(200, ""), challenge(code, says)]);
        world.get().await;
        let answer = world.get().await;
        assert_eq!(answer.status(), code);
        let insufficient = [401, 403].contains(&code) && [SCOPE, USER].contains(&says);
        assert_eq!(answer.extensions().len(), if insufficient { 2 } else { 0 }, "{code} {says}");
        world.get().await;
        assert_eq!(world.api.take_authorizations(), ["Bearer t1"; 3], "{code} {says}");
        assert_eq!(world.source.asked(), 1);
    }
}

/// Returns the missing scope and the missing authentication that the caller finds in the response.
fn missing(answer: &Response<Full<Bytes>>) -> (Option<&InsufficientScope>, Option<&InsufficientUserAuthentication>) {
    (answer.extensions().get(), answer.extensions().get())
}

/// The extensions have a typed value, and the outcome has the reason.
#[tokio::test]
async fn what_is_missing_is_in_the_extensions_of_a_401_or_403() {
    for code in [401, 403] {
        let world = world([
            challenge(code, "DPoP error=insufficient_scope, scope=x, BEARER error=insufficient_scope, scope=\"a b\""),
            challenge(code, "Bearer error=insufficient_user_authentication, acr_values=\"one two\", max_age=60"),
        ]);
        let answer = world.get().await;
        let (scope, None) = missing(&answer) else { panic!("the scope alone") };
        assert_eq!(scope.and_then(InsufficientScope::required), Some("a b"));
        assert_eq!(scope.and_then(InsufficientScope::granted), None);
        assert!(matches!(outcome(&answer).not_retried(), Some(NotRetried::InsufficientScope)));

        let answer = world.get().await;
        let (None, Some(user)) = missing(&answer) else { panic!("the authentication alone") };
        assert_eq!(user.acr_values().collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!(user.max_age(), Some(Duration::from_secs(60)));
        assert!(matches!(outcome(&answer).not_retried(), Some(NotRetried::InsufficientUserAuthentication)));
    }
}

/// The second attempt's response is final, and has the same extensions as a first one.
#[tokio::test]
async fn what_is_missing_is_reported_for_a_second_attempt_too() {
    let world = world([status(401), challenge(403, "Bearer error=insufficient_scope, scope=admin")]);
    let answer = world.get().await;
    assert_eq!((answer.status().as_u16(), outcome(&answer).retried()), (403, true));
    assert_eq!(missing(&answer).0.and_then(InsufficientScope::required), Some("admin"));
    assert!(world.get().await.extensions().is_empty(), "the second token stays");
}

/// RFC 6749 §5.1.
#[tokio::test]
async fn the_granted_scope_is_reported_with_the_required_scope() {
    let source = from_fn(async |_| AccessToken::new("t").map(|token| token.with_scope("read")));
    let api = Api::answering([challenge(403, "Bearer error=insufficient_scope, scope=\"read write\"")]);
    let answer = send(&mut BearerAuthLayer::new(source).layer(Strict::new(api)), get(URI)).await.unwrap();
    let scope = missing(&answer).0.unwrap();
    assert_eq!(scope.granted().map(ToString::to_string).as_deref(), Some("read"));
    assert_eq!((scope.required(), scope.missing().unwrap().to_string()), (Some("read write"), "write".into()));
}

/// A vendor's own status has no challenge to read.
#[tokio::test]
async fn an_insufficiency_from_a_custom_rule_has_no_details() {
    let vendor = Response::builder().status(422).header("x-missing-scope", "1").body(Full::default()).unwrap();
    let World { api, layer, .. } = world([Answer::Say(vendor)]);
    let layer = layer.judge_by(|status, headers| match headers.get("x-missing-scope") {
        Some(_) => Verdict::InsufficientScope,
        None => Verdict::standard(status, headers),
    });
    let answer = send(&mut layer.layer(Strict::new(api.clone())), get(URI)).await.unwrap();
    assert_eq!(missing(&answer).0.map(InsufficientScope::required), Some(None));
}

/// Many servers send a challenge without an error code (RFC 6750 §3.1).
#[tokio::test]
async fn a_401_without_a_bearer_challenge_is_a_rejection() {
    for says in ["", "Basic realm=\"x\"", "Negotiate", "Bearer", "Bearer realm=\"x\"", "Bearer error=expired", ",,\"="]
    {
        let world = world([challenge(401, says)]);
        assert_eq!(world.get().await.status(), 200, "{says}");
        assert_eq!(world.api.take_authorizations(), ["Bearer t1", "Bearer t2"]);
    }
}

/// A setting decides whether a 401 without a challenge is a rejection.
#[tokio::test]
async fn a_setting_decides_whether_a_401_without_a_challenge_is_a_rejection() {
    let World { api, source, layer } = world([status(200), challenge(401, "Basic realm=x"), status(401)]);
    let layer = layer.judge_by(|status, headers| match headers.get("www-authenticate") {
        Some(says) if says.as_bytes().starts_with(b"Bearer") => Verdict::standard(status, headers),
        _ => Verdict::Accepted,
    });
    let mut service = layer.layer(Strict::new(api.clone()));
    send(&mut service, get(URI)).await.unwrap();
    let bare = send(&mut service, get(URI)).await.unwrap();
    assert_eq!((bare.status().as_u16(), bare.extensions().get::<Outcome>().is_none()), (401, true));
    assert_eq!(send(&mut service, get(URI)).await.unwrap().status(), 200);
    assert_eq!(api.take_authorizations(), ["Bearer t1", "Bearer t1", "Bearer t1", "Bearer t2"]);
    assert_eq!(source.asked(), 2);
}

#[tokio::test]
async fn another_status_can_be_a_rejection() {
    let World { api, layer, .. } = world([status(419), status(419)]);
    let layer = layer.judge_by(|status, headers| match status.as_u16() {
        419 => Verdict::Rejected,
        _ => Verdict::standard(status, headers),
    });
    let answer = send(&mut layer.layer(Strict::new(api.clone())), get(URI)).await.unwrap();
    assert_eq!((answer.status().as_u16(), outcome(&answer).retried()), (419, true));
    assert_eq!(api.take_authorizations(), ["Bearer t1", "Bearer t2"]);
}

/// A trailers-only gRPC response with `UNAUTHENTICATED`.
#[tokio::test]
async fn a_grpc_status_can_be_a_rejection() {
    let grpc = |code: u16| Answer::Say(Response::builder().header("grpc-status", code).body(Full::default()).unwrap());
    let World { api, layer, .. } = world([grpc(16), grpc(0), grpc(7)]);
    let mut service = layer.judge_by(Verdict::grpc).layer(Strict::new(api.clone()));
    assert_eq!(send(&mut service, get(URI)).await.unwrap().headers()["grpc-status"], "0");
    assert_eq!(send(&mut service, get(URI)).await.unwrap().headers()["grpc-status"], "7");
    assert_eq!(api.take_authorizations(), ["Bearer t1", "Bearer t2", "Bearer t2"]);
}
