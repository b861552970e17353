//! What users get when the gateway cannot serve them.

use std::{future, time::Duration};

use http::{Request, Response};
use http_body_util::BodyExt;
use tower_bearer::testing::{Failure, Issuer};

use crate::{
    process::{Gateway, password_grant},
    sides::{Upstream, client, empty, fed, get, send, whole},
};

#[tokio::test]
async fn without_a_token_nothing_is_sent() {
    for (failure, wait) in [
        (Failure::OAuth(400, "invalid_grant"), 55..=60),
        (Failure::RetryAfter(503, "120".into()), 115..=120),
        (Failure::Outage, 1..=30),
    ] {
        let issuer = Issuer::new();
        issuer.fail_until_cleared(failure.clone());
        let (listening, upstream) = (issuer.listen().await.unwrap(), Upstream::echo().await);
        let gateway = Gateway::start(&upstream.url("/"), &password_grant(&listening)).await;
        let request = Request::post(&gateway.url).header("authorization", "Bearer theirs").body(whole("x")).unwrap();
        let answer = send(request).await;

        assert_eq!((answer.status, upstream.seen()), (503, 0), "{failure:?}");
        let retry_after: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!(wait.contains(&retry_after), "{failure:?} {retry_after}");
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        let problem = answer.json();
        assert_eq!((problem["status"].as_u64(), &problem["title"]), (Some(503), &"Service Unavailable".into()));
        assert!(!answer.text.contains("invalid_grant"), "that is for its operator: {}", answer.text);
    }
}

#[tokio::test]
async fn the_gateway_recovers_with_its_issuer() {
    let issuer = Issuer::new();
    issuer.fail_next(1, Failure::Outage);
    let (listening, upstream) = (issuer.listen().await.unwrap(), Upstream::protected(&issuer).await);
    let gateway = Gateway::start(&upstream.url("/"), &password_grant(&listening)).await;
    // Without a request before it.
    while get(&format!("{}/healthz", gateway.admin)).await.status != 200 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(get(&gateway.url).await.status, 200);
}

#[tokio::test]
async fn an_upstream_that_is_away_is_a_502() {
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let gateway = Gateway::start(&format!("http://{gone}"), &["--no-auth".into()]).await;
    let answer = get(&gateway.url).await;
    assert_eq!((answer.status, answer.json()["title"].as_str()), (502, Some("Bad Gateway")));
    assert_eq!(answer.headers["content-type"], "application/problem+json");
}

#[tokio::test]
async fn an_upstream_that_is_silent_is_a_504() {
    let upstream = Upstream::start(|_| future::pending()).await;
    let gateway = Gateway::start(&upstream.url("/"), &["--no-auth".into(), "--timeout".into(), "1".into()]).await;
    let answer = get(&gateway.url).await;
    assert_eq!((answer.status, answer.json()["status"].as_u64()), (504, Some(504)));
}

#[tokio::test]
async fn an_answer_that_stops_is_cut_off_after_the_timeout() {
    let upstream = Upstream::start(async |_| {
        let (hand, body) = fed();
        hand.give("the first part");
        // The rest does not come, and the answer does not end.
        std::mem::forget(hand);
        Response::new(body)
    })
    .await;
    let gateway = Gateway::start(&upstream.url("/"), &["--no-auth".into(), "--timeout".into(), "1".into()]).await;
    let mut answer = client().request(Request::get(&gateway.url).body(empty()).unwrap()).await.unwrap();
    assert_eq!(answer.body_mut().frame().await.unwrap().unwrap().into_data().unwrap(), "the first part");
    answer.body_mut().frame().await.unwrap().unwrap_err();
}

#[tokio::test]
async fn an_answer_with_pauses_shorter_than_the_timeout_arrives() {
    let upstream = Upstream::start(async |_| {
        let (hand, body) = fed();
        tokio::spawn(async move {
            for _ in 0..4 {
                tokio::time::sleep(Duration::from_millis(600)).await;
                hand.give("part ");
            }
        });
        Response::new(body)
    })
    .await;
    let gateway = Gateway::start(&upstream.url("/"), &["--no-auth".into(), "--timeout".into(), "2".into()]).await;
    assert_eq!(get(&gateway.url).await.text, "part part part part ");
}

/// RFC 9110 §9.3.8: the response to it would show the gateway's token.
#[tokio::test]
async fn trace_is_a_405_and_is_not_forwarded() {
    let issuer = Issuer::new();
    let (listening, upstream) = (issuer.listen().await.unwrap(), Upstream::echo().await);
    for args in [password_grant(&listening), vec!["--no-auth".into()]] {
        let gateway = Gateway::start(&upstream.url("/"), &args).await;
        let answer = send(Request::builder().method("TRACE").uri(&gateway.url).body(empty()).unwrap()).await;
        assert_eq!((answer.status, answer.json()["status"].as_u64()), (405, Some(405)));
        let allowed = answer.headers["allow"].to_str().unwrap();
        assert!(allowed.contains("GET") && !allowed.contains("TRACE"), "{allowed}");
        assert_eq!(upstream.seen(), 0);
    }
}
