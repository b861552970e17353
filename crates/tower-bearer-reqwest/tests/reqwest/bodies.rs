//! Bodies of requests whose token was revoked.

use bytes::Bytes;
use futures::{StreamExt, stream};
use reqwest::{
    Body, Client, RequestBuilder, StatusCode,
    multipart::{Form, Part},
};
use tower_bearer_reqwest::{BearerClient, KeepBody, RequestBuilderExt};

use crate::{
    server::{Seen, Server},
    support::{is_not_replayable, issuer, layer, revoked},
};

/// Sends a request whose token was revoked. Returns its two attempts.
async fn sent_twice(body: impl FnOnce(RequestBuilder) -> RequestBuilder) -> [Seen; 2] {
    let issuer = issuer();
    let (server, api) = (Server::protected(&issuer).await, revoked(&issuer).await);
    let response = body(api.client().post(server.url("/"))).send_with(&api).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let [first, second] = <[Seen; 2]>::try_from(server.seen()).unwrap();
    assert_ne!(first.token(), second.token());
    assert!(first.body == second.body, "{} bytes, then {} bytes", first.body.len(), second.body.len());
    assert_eq!(first.other_headers(), second.other_headers());
    [first, second]
}

fn chunks(count: usize, size: usize) -> Body {
    Body::wrap_stream(stream::iter((0..count).map(move |_| Ok::<_, std::io::Error>(vec![b'a'; size]))))
}

#[tokio::test]
async fn bodies_in_memory_are_sent_again_whatever_their_size() {
    let [_, second] = sent_twice(|request| request.json(&serde_json::json!({"name": "a"}))).await;
    assert_eq!(
        (&second.body[..], &second.headers["content-type"]),
        (&br#"{"name":"a"}"#[..], &"application/json".parse().unwrap())
    );
    for size in [0, 1, 3 << 20] {
        let [_, second] = sent_twice(|request| request.body(vec![b'a'; size])).await;
        assert_eq!(second.body, vec![b'a'; size]);
        assert_eq!(second.headers.get("content-length").is_some(), size > 0);
    }
    let [_, second] = sent_twice(|request| request).await;
    assert!(second.body.is_empty());
}

#[tokio::test]
async fn a_request_is_the_one_that_reqwest_sends_but_for_its_token() {
    let issuer = issuer();
    let server = Server::protected(&issuer).await;
    let api = BearerClient::new(Client::new(), layer(&issuer));
    let requests: [fn(RequestBuilder) -> RequestBuilder; 5] = [
        |request| request,
        |request| request.body(""),
        |request| request.json(&[1]).header("x-a", "1"),
        |request| request.body(chunks(2, 10)),
        |request| request.basic_auth("user", Some("password")),
    ];
    for change in requests {
        change(api.client().post(server.url("/a?b=%20"))).send().await.unwrap();
        change(api.client().post(server.url("/a?b=%20"))).send_with(&api).await.unwrap();
        let seen = server.seen();
        let [.., alone, with_token] = &seen[..] else { unreachable!() };
        assert_eq!(
            (&alone.path, &alone.body, alone.other_headers()),
            (&with_token.path, &with_token.body, with_token.other_headers())
        );
        assert!(with_token.token().is_some_and(|token| token.starts_with("Bearer ")));
    }
}

#[tokio::test]
async fn a_stream_is_sent_again() {
    let [_, second] = sent_twice(|request| request.body(chunks(5, 1000))).await;
    assert_eq!((second.body.len(), &second.headers["transfer-encoding"]), (5000, &"chunked".parse().unwrap()));
    let [_, second] =
        sent_twice(|request| request.body(Body::wrap(http_body_util::Full::new(Bytes::from("wrapped"))))).await;
    assert_eq!((&second.body[..], &second.headers["content-length"]), (&b"wrapped"[..], &"7".parse().unwrap()));
}

#[tokio::test]
async fn a_multipart_form_is_sent_again() {
    let form = Form::new().text("name", "a").part("file", Part::stream(chunks(3, 100)).file_name("a.bin"));
    let [_, second] = sent_twice(|request| request.multipart(form)).await;
    let (body, parts) =
        (String::from_utf8(second.body.to_vec()).unwrap(), ["name=\"name\"", "filename=\"a.bin\"", &"a".repeat(300)]);
    assert!(parts.iter().all(|part| body.contains(part)), "{body}");
    let length = Form::new().text("name", "a");
    let [_, second] = sent_twice(|request| request.multipart(length)).await;
    assert_eq!(second.headers["content-length"], second.body.len().to_string());
}

#[tokio::test]
async fn a_stream_over_the_cap_is_sent_once_and_the_cap_can_be_set() {
    let issuer = issuer();
    let server = Server::protected(&issuer).await;
    for (cap, status) in [(4999, StatusCode::UNAUTHORIZED), (5000, StatusCode::OK)] {
        let layer = layer(&issuer).replay(KeepBody::new().stream_cap(cap));
        let api = BearerClient::with_replay(Client::new(), layer);
        api.cache().token().await.unwrap();
        issuer.revoke_all();
        let response = api.client().post(server.url("/")).body(chunks(5, 1000)).send_with(&api).await.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(is_not_replayable(&response), status == StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn a_stream_that_fails_is_an_error_of_reqwest() {
    let issuer = issuer();
    let server = Server::protected(&issuer).await;
    let api = BearerClient::new(Client::new(), layer(&issuer));
    let failing = stream::iter([Ok("a")]).chain(stream::iter([Err(std::io::Error::other("disk"))]));
    let request = api.client().post(server.url("/")).body(Body::wrap_stream(failing));
    let error = request.send_with(&api).await.unwrap_err();
    assert!(error.as_reqwest_error().is_some_and(reqwest::Error::is_request), "{error:?}");
    assert!(format!("{error:?}").contains("disk"), "{error:?}");
}
