//! Interceptors, generated clients, and what a request can say to the layer.

use std::borrow::Cow;

use tonic::{Code, Request, Status, client::Grpc, service::interceptor::InterceptedService};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower::Layer;
use tower_bearer::{BearerAuthLayer, FixedToken, Outcome, SkipBearerAuth, TokenPool};
use tower_bearer_tonic::{GrpcBearerLayer, outcome, token_error};

use crate::server::{World, message, unary, unary_request};

fn is_retried<T>(answer: &tonic::Response<T>) -> bool {
    answer.extensions().get().is_some_and(Outcome::retried)
}

/// The server checks tokens in an interceptor as well.
#[tokio::test]
async fn a_generated_client_with_an_interceptor_is_retried() {
    let world = World::new();
    let tracing = |mut request: Request<()>| {
        request.metadata_mut().insert("x-trace", "1".parse().unwrap());
        request.metadata_mut().insert("authorization", "Basic own".parse().unwrap());
        Ok::<_, Status>(request)
    };
    let mut client = HealthClient::with_interceptor(world.channel(), tracing);
    client.check(HealthCheckRequest::default()).await.unwrap();

    world.issuer.revoke_current();
    assert!(is_retried(&client.check(HealthCheckRequest::default()).await.unwrap()));
    world.issuer.revoke_current();
    let answer = client.watch(HealthCheckRequest::default()).await.unwrap();
    assert!(is_retried(&answer));
    assert!(answer.into_inner().message().await.unwrap().is_some());

    world.issuer.revoke_current();
    let unknown = client.check(HealthCheckRequest { service: "unknown".into() }).await.unwrap_err();
    assert_eq!((unknown.code(), outcome(&unknown).is_some_and(Outcome::retried)), (Code::NotFound, true));
}

#[tokio::test]
async fn an_interceptor_that_fails_sends_nothing() {
    let world = World::new();
    let refusing = |_: Request<()>| Err::<Request<()>, _>(Status::resource_exhausted("too many calls"));
    let mut client = Grpc::new(InterceptedService::new(world.channel(), refusing));
    let status = unary(&mut client, "/echo/unary", "x").await.unwrap_err();
    assert_eq!((status.code(), world.take_calls().len()), (Code::ResourceExhausted, 0));
    assert_eq!(world.issuer.counts().token_requests, 0);
}

/// It runs for each attempt.
#[tokio::test]
async fn an_interceptor_below_sees_the_token_of_each_attempt() {
    let world = World::new();
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let record = seen.clone();
    let recording = move |request: Request<()>| {
        record.lock().unwrap().push(request.metadata().get("authorization").unwrap().clone());
        Ok::<_, Status>(request)
    };
    let channel = InterceptedService::new(world.endpoint.connect_lazy(), recording);
    let mut client = Grpc::new(GrpcBearerLayer::new(world.tokens(), world.endpoint.uri()).unwrap().layer(channel));
    unary(&mut client, "/echo/unary", "x").await.unwrap();
    world.issuer.revoke_current();
    assert!(is_retried(&unary(&mut client, "/echo/unary", "x").await.unwrap()));
    let seen = seen.lock().unwrap();
    assert_eq!((seen.len(), &seen[0]), (3, &seen[1]));
    assert_ne!(seen[1], seen[2]);
}

#[tokio::test]
async fn the_extensions_of_a_call_reach_the_layer() {
    let world = World::new();
    let mut request = Request::new(message("x"));
    request.extensions_mut().insert(SkipBearerAuth);
    let status = unary_request(&mut world.client(), "/echo/unary", request).await.unwrap_err();
    assert_eq!((status.code(), world.issuer.counts().token_requests), (Code::Unauthenticated, 0));
    assert!(!world.take_calls()[0].contains_key("authorization"));
}

#[tokio::test]
async fn a_pool_chooses_the_identity_by_the_metadata_of_a_call() {
    let world = World::new();
    let pool = TokenPool::new(|tenant: &String| FixedToken::new(format!("of-{tenant}")));
    let tokens = BearerAuthLayer::with_pool(pool, |head| {
        head.headers().get("x-tenant").and_then(|tenant| tenant.to_str().ok()).map(Cow::Borrowed)
    });
    let mut client = Grpc::new(world.channel_with(tokens));
    let mut request = Request::new(message("x"));
    request.metadata_mut().insert("x-tenant", "a".parse().unwrap());
    unary_request(&mut client, "/echo/unary", request).await.unwrap_err();
    assert_eq!(world.take_calls()[0]["authorization"], "Bearer of-a");

    let nobody = unary(&mut client, "/echo/unary", "x").await.unwrap_err();
    assert!(nobody.code() == Code::Unauthenticated && token_error(&nobody).unwrap().is_no_identity());
}
