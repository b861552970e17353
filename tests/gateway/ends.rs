//! How the gateway shuts down.

use http::Response;
use http_body_util::BodyExt;
use tokio::{net::TcpStream, sync::oneshot};
use tower_bearer::testing::Issuer;

use crate::{
    process::{Gateway, password_grant},
    sides::{Answer, Upstream, client, empty, fed, get},
};

#[tokio::test]
async fn a_request_that_runs_is_finished_and_then_the_token_is_revoked() {
    let issuer = Issuer::new();
    let listening = issuer.listen().await.unwrap();
    let (hand, body) = fed();
    let body = std::sync::Arc::new(std::sync::Mutex::new(Some(body)));
    let upstream = Upstream::start(move |_| {
        let body = body.lock().unwrap().take().unwrap();
        async move { Response::new(body) }
    })
    .await;
    let mut args = password_grant(&listening);
    args.extend(["--revoke-on-exit".into(), listening.url("/revoke")]);
    let mut gateway = Gateway::start(&upstream.url("/"), &args).await;
    hand.give("one");
    let request = http::Request::get(&gateway.url).body(empty()).unwrap();
    let mut answer = client().request(request).await.unwrap();
    answer.body_mut().frame().await.unwrap().unwrap();

    gateway.terminate();
    let health = format!("{}/healthz", gateway.admin);
    while get(&health).await.status == 200 {
        tokio::task::yield_now().await;
    }
    let address = gateway.url.strip_prefix("http://").unwrap().to_owned();
    TcpStream::connect(address).await.unwrap_err();
    assert!(gateway.is_running());
    hand.give("two");
    drop(hand);
    assert_eq!(Answer::of(answer).await.text, "two");
    let (status, said) = gateway.end().await;
    assert_eq!((status, issuer.counts().revocations), (Some(0), 1), "{said}");
}

#[tokio::test]
async fn a_request_that_does_not_end_is_cut_off_at_the_bound() {
    let (begun, begins) = oneshot::channel();
    let begun = std::sync::Arc::new(std::sync::Mutex::new(Some(begun)));
    let upstream = Upstream::start(move |_| {
        begun.lock().unwrap().take().unwrap().send(()).unwrap();
        std::future::pending()
    })
    .await;
    let gateway = Gateway::start(&upstream.url("/"), &["--no-auth".into(), "--drain".into(), "1".into()]).await;
    let request = http::Request::get(&gateway.url).body(empty()).unwrap();
    let running = tokio::spawn(client().request(request));
    begins.await.unwrap();
    gateway.terminate();
    let (status, said) = gateway.end().await;
    assert_eq!(status, Some(0));
    assert!(said.contains("cut off"), "{said}");
    running.await.unwrap().unwrap_err();
}
