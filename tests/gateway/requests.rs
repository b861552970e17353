//! What the gateway passes on.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{StreamExt, stream};
use http::{HeaderMap, Request, Response, Uri};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tower_bearer::testing::Issuer;

use crate::{
    process::{Gateway, password_grant},
    sides::{Answer, Body, Upstream, client, empty, fed, get, http2_client, send, whole},
};

async fn chunk(body: &mut Incoming) -> String {
    let frame = body.frame().await.unwrap().unwrap();
    String::from_utf8(frame.into_data().unwrap().into()).unwrap()
}

#[tokio::test]
async fn a_chunk_arrives_before_the_next_is_sent() {
    let issuer = Issuer::new();
    let (listening, upstream) = (issuer.listen().await.unwrap(), Upstream::protected(&issuer).await);
    let gateway = Gateway::start(&upstream.url("/"), &password_grant(&listening)).await;
    for client in [client(), http2_client()] {
        let (hand, body) = fed();
        hand.give("one");
        let request = Request::post(format!("{}/echo", gateway.url)).body(body).unwrap();
        let mut echo = client.request(request).await.unwrap().into_body();
        assert_eq!(chunk(&mut echo).await, "one");
        hand.give("two");
        assert_eq!(chunk(&mut echo).await, "two");
        drop(hand);
        assert!(echo.collect().await.unwrap().to_bytes().is_empty());
    }
}

#[tokio::test]
async fn a_rejected_upload_succeeds_after_one_retry() {
    let issuer = Issuer::new();
    let (listening, upstream) = (issuer.listen().await.unwrap(), Upstream::protected(&issuer).await);
    let gateway = Gateway::start(&upstream.url("/"), &password_grant(&listening)).await;
    assert_eq!(get(&gateway.url).await.status, 200);
    issuer.revoke_all();

    let (hand, body) = fed();
    hand.give("one");
    let sending = client().request(Request::post(&gateway.url).body(body).unwrap());
    let mut answer = sending.await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(chunk(answer.body_mut()).await, "one");
    hand.give("two");
    drop(hand);
    assert_eq!(Answer::of(answer).await.text, "two");
    assert_eq!((upstream.seen(), issuer.counts().token_requests), (3, 2));
    let metrics = get(&format!("{}/metrics", gateway.admin)).await.text;
    assert!(metrics.contains("gateway_retries_total 1\n"), "{metrics}");
}

#[tokio::test]
async fn a_revocation_amid_many_requests_costs_one_renewal_and_no_request() {
    let issuer = Issuer::new();
    let (listening, upstream) = (issuer.listen().await.unwrap(), Upstream::protected(&issuer).await);
    let gateway = Gateway::start(&upstream.url("/"), &password_grant(&listening)).await;
    let client = client();
    let ask = async |number: usize| {
        if number == 200 {
            issuer.revoke_all();
        }
        let text = format!("request {number}").repeat(number);
        let request = Request::post(&gateway.url).body(whole(text.clone())).unwrap();
        let answer = Answer::of(client.request(request).await.unwrap()).await;
        assert_eq!(answer.status, 200);
        assert!(answer.text == text, "{number}");
    };
    stream::iter(0..400).for_each_concurrent(40, ask).await;
    assert_eq!(issuer.counts().token_requests, 2);
}

#[tokio::test]
async fn the_token_goes_in_the_header_of_the_upstream_which_may_reject_it_by_another_status() {
    let issuer = Issuer::new();
    let (listening, seen) = (issuer.listen().await.unwrap(), Arc::<Mutex<Vec<HeaderMap>>>::default());
    let heads = Arc::clone(&seen);
    let upstream = Upstream::start(move |request: Request<Incoming>| {
        heads.lock().unwrap().push(request.headers().clone());
        let status = if heads.lock().unwrap().len() == 1 { 403 } else { 200 };
        async move { Response::builder().status(status).body(empty()).unwrap() }
    })
    .await;
    let options = ["--token-header", "X-Auth-Token", "--token-scheme", "none", "--reject-on", "422,403,/login"];
    let args = [password_grant(&listening), options.map(str::to_owned).into()].concat();
    let gateway = Gateway::start(&upstream.url("/"), &args).await;
    let request = Request::get(&gateway.url).header("x-auth-token", "theirs").header("authorization", "Bearer theirs");
    assert_eq!(send(request.body(empty()).unwrap()).await.status, 200);
    let seen = seen.lock().unwrap();
    let tokens: Vec<_> = seen.iter().map(|headers| headers["x-auth-token"].to_str().unwrap()).collect();
    assert_eq!((tokens.len(), issuer.counts().token_requests), (2, 2));
    assert!(
        tokens[0] != tokens[1] && tokens.iter().all(|token| !token.contains(' ') && *token != "theirs"),
        "{tokens:?}"
    );
    assert!(seen.iter().all(|headers| !headers.contains_key("authorization")));
}

#[tokio::test]
async fn a_rejection_that_cannot_be_retried_is_passed_on_unchanged() {
    let issuer = Issuer::new();
    let listening = issuer.listen().await.unwrap();
    let upstream = Upstream::start(async |_| {
        let refusal = Response::builder().status(401).header("www-authenticate", "Bearer realm=\"theirs\"");
        refusal.body(whole("theirs")).unwrap()
    })
    .await;
    let gateway = Gateway::start(&upstream.url("/"), &password_grant(&listening)).await;
    let answer = get(&gateway.url).await;
    assert_eq!((answer.status, answer.text.as_str()), (401, "theirs"));
    assert_eq!(answer.headers["www-authenticate"], "Bearer realm=\"theirs\"");
}

#[tokio::test]
async fn a_user_who_goes_away_is_not_the_upstreams_failure() {
    let upstream = Upstream::start(async |request: Request<Incoming>| {
        let _ = request.into_body().collect().await;
        Response::new(empty())
    })
    .await;
    let gateway = Gateway::start(&upstream.url("/"), &["--no-auth".into()]).await;
    let (hand, body) = fed();
    hand.give("one");
    let request = client().request(Request::post(&gateway.url).body(body).unwrap());
    let running = tokio::spawn(request);
    while upstream.seen() == 0 {
        tokio::task::yield_now().await;
    }
    running.abort();
    drop((running, hand));
    let gone = "gateway_requests_total{outcome=\"gone\"} 1\n";
    while !get(&format!("{}/metrics", gateway.admin)).await.text.contains(gone) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn an_answer_without_a_body_keeps_its_length() {
    let upstream = Upstream::start(async |_| Response::new(whole("twelve bytes"))).await;
    let gateway = Gateway::start(&upstream.url("/"), &["--no-auth".into()]).await;
    let answer = send(Request::head(&gateway.url).body(empty()).unwrap()).await;
    assert_eq!((answer.status, &answer.headers["content-length"], answer.text.as_str()), (200, &12.into(), ""));
}

/// The head of the last request.
type Noted = Arc<Mutex<(Uri, HeaderMap)>>;

async fn noting(answer: fn() -> Response<Body>) -> (Upstream, Noted) {
    let noted = Noted::default();
    let note = Arc::clone(&noted);
    let upstream = Upstream::start(move |request: Request<Incoming>| {
        let (head, _) = request.into_parts();
        *note.lock().unwrap() = (head.uri, head.headers);
        async move { answer() }
    });
    (upstream.await, noted)
}

#[tokio::test]
async fn what_concerns_one_connection_is_not_passed_on() {
    let (upstream, noted) = noting(|| {
        let answer = Response::builder().header("connection", "x-own, keep-alive").header("x-own", "1");
        answer.header("keep-alive", "timeout=5").header("upgrade", "h2c").header("x-kept", "1").body(empty()).unwrap()
    })
    .await;
    let gateway = Gateway::start(&upstream.url("/"), &["--no-auth".into()]).await;
    let request = Request::get(&gateway.url)
        .header("connection", "x-own")
        .header("x-own", "1")
        .header("keep-alive", "timeout=5")
        .header("proxy-connection", "keep-alive")
        .header("te", "trailers, deflate")
        .header("upgrade", "websocket")
        .header("x-kept", "1");
    let answer = send(request.body(empty()).unwrap()).await;

    let passed_on = noted.lock().unwrap().1.clone();
    for name in ["connection", "x-own", "keep-alive", "proxy-connection", "upgrade"] {
        assert!(!passed_on.contains_key(name) && !answer.headers.contains_key(name), "{name}");
    }
    assert_eq!(
        (&passed_on["te"], &passed_on["x-kept"], &passed_on["via"]),
        (&"trailers".parse().unwrap(), &"1".parse().unwrap(), &"1.1 gateway".parse().unwrap())
    );
    assert_eq!(passed_on["host"], upstream.address.to_string());
    assert_eq!(answer.headers["x-kept"], "1");
}

#[tokio::test]
async fn path_and_query_go_below_the_base_and_nowhere_else() {
    let (upstream, noted) = noting(|| Response::new(empty())).await;
    let gateway = Gateway::start(&upstream.url("/r4/"), &["--no-auth".into()]).await;
    assert_eq!(get(&format!("{}/Patient?name=%C3%A4", gateway.url)).await.status, 200);
    assert_eq!(noted.lock().unwrap().0.to_string(), "/r4/Patient?name=%C3%A4");
    let refused = get(&format!("{}/%2e%2e/admin", gateway.url)).await;
    assert_eq!((refused.status, upstream.seen()), (400, 1));
}

#[tokio::test]
async fn an_end_users_credentials_are_not_passed_on() {
    let issuer = Issuer::new();
    let listening = issuer.listen().await.unwrap();
    for (args, ours) in [(password_grant(&listening), true), (vec!["--no-auth".into()], false)] {
        let (upstream, noted) = noting(|| Response::new(empty())).await;
        let gateway = Gateway::start(&upstream.url("/"), &args).await;
        let request = Request::get(&gateway.url).header("authorization", "Bearer theirs");
        send(request.header("proxy-authorization", "Basic theirs").body(empty()).unwrap()).await;
        let passed_on = noted.lock().unwrap().1.clone();
        assert!(passed_on.values().all(|value| !value.to_str().unwrap().contains("theirs")), "{passed_on:?}");
        assert_eq!(issuer.check(&passed_on).is_accepted(), ours);
    }
}

#[tokio::test]
async fn a_body_of_a_get_without_a_length_is_passed_on() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::start(&upstream.url("/"), &["--no-auth".into()]).await;
    let (hand, body) = fed();
    hand.give("query");
    drop(hand);
    let request = Request::get(&gateway.url).header("transfer-encoding", "chunked").body(body).unwrap();
    assert_eq!(send(request).await.text, "query");
}

#[tokio::test]
async fn an_upload_that_moves_may_take_longer_than_the_timeout() {
    let upstream = Upstream::start(async |request: Request<Incoming>| {
        let whole = request.into_body().collect().await.unwrap().to_bytes();
        Response::new(crate::sides::whole(whole))
    })
    .await;
    let gateway = Gateway::start(&upstream.url("/"), &["--no-auth".into(), "--timeout".into(), "2".into()]).await;
    let (hand, body) = fed();
    tokio::spawn(async move {
        for _ in 0..6 {
            hand.give("x");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    });
    let answer = send(Request::post(&gateway.url).body(body).unwrap()).await;
    assert_eq!((answer.status, answer.text.as_str()), (200, "xxxxxx"));
}
