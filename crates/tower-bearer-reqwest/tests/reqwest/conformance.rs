//! Each way to use reqwest passes the checks of HTTP stacks.

use reqwest::{Body, Client};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_bearer::{
    BoxError,
    conformance::{StackBehaviour as Behaviour, StackReport, StackResult, check_stack},
};
use tower_bearer_reqwest::{BearerClient, Error, HttpClient, KeepBody, RequestBuilderExt};
use tower_http::trace::TraceLayer;

/// Nothing was left out: reqwest sends streams, and follows redirects.
#[track_caller]
fn assert_passes(report: &StackReport) {
    report.assert_conforms();
    assert!(report.checks().iter().all(|check| check.result == StackResult::Passed), "{report}");
}

/// The checks look for the error of the crate, which is inside the error of this one.
fn boxed(error: Error) -> BoxError {
    match error {
        Error::Token(error) => error.into(),
        error => error.into(),
    }
}

#[tokio::test]
async fn the_client_at_the_bottom_of_a_tower_stack_conforms() {
    let make = |layer: tower_bearer::BearerAuthLayer, url: &str| {
        ServiceBuilder::new()
            .concurrency_limit(4)
            .layer(layer.origins([url]).unwrap().replay(KeepBody::new()))
            .layer(TraceLayer::new_for_http())
            .service(HttpClient::new(Client::new()))
    };
    assert_passes(&check_stack(make, Body::wrap).await);
}

#[tokio::test]
async fn the_client_with_its_own_requests_and_responses_conforms() {
    let make = |layer, _: &str| {
        let api = BearerClient::new(Client::new(), layer);
        service_fn(move |request: http::Request<Body>| {
            let api = api.clone();
            async move {
                let response = api.oneshot(request.try_into()?).await.map_err(boxed)?;
                Ok::<_, BoxError>(http::Response::from(response))
            }
        })
    };
    assert_passes(&check_stack(make, Body::wrap).await);
}

/// A body in memory stays one, and a request of reqwest is built as usual.
#[tokio::test]
async fn a_request_that_is_built_by_hand_conforms_but_for_the_marker_that_it_leaves_out() {
    let make = |layer, _: &str| {
        let (client, api) = (Client::new(), BearerClient::new(Client::new(), layer));
        service_fn(move |request: http::Request<bytes::Bytes>| {
            let (client, api) = (client.clone(), api.clone());
            async move {
                let (head, body) = request.into_parts();
                let request = client.request(head.method, head.uri.to_string()).headers(head.headers).body(body);
                let response = request.send_with(&api).await.map_err(boxed)?;
                Ok::<_, BoxError>(http::Response::from(response))
            }
        })
    };
    let report = check_stack(make, tower_bearer::conformance::TestBody::into_bytes).await;
    assert_eq!(report.failed(), [Behaviour::MarkedRequestKeepsItsHeader], "{report}");
}
