//! What a hit costs: nanoseconds by criterion, allocations by a counting allocator. See `benches/README.md`.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    hint::black_box,
    task::{Context, Poll},
};

use criterion::{Criterion, criterion_group, criterion_main};
use futures::FutureExt;
use http::{HeaderValue, Request, Response, header};
use http_body_util::Empty;
use tower::{Layer, Service};
use tower_bearer::{BearerAuthLayer, FixedToken};
use tower_http::auth::AddAuthorizationLayer;

type Body = Empty<bytes::Bytes>;

/// Answers at once.
#[derive(Clone)]
struct Bare;

impl Service<Request<Body>> for Bare {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        black_box(request);
        ready(Ok(Response::new(Body::new())))
    }
}

/// A request as an SDK sends it.
fn request() -> Request<Body> {
    Request::get("https://api.example.org/fhir/Patient/123")
        .header(header::ACCEPT, HeaderValue::from_static("application/fhir+json"))
        .header(header::USER_AGENT, HeaderValue::from_static("sdk/1.0"))
        .body(Body::new())
        .unwrap_or_default()
}

fn send<S: Service<Request<Body>>>(service: &mut S) {
    let mut task = Context::from_waker(std::task::Waker::noop());
    assert!(service.poll_ready(&mut task).is_ready());
    assert!(service.call(request()).now_or_never().is_some(), "a hit is answered at once");
}

fn measure<S: Service<Request<Body>>>(criterion: &mut Criterion, name: &str, mut service: S) {
    send(&mut service);
    let allocations = allocation_counter::measure(|| send(&mut service)).count_total;
    println!("hit/{name}: {allocations} allocations");
    criterion.bench_function(&format!("hit/{name}"), |bencher| bencher.iter(|| send(&mut service)));
}

fn hit(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let layer = BearerAuthLayer::new(FixedToken::new("mF_9.B5f-4.1JqM").expect("a token"));
    runtime.block_on(layer.cache().token()).expect("a token");

    measure(criterion, "bare", Bare);
    measure(criterion, "AddAuthorization", AddAuthorizationLayer::bearer("mF_9.B5f-4.1JqM").layer(Bare));
    measure(criterion, "ours, without retry", layer.clone().without_retry().layer(Bare));
    measure(criterion, "ours, with retry", layer.layer(Bare));
}

criterion_group!(benches, hit);
criterion_main!(benches);
