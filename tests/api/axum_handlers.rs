//! Handlers of axum that call an API with a service of the layer in their state. All of it is on real sockets.

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
    routing::post,
};
use http::Request;
use http_body_util::{BodyExt, StreamBody};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tower::{BoxError, Layer, ServiceExt};
use tower_bearer::{
    BearerAuth, BearerAuthLayer, Error,
    grant::{ClientAuth, ClientCredentials},
    replay::{Tee, TeeOf},
    testing::{Failure, Issuer},
};

type Api = BearerAuth<Client<HttpConnector, Body>, TeeOf<Body>>;

/// Sends the body on to the API while it arrives, and returns the API's answer.
async fn forward(State((api, url)): State<(Api, String)>, body: Body) -> Result<Response, StatusCode> {
    let answer = api.oneshot(Request::post(url).body(body).unwrap()).await;
    answer.map(|answer| answer.map(Body::new)).map_err(|error: BoxError| match error.downcast_ref::<Error>() {
        Some(_) => StatusCode::SERVICE_UNAVAILABLE,
        None => StatusCode::BAD_GATEWAY,
    })
}

/// Reads the whole body, and then says whether the token is accepted.
async fn echo(State(issuer): State<Issuer>, headers: HeaderMap, body: Bytes) -> Result<Bytes, StatusCode> {
    if issuer.check(&headers).is_accepted() { Ok(body) } else { Err(StatusCode::UNAUTHORIZED) }
}

async fn start(app: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, app).await });
    url
}

/// Starts the API, and a server in front of it. Returns the URL of that server.
async fn servers(issuer: &Issuer) -> String {
    let api = start(Router::new().route("/", post(echo)).with_state(issuer.clone())).await;
    let source = ClientCredentials::builder("https://issuer.test/token")
        .client_auth(ClientAuth::basic("client1", "client-secret"))
        .build_with(issuer.service())
        .unwrap();
    let client = Client::builder(TokioExecutor::new()).build_http();
    let layer = BearerAuthLayer::new(source).origins([&*api]).unwrap().replay(Tee::of(Body::new));
    start(Router::new().route("/", post(forward)).with_state((layer.layer(client), api))).await
}

async fn send(url: &str, body: Body) -> (StatusCode, Bytes) {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let answer = client.request(Request::post(url).body(body).unwrap()).await.unwrap();
    (answer.status(), answer.into_body().collect().await.unwrap().to_bytes())
}

#[tokio::test]
async fn a_handler_sends_the_request_again_when_the_token_was_revoked() {
    let issuer = Issuer::new();
    let url = servers(&issuer).await;
    for token_requests in 1..=3 {
        assert_eq!(send(&url, Body::from("observation")).await, (StatusCode::OK, "observation".into()));
        assert_eq!(issuer.counts().token_requests, token_requests);
        issuer.revoke_current();
    }
}

#[tokio::test]
async fn a_stream_that_passes_through_a_handler_is_sent_again_in_full() {
    let issuer = Issuer::new();
    let url = servers(&issuer).await;
    send(&url, Body::empty()).await;
    issuer.revoke_current();
    let chunks = || (0..100_u8).map(|number| Bytes::from(vec![number; 3000]));
    let frames = chunks().map(|chunk| Ok::<_, BoxError>(http_body::Frame::data(chunk)));
    let (status, echoed) = send(&url, Body::new(StreamBody::new(futures::stream::iter(frames)))).await;
    assert!(status == StatusCode::OK && echoed == chunks().collect::<Vec<_>>().concat(), "{status}");
    assert_eq!(issuer.counts().token_requests, 2);
}

#[tokio::test]
async fn a_handler_can_tell_that_there_is_no_token() {
    let issuer = Issuer::new();
    let url = servers(&issuer).await;
    issuer.fail_next(1, Failure::Status(400));
    assert_eq!(send(&url, Body::empty()).await.0, StatusCode::SERVICE_UNAVAILABLE);
}
