//! What operators of the gateway see.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use http::Request;
use tower_bearer::testing::{Failure, Issuer, IssuerServer};

use crate::{
    process::{Gateway, command, password_grant},
    sides::{Upstream, empty, get, send},
};

#[tokio::test]
async fn it_is_healthy_as_soon_as_it_has_a_token() {
    let issuer = Issuer::new();
    let gate = issuer.hold();
    let (listening, upstream) = (issuer.listen().await.unwrap(), Upstream::echo().await);
    let gateway = Gateway::start(&upstream.url("/"), &password_grant(&listening)).await;
    let health = format!("{}/healthz", gateway.admin);
    gate.waiting(1).await;
    let answer = get(&health).await;
    assert_eq!((answer.status, answer.json()["token"]["age"].as_str()), (503, Some("missing")));

    gate.release();
    assert_eq!(get(&gateway.url).await.status, 200, "it waits for the token");
    let answer = get(&health).await;
    let token = &answer.json()["token"];
    assert_eq!((answer.status, token["age"].as_str(), token["generation"].as_u64()), (200, Some("fresh"), Some(1)));
    assert_eq!(issuer.counts().token_requests, 1);
}

#[tokio::test]
async fn it_is_unhealthy_while_its_issuer_refuses_and_reports_why() {
    let issuer = Issuer::new();
    issuer.fail_until_cleared(Failure::OAuth(400, "invalid_grant"));
    let (listening, upstream) = (issuer.listen().await.unwrap(), Upstream::echo().await);
    let gateway = Gateway::start(&upstream.url("/"), &password_grant(&listening)).await;
    assert_eq!(get(&gateway.url).await.status, 503);
    let answer = get(&format!("{}/healthz", gateway.admin)).await;
    let token = &answer.json()["token"];
    assert_eq!((answer.status, token["failures"].as_u64()), (503, Some(1)));
    assert!(token["last_error"].as_str().unwrap().contains("invalid_grant"), "{token}");
    let metrics = get(&format!("{}/metrics", gateway.admin)).await.text;
    for line in ["gateway_token_failures 1", "gateway_token_ready 0", "gateway_requests_total{outcome=\"no_token\"} 1"]
    {
        assert!(metrics.contains(&format!("{line}\n")), "{line}: {metrics}");
    }
}

#[tokio::test]
async fn it_is_healthy_until_its_token_expires() {
    let issuer = Issuer::builder().lifetime(Duration::from_secs(3)).build();
    let (listening, upstream) = (issuer.listen().await.unwrap(), Upstream::protected(&issuer).await);
    let gateway = Gateway::start(&upstream.url("/"), &password_grant(&listening)).await;
    assert_eq!(get(&gateway.url).await.status, 200);
    issuer.fail_until_cleared(Failure::Status(503));
    let health = format!("{}/healthz", gateway.admin);
    let answer = loop {
        let answer = get(&health).await;
        if answer.status != 200 {
            break answer;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let token = &answer.json()["token"];
    assert_eq!((answer.status, token["age"].as_str()), (503, Some("expired")));
    assert_eq!(get(&gateway.url).await.status, 503);
}

#[tokio::test]
async fn metrics_report_requests_and_the_token() {
    let issuer = Issuer::new();
    let (listening, upstream) = (issuer.listen().await.unwrap(), Upstream::protected(&issuer).await);
    let gateway = Gateway::start(&upstream.url("/"), &password_grant(&listening)).await;
    while get(&format!("{}/healthz", gateway.admin)).await.status != 200 {}
    for _ in 0..3 {
        get(&gateway.url).await;
    }
    let answer = get(&format!("{}/metrics", gateway.admin)).await;
    assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4");
    for line in [
        "# TYPE gateway_requests_total counter",
        "gateway_requests_total{outcome=\"answered\"} 3",
        "gateway_requests_total{outcome=\"timeout\"} 0",
        "gateway_retries_total 0",
        "gateway_token_renewals_total 1",
        "gateway_token_failures 0",
        "gateway_token_generation 1",
        "gateway_token_ready 1",
        "# TYPE gateway_tasks gauge",
    ] {
        assert!(answer.text.contains(&format!("{line}\n")), "{line}: {}", answer.text);
    }
    let left = answer.text.lines().find_map(|line| line.strip_prefix("gateway_token_remaining_seconds ")).unwrap();
    assert!((3400.0..3600.0).contains(&left.parse::<f64>().unwrap()), "{left}");
}

/// A gateway whose token was revoked while its issuer refused the client. The issuer is right again, but the gateway does not
/// ask it for another minute.
async fn gateway_that_backs_off() -> (Issuer, IssuerServer, Upstream, Gateway) {
    let issuer = Issuer::new();
    let (listening, upstream) = (issuer.listen().await.unwrap(), Upstream::protected(&issuer).await);
    let gateway = Gateway::start(&upstream.url("/"), &password_grant(&listening)).await;
    assert_eq!(get(&gateway.url).await.status, 200);
    issuer.fail_until_cleared(Failure::OAuth(401, "invalid_client"));
    issuer.revoke_all();
    assert_eq!(get(&gateway.url).await.status, 401);
    issuer.clear_failures();
    assert_eq!(get(&gateway.url).await.status, 401);
    (issuer, listening, upstream, gateway)
}

#[tokio::test]
async fn a_reset_ends_the_401s_at_once() {
    let (issuer, _listening, _upstream, gateway) = gateway_that_backs_off().await;
    let before = issuer.counts().token_requests;
    let reset = format!("{}/reset", gateway.admin);
    let answer = send(Request::post(&reset).body(empty()).unwrap()).await;
    assert_eq!(answer.status, 200);
    assert!(answer.text.contains("the token and all failures are forgotten"), "{}", answer.text);
    assert_eq!(get(&gateway.url).await.status, 200);
    assert_eq!(issuer.counts().token_requests, before + 1);

    let answer = get(&reset).await;
    assert_eq!((answer.status, &answer.headers["allow"]), (405, &"POST".parse().unwrap()));
}

#[cfg(unix)]
#[tokio::test]
async fn sighup_does_the_same() {
    let (_issuer, _listening, _upstream, mut gateway) = gateway_that_backs_off().await;
    gateway.signal("HUP");
    while get(&gateway.url).await.status == 401 {
        tokio::task::yield_now().await;
    }
    assert_eq!(get(&gateway.url).await.status, 200);
    assert!(gateway.is_running());
}

#[tokio::test]
async fn without_the_layer_there_is_nothing_to_reset() {
    let gateway = Gateway::start("http://127.0.0.1:1", &["--no-auth".into()]).await;
    let answer = send(Request::post(format!("{}/reset", gateway.admin)).body(empty()).unwrap()).await;
    assert_eq!(answer.status, 409);
}

#[tokio::test]
async fn without_the_layer_it_is_always_healthy() {
    let gateway = Gateway::start("http://127.0.0.1:1", &["--no-auth".into()]).await;
    assert_eq!(get(&format!("{}/healthz", gateway.admin)).await.status, 200);
    assert_eq!(get(&format!("{}/other", gateway.admin)).await.status, 404);
}

#[tokio::test]
async fn no_output_contains_a_secret() {
    let issuer = Issuer::new();
    let (listening, upstream) = (issuer.listen().await.unwrap(), Upstream::protected(&issuer).await);
    let mut command = command();
    command.env("RUST_LOG", "trace").args(["--admin", "127.0.0.1:0", "--upstream", &upstream.url("/")]);
    command.args(password_grant(&listening)).args(["--revoke-on-exit", &listening.url("/revoke")]);
    let gateway = Gateway::run(command).await;
    let mut said = String::new();
    for failure in [None, Some(Failure::OAuth(401, "invalid_client"))] {
        issuer.revoke_all();
        if let Some(failure) = failure {
            issuer.fail_next(1, failure);
        }
        for url in [&gateway.url, &format!("{}/healthz", gateway.admin), &format!("{}/metrics", gateway.admin)] {
            said += &get(url).await.text;
        }
    }
    gateway.terminate();
    let (status, lines) = gateway.end().await;
    assert_eq!(status, Some(0));
    assert!(lines.contains("TRACE") && lines.contains("tower_bearer"), "{lines}");
    said += &lines;
    // `eyJ` is the beginning of every JWT.
    for secret in ["user-password", "client-secret", &STANDARD.encode("client1:client-secret"), "eyJ"] {
        let at = said.find(secret);
        assert!(at.is_none(), "{secret}: {:?}", at.map(|at| &said[at.saturating_sub(300)..at + secret.len()]));
    }
}
