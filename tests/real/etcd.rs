//! etcd, which wants its token without a scheme, by its JSON gateway and by gRPC.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{BufMut, Bytes, BytesMut};
use http::{Request, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};
use tower_bearer::{AccessToken, Error, Rejection, TokenSource, Verdict, source::from_fn};

use super::{
    Http,
    api_tokens::{BUDGET, Call, Flaw, Rule, Sdk, first, post, text},
    http, var,
};

const NO_SCHEME: Rule = tower_bearer::BearerAuthLayer::without_scheme;
const ON_400: Rule = |layer| layer.without_scheme().reject_on(Rejection::status(StatusCode::BAD_REQUEST));
const GRPC: Rule = |layer| layer.without_scheme().judge_by(Verdict::grpc);
/// `INVALID_ARGUMENT` rejects the token as well.
const GRPC_ON_3: Rule = |layer| {
    layer.without_scheme().judge_by(|status, headers| match headers.get("grpc-status") {
        Some(code) if code == "3" => Verdict::Rejected,
        _ => Verdict::grpc(status, headers),
    })
};

async fn authenticate(name: &str, password: &str) -> Result<AccessToken, Error> {
    let call = post("ETCD_URL", "/v3/auth/authenticate", &json!({ "name": name, "password": password }));
    let answer: Value = serde_json::from_str(&text(http().request(call).await.unwrap()).await).unwrap();
    AccessToken::new(answer["token"].as_str().unwrap())
}

fn app(flaw: Flaw) -> impl TokenSource {
    first(flaw, |_| authenticate("app", "secret"))
}

fn read(key: &str) -> Call {
    post("ETCD_URL", "/v3/kv/range", &json!({ "key": STANDARD.encode(key) }))
}

/// After it, etcd accepts none of the JWTs from before.
async fn change_roles() {
    let root = Sdk::new(from_fn(|_| authenticate("root", "root")), NO_SCHEME);
    let call = post("ETCD_URL", "/v3/auth/role/add", &json!({ "name": format!("role{}", fastrand::u64(..)) }));
    assert_eq!(root.call(&call).await.status(), StatusCode::OK);
}

#[tokio::test]
#[ignore = "needs the servers of tests/real"]
async fn etcds_gateway_wants_the_token_without_a_scheme() {
    for flaw in [Flaw::Expired, Flaw::OldKey] {
        Sdk::new(app(flaw), NO_SCHEME).retries(&read("foo"), StatusCode::OK).await;
    }
    Sdk::new(app(Flaw::None), NO_SCHEME).is_forbidden(&read("bar"), &read("foo"), StatusCode::FORBIDDEN, 1).await;
    let bearer = Sdk::new(app(Flaw::None), |layer| layer);
    for _ in 0..30 {
        assert_eq!(bearer.call(&read("foo")).await.status(), StatusCode::UNAUTHORIZED);
    }
    assert!(bearer.asked() <= BUDGET, "{} token requests", bearer.asked());
}

#[tokio::test]
#[ignore = "needs the servers of tests/real"]
async fn etcds_gateway_needs_a_rule_for_400_after_a_change_of_roles() {
    for (rule, status, asked) in [(NO_SCHEME, StatusCode::BAD_REQUEST, 1), (ON_400, StatusCode::OK, 2)] {
        let sdk = Sdk::new(app(Flaw::None), rule);
        assert_eq!(sdk.call(&read("foo")).await.status(), StatusCode::OK);
        change_roles().await;
        assert_eq!(sdk.call(&read("foo")).await.status(), status);
        assert_eq!(sdk.asked(), asked);
    }
    Sdk::new(app(Flaw::None), ON_400).is_forbidden(&read("bar"), &read("foo"), StatusCode::FORBIDDEN, 1).await;
}

fn http2() -> Http {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new()).http2_only(true).build(connector)
}

/// A unary call of `Range`. Its one message is `RangeRequest { key }`.
fn range(key: &str) -> Call {
    let mut message = BytesMut::new();
    message.put_u8(0); // not compressed
    message.put_u32(u32::try_from(key.len() + 2).unwrap());
    message.put_slice(&[0x0a, u8::try_from(key.len()).unwrap()]); // field 1, bytes
    message.put_slice(key.as_bytes());
    let call = Request::post(format!("{}/etcdserverpb.KV/Range", var("ETCD_URL")));
    let call = call.header(CONTENT_TYPE, "application/grpc").header("te", "trailers");
    call.body(Full::from(message.freeze())).unwrap()
}

/// Returns `grpc-status`, and whether it came without a message.
async fn status_of(sdk: &Sdk, call: &Call) -> (String, bool) {
    let response = sdk.call(call).await;
    assert_eq!(response.status(), StatusCode::OK);
    let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
    if let Some(status) = response.headers().get("grpc-status") {
        return (text(status), true);
    }
    let body = response.into_body().collect().await.unwrap();
    let status = text(&body.trailers().unwrap()["grpc-status"]);
    assert_ne!(body.to_bytes(), Bytes::new());
    (status, false)
}

#[tokio::test]
#[ignore = "needs the servers of tests/real"]
async fn etcds_grpc_says_unauthenticated_in_the_header_of_a_200() {
    let (foo, bar) = (range("foo"), range("bar"));
    for flaw in [Flaw::Expired, Flaw::OldKey] {
        let sdk = Sdk::over(http2(), app(flaw), NO_SCHEME);
        assert_eq!(status_of(&sdk, &foo).await, ("16".to_owned(), true), "nothing is seen without the rule");
        assert_eq!(sdk.asked(), 1);
        let sdk = Sdk::over(http2(), app(flaw), GRPC);
        assert_eq!(status_of(&sdk, &foo).await, ("0".to_owned(), false));
        assert_eq!(sdk.asked(), 2);
    }
    let sdk = Sdk::over(http2(), app(Flaw::None), GRPC);
    for _ in 0..30 {
        assert_eq!(status_of(&sdk, &bar).await, ("7".to_owned(), true));
        assert_eq!(status_of(&sdk, &foo).await, ("0".to_owned(), false));
    }
    assert_eq!(sdk.asked(), 1, "a missing permission costs no token");
}

#[tokio::test]
#[ignore = "needs the servers of tests/real"]
async fn etcds_grpc_needs_a_custom_rule_after_a_change_of_roles() {
    for (rule, status, asked) in [(GRPC, ("3", true), 1), (GRPC_ON_3, ("0", false), 2)] {
        let sdk = Sdk::over(http2(), app(Flaw::None), rule);
        assert_eq!(status_of(&sdk, &range("foo")).await, ("0".to_owned(), false));
        change_roles().await;
        assert_eq!(status_of(&sdk, &range("foo")).await, (status.0.to_owned(), status.1));
        assert_eq!(sdk.asked(), asked);
    }
}
