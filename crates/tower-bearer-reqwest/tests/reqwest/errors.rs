//! Why there is no response.

use std::{error::Error as _, time::Duration};

use reqwest::{Client, StatusCode};
use tower::{ServiceBuilder, service_fn, timeout::error::Elapsed};
use tower_bearer::testing::Failure;
use tower_bearer_reqwest::{BearerClient, Error, RequestBuilderExt, ReqwestTypesLayer};

use crate::{
    server::{Server, answer},
    support::{issuer, layer},
};

#[tokio::test]
async fn no_token_is_an_error_of_the_token_and_nothing_is_sent() {
    let issuer = issuer();
    let server = Server::protected(&issuer).await;
    issuer.fail_until_cleared(Failure::Status(400));
    let api = BearerClient::new(Client::new(), layer(&issuer));
    let error = api.client().get(server.url("/")).send_with(&api).await.unwrap_err();
    let Error::Token(token) = &error else { panic!("{error:?}") };
    assert_eq!(error.to_string(), token.to_string());
    assert!(error.as_token_error().is_some() && error.as_reqwest_error().is_none());
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn plain_http_beyond_loopback_is_an_error_and_nothing_is_sent() {
    let issuer = issuer();
    let api = BearerClient::new(Client::new(), layer(&issuer));
    let error = api.client().get("http://192.0.2.1/").send_with(&api).await.unwrap_err();
    assert!(error.as_token_error().is_some_and(tower_bearer::Error::is_insecure), "{error:?}");
    assert_eq!(issuer.counts().token_requests, 0);
}

#[tokio::test]
async fn the_errors_of_reqwest_stay_what_they_are() {
    let issuer = issuer();
    let api = BearerClient::new(Client::new(), layer(&issuer));
    let unused = Server::start(|_| answer(200, "")).await.url("/");
    let error = api.client().get(&unused).send_with(&api).await.unwrap_err();
    let inner = error.as_reqwest_error().unwrap();
    assert!(inner.is_connect() && inner.url().is_some_and(|url| *url.as_str() == unused), "{error:?}");
    assert!(error.to_string() == inner.to_string() && error.source().is_some());

    let error = api.client().get("not a URL").send_with(&api).await.unwrap_err();
    assert!(error.as_reqwest_error().is_some_and(reqwest::Error::is_builder), "{error:?}");
    // A URL that is not a URI.
    let error = api.client().get("https://{{host}}/").send_with(&api).await.unwrap_err();
    assert!(error.as_reqwest_error().is_some_and(|error| error.is_builder() && error.url().is_some()), "{error:?}");
    assert!(api.client().get("not a URL").with_extension(1).unwrap_err().is_builder());
}

#[tokio::test]
async fn a_timeout_of_a_request_or_of_its_client_is_an_error_of_reqwest() {
    let issuer = issuer();
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let short = Duration::from_millis(50);
    let limited = Client::builder().timeout(short).build().unwrap();
    for client in [Client::new(), limited] {
        let api = BearerClient::new(client, layer(&issuer));
        let mut request = api.client().get(&url);
        if !format!("{:?}", api.client()).contains("Timeout") {
            request = request.timeout(short);
        }
        let error = request.send_with(&api).await.unwrap_err();
        assert!(error.as_reqwest_error().is_some_and(reqwest::Error::is_timeout), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_of_another_layer_keeps_its_type() {
    let api = ServiceBuilder::new().layer(ReqwestTypesLayer).timeout(Duration::from_secs(1)).service(service_fn(
        |_: http::Request<reqwest::Body>| {
            std::future::pending::<Result<http::Response<reqwest::Body>, reqwest::Error>>()
        },
    ));
    let error = Client::new().get("https://api.test/").send_with(&api).await.unwrap_err();
    assert!(matches!(&error, Error::Layer(error) if error.is::<Elapsed>()), "{error:?}");
}

#[tokio::test]
async fn a_status_is_an_error_only_if_that_is_asked_for() {
    let issuer = issuer();
    let server = Server::start(|_| answer(404, "")).await;
    let api = BearerClient::new(Client::new(), layer(&issuer));
    let response = api.client().get(server.url("/a")).send_with(&api).await.unwrap();
    let error = response.error_for_status().unwrap_err();
    assert_eq!((error.status(), error.url().unwrap().as_str()), (Some(StatusCode::NOT_FOUND), &*server.url("/a")));
}

#[tokio::test]
async fn no_secret_is_in_an_error_or_in_debug() {
    let issuer = issuer();
    let server = Server::start(|_| answer(200, "")).await;
    let url = server.url("/");
    let api = BearerClient::new(Client::new(), layer(&issuer));
    api.client().get(&url).send_with(&api).await.unwrap();
    let token = server.seen()[0].token().unwrap().replace("Bearer ", "");
    drop(server);
    let unreachable = api.client().get("http://127.0.0.1:1/").send_with(&api).await.unwrap_err();
    let shown = format!("{unreachable:?} {unreachable} {api:?}");
    assert!(!shown.contains(&token) && !shown.contains("client-secret"), "{shown}");
}
