//! Mistakes. This file does not compile: `tests/diagnostics.rs` reads what the compiler says about it.

use std::{
    future::Ready,
    task::{Context, Poll},
};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt};
#[cfg(not(feature = "client"))]
use tower_bearer::grant::ClientCredentials;
use tower_bearer::{BearerAuthLayer, FixedToken, TokenCache, judge_body::BodyRule};

fn main() {}

fn source() -> FixedToken {
    FixedToken::new("t").unwrap()
}

fn is_service<B>(_: impl Service<Request<B>>) {}

/// A streaming body, with the default way to keep it.
fn a_body_that_is_not_clone() {
    let client = Client::builder(TokioExecutor::new()).build_http::<Incoming>();
    is_service::<Incoming>(BearerAuthLayer::new(source()).layer(client));
}

/// As users write it.
async fn a_service_that_is_not_clone_and_is_called() {
    struct OnlyReady;

    impl Service<Request<String>> for OnlyReady {
        type Response = Response<String>;
        type Error = BoxError;
        type Future = Ready<Result<Response<String>, BoxError>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<String>) -> Self::Future {
            std::future::ready(Ok(Response::default()))
        }
    }

    let mut api = ServiceBuilder::new().layer(BearerAuthLayer::new(source())).service(OnlyReady);
    let _ = api.ready().await.unwrap().call(Request::new(String::new())).await;
}

fn a_service_that_is_not_clone() {
    struct OnlyOne;

    impl Service<Request<String>> for OnlyOne {
        type Response = Response<String>;
        type Error = BoxError;
        type Future = Ready<Result<Response<String>, BoxError>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<String>) -> Self::Future {
            std::future::ready(Ok(Response::default()))
        }
    }

    is_service::<String>(BearerAuthLayer::new(source()).layer(OnlyOne));
}

/// As `reqwest::Client` is one.
fn a_service_of_other_requests() {
    #[derive(Clone)]
    struct Client;
    struct OwnRequest;

    impl Service<OwnRequest> for Client {
        type Response = Response<String>;
        type Error = BoxError;
        type Future = Ready<Result<Response<String>, BoxError>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: OwnRequest) -> Self::Future {
            std::future::ready(Ok(Response::default()))
        }
    }

    is_service::<String>(BearerAuthLayer::new(source()).layer(Client));
}

fn a_response_body_that_is_no_body() {
    #[derive(Clone)]
    struct Counter;

    impl Service<Request<String>> for Counter {
        type Response = Response<u64>;
        type Error = BoxError;
        type Future = Ready<Result<Response<u64>, BoxError>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<String>) -> Self::Future {
            std::future::ready(Ok(Response::default()))
        }
    }

    is_service::<String>(BearerAuthLayer::new(source()).layer(Counter));
}

fn a_body_that_is_not_made_by_a_function() {
    let _ = BearerAuthLayer::new(source()).judge_body(1024, BodyRule::slack()).body("wrapped");
}

fn a_function_that_makes_another_body() {
    #[derive(Clone)]
    struct Text;

    impl Service<Request<String>> for Text {
        type Response = Response<String>;
        type Error = BoxError;
        type Future = Ready<Result<Response<String>, BoxError>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<String>) -> Self::Future {
            std::future::ready(Ok(Response::default()))
        }
    }

    let judging = BearerAuthLayer::new(source()).judge_body(1024, BodyRule::slack());
    is_service::<String>(judging.body(|_| http_body_util::Empty::<bytes::Bytes>::new()).layer(Text));
}

fn a_text_that_is_not_a_source() {
    BearerAuthLayer::new("mF_9.B5f-4.1JqM");
}

fn a_cache_that_is_not_a_source() {
    BearerAuthLayer::new(TokenCache::new(source()));
}

#[cfg(not(feature = "client"))]
fn a_grant_without_the_ready_made_client() {
    let _ = ClientCredentials::builder("https://auth.example.org/token").build();
}
