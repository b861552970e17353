//! Failed calls: why there was no token, and what happened to a call that was sent.

use tonic::{Code, Request, Response, Status, body::Body, client::Grpc};
use tower::{Layer, service_fn};
use tower_bearer::{
    AccessToken, BearerAuthLayer, BoxError, Error, FixedToken, NotRetried, Outcome, RequiredScopes,
    source::from_fn,
    testing::{Failure, Issuer},
};
use tower_bearer_tonic::{GrpcBearerLayer, outcome, token_error};

use crate::server::{World, message, unary, unary_request};

/// Calls a server whose token source fails with `failure`.
async fn without_token(failure: Failure) -> (World, Status) {
    let world = World::new();
    world.issuer.fail_until_cleared(failure);
    let status = unary(&mut world.client(), "/echo/unary", "x").await.unwrap_err();
    assert!(world.take_calls().is_empty() && outcome(&status).is_none(), "it is not sent");
    (world, status)
}

#[tokio::test]
async fn a_failure_that_may_be_over_soon_is_unavailable() {
    let (world, status) = without_token(Failure::Status(503)).await;
    assert_eq!((status.code(), token_error(&status).unwrap().is_transient()), (Code::Unavailable, true));
    assert!(status.message().contains("503"), "{status}");
    drop(world);

    let (_, status) = without_token(Failure::RetryAfter(503, "7".into())).await;
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "7000");
}

#[tokio::test]
async fn a_refusal_is_unauthenticated_also_while_the_issuer_is_not_asked_again() {
    for refusal in [Failure::OAuth(401, "invalid_client"), Failure::Status(403)] {
        let world = World::new();
        world.issuer.fail_until_cleared(refusal);
        let mut client = world.client();
        for backs_off in [false, true] {
            let status = unary(&mut client, "/echo/unary", "x").await.unwrap_err();
            let error = token_error(&status).unwrap();
            assert_eq!((status.code(), error.is_backing_off()), (Code::Unauthenticated, backs_off));
            assert_eq!(status.message(), error.to_string());
            assert!(!status.metadata().contains_key("grpc-retry-pushback-ms"), "waiting does not help");
        }
        assert_eq!(world.issuer.counts().token_requests, 1);
    }
}

/// Otherwise tonic finds it among the causes, and the call seems to have this status.
#[tokio::test]
async fn the_status_of_a_token_server_is_not_that_of_the_call() {
    let world = World::new();
    let source = || from_fn(|_| async { Err::<AccessToken, _>(Error::transient(Status::not_found("no such key"))) });
    let status = unary(&mut Grpc::new(world.channel_with(BearerAuthLayer::new(source()))), "/echo/unary", "x").await;
    assert_eq!(status.unwrap_err().code(), Code::Unavailable);

    let plain = BearerAuthLayer::new(source()).replay(tower_bearer::replay::NoReplay);
    let status = unary(&mut Grpc::new(plain.layer(world.endpoint.connect_lazy())), "/echo/unary", "x").await;
    assert_eq!(status.unwrap_err().code(), Code::NotFound, "without the crate");
}

#[tokio::test]
async fn a_fault_of_the_program_is_internal() {
    let world = World::new();
    let source = from_fn(|_| async { if true { panic!("a mistake") } else { AccessToken::new("t") } });
    let status = unary(&mut Grpc::new(world.channel_with(BearerAuthLayer::new(source))), "/echo/unary", "x").await;
    let status = status.unwrap_err();
    assert_eq!((status.code(), token_error(&status).unwrap().is_panic()), (Code::Internal, true));
}

#[tokio::test]
async fn a_missing_scope_is_permission_denied() {
    let world = World::with(Issuer::builder().scope("read").build());
    let mut client = Grpc::new(world.channel_with(world.tokens().check_scopes(true)));
    let mut request = Request::new(message("x"));
    request.extensions_mut().insert(RequiredScopes::new("write".parse().unwrap()));
    let status = unary_request(&mut client, "/echo/unary", request).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    assert_eq!(token_error(&status).unwrap().missing_scope(), Some("write"));
    assert!(world.take_calls().is_empty());
}

#[tokio::test]
async fn a_channel_that_cannot_connect_fails_as_without_the_layer() {
    let endpoint = tonic::transport::Endpoint::from_static("http://127.0.0.1:1");
    let layer = GrpcBearerLayer::new(BearerAuthLayer::new(FixedToken::new("t").unwrap()), endpoint.uri()).unwrap();
    let status = unary(&mut Grpc::new(layer.layer(endpoint.connect_lazy())), "/echo/unary", "x").await.unwrap_err();
    let plain = unary(&mut Grpc::new(endpoint.connect_lazy()), "/echo/unary", "x").await.unwrap_err();
    assert_eq!((status.code(), status.message()), (plain.code(), plain.message()));
    assert!(status.code() == Code::Unavailable && token_error(&status).is_none());
}

#[tokio::test]
async fn a_failed_call_says_that_it_was_retried_and_keeps_its_status() {
    let world = World::new();
    let mut client = world.client();
    unary(&mut client, "/echo/unary", "").await.unwrap();
    let status = unary(&mut client, "/echo/not_found", "").await.unwrap_err();
    assert!(status.code() == Code::NotFound && outcome(&status).is_none(), "a plain hit");

    // The second fails in its trailers.
    for (method, code, text) in
        [("/echo/not_found", Code::NotFound, "there is no such thing"), ("/echo/late", Code::Aborted, "too late")]
    {
        // A success proves the token, so that its end is not held against the next one.
        unary(&mut client, "/echo/unary", "").await.unwrap();
        world.issuer.revoke_current();
        let status = unary(&mut client, method, "").await.unwrap_err();
        assert_eq!((status.code(), status.message()), (code, text));
        assert!(outcome(&status).is_some_and(Outcome::retried) && token_error(&status).is_none());
        assert_eq!(status.metadata().contains_key("x-server"), code == Code::NotFound);
    }
}

#[tokio::test]
async fn a_rejected_call_says_why_it_was_not_retried() {
    let world = World::new();
    let channel = GrpcBearerLayer::new(world.tokens(), world.endpoint.uri()).unwrap().cap(8);
    let mut client = Grpc::new(channel.layer(world.endpoint.connect_lazy()));
    unary(&mut client, "/echo/unary", "").await.unwrap();

    world.issuer.revoke_current();
    let status = unary(&mut client, "/echo/unary", "more than eight bytes").await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unauthenticated, "the token is not accepted"));
    let why = outcome(&status).unwrap().not_retried();
    assert!(matches!(why, Some(NotRetried::NotReplayable)), "{why:?}");

    unary(&mut client, "/echo/unary", "").await.unwrap();
    world.issuer.revoke_current();
    world.issuer.fail_until_cleared(Failure::OAuth(400, "invalid_grant"));
    let status = unary(&mut client, "/echo/unary", "").await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unauthenticated, "the token is not accepted"));
    let Some(NotRetried::RenewalFailed { error, .. }) = outcome(&status).unwrap().not_retried() else { panic!() };
    assert_eq!(error.oauth_code(), Some("invalid_grant"));
    assert!(token_error(&status).is_none(), "the call was sent");
}

/// A proxy answers before the gRPC server. It has the code that tonic gives it.
#[tokio::test]
async fn an_answer_of_http_alone_says_what_happened_too() {
    for http in [400, 401, 403, 404, 429, 500, 503] {
        let proxy = service_fn(move |request: http::Request<Body>| async move {
            // The first token is rejected.
            let status = if request.headers()["authorization"] == "Bearer t1" { 401 } else { http };
            Ok::<_, BoxError>(http::Response::builder().status(status).body(Body::empty()).unwrap())
        });
        let server = http::Uri::from_static("https://grpc.example.org");
        let number = std::sync::atomic::AtomicU64::new(1);
        let source = from_fn(move |_| {
            let number = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            async move { AccessToken::new(format!("t{number}")) }
        });
        let layer = GrpcBearerLayer::new(BearerAuthLayer::new(source), &server).unwrap();
        let status = unary(&mut Grpc::new(layer.layer(proxy)), "/echo/unary", "x").await.unwrap_err();
        assert!(outcome(&status).is_some_and(Outcome::retried), "{http}");

        let answer = service_fn(move |_: http::Request<Body>| async move {
            Ok::<_, BoxError>(http::Response::builder().status(http).body(Body::empty()).unwrap())
        });
        let plain = unary(&mut Grpc::new(answer), "/echo/unary", "x").await.unwrap_err();
        assert_eq!(status.code(), plain.code(), "{http}");
    }
}

/// So a chain of errors in a log says what happened.
#[tokio::test]
async fn the_source_of_a_status_is_readable() {
    let world = World::new();
    let mut client = world.client();
    unary(&mut client, "/echo/unary", "").await.unwrap();
    world.issuer.revoke_current();
    let status = unary(&mut client, "/echo/not_found", "").await.unwrap_err();
    let source = std::error::Error::source(&status).unwrap();
    assert_eq!(source.to_string(), "the call was sent again with a new token");
}

#[tokio::test]
async fn a_stream_that_fails_in_its_trailers_has_its_outcome_in_its_extensions() {
    let world = World::new();
    let mut client = world.client();
    unary(&mut client, "/echo/unary", "").await.unwrap();
    world.issuer.revoke_current();
    let request = Request::new(message(""));
    client.ready().await.unwrap();
    let path = crate::server::path("/echo/late");
    let answer: Response<tonic::Streaming<_>> =
        client.server_streaming(request, path, crate::server::Codec::default()).await.unwrap();
    assert!(answer.extensions().get().is_some_and(Outcome::retried));
    let mut messages = answer.into_inner();
    let status = messages.message().await.unwrap_err();
    assert_eq!((status.code(), outcome(&status).is_some_and(Outcome::retried)), (Code::Aborted, true));
    // tonic repeats an error of the body once.
    assert_eq!(messages.message().await.unwrap_err().code(), Code::Aborted);
    assert!(messages.message().await.unwrap().is_none());
}
