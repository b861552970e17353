//! What a hit costs: nanoseconds by criterion, allocations by a counting allocator. See `benches/README.md`.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    convert::Infallible,
    future::{Ready, ready},
    hint::black_box,
    sync::atomic::{AtomicUsize, Ordering},
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

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: it hands everything on to the system's allocator.
#[expect(unsafe_code, reason = "counting allocations takes an allocator")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Answers at once.
#[derive(Clone)]
struct Bare;

impl Service<Request<Body>> for Bare {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        black_box(request);
        ready(Ok(Response::new(())))
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
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    send(&mut service);
    println!("hit/{name}: {} allocations", ALLOCATIONS.load(Ordering::Relaxed) - before);
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
