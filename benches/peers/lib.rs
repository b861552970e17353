//! The services that are compared, each over a service that responds at once.

mod bare;
mod issuer;
mod kube;
mod retry;
mod toolkit;

use std::{
    hint::black_box,
    task::{Context, Waker},
};

use futures::FutureExt;
use http::{HeaderName, HeaderValue, Request, Response, header};
use toolkit_auth::{BearerAuthAutoRefreshLayer, BearerAuthLayer as ToolkitLayer};
use tower::{Layer, Service, filter::AsyncFilterLayer, retry::RetryLayer};
use tower_bearer::{
    BearerAuthLayer, FixedToken, TokenSource,
    store::{MemoryStore, SealingKey, SealingKeys, SharedStore, Stored},
};
use tower_http::auth::AddAuthorizationLayer;

pub use bare::{Bare, Body};
pub use issuer::{grant, issuer};

const TOKEN: &str = "mF_9.B5f-4.1JqM";

/// A service that is ready to be measured. It sends this many requests, each with this many headers.
pub type Requests = Box<dyn FnMut(u64, usize)>;

pub type Make = fn() -> Requests;

pub const BARE: &str = "bare";
pub const ADD_AUTHORIZATION: &str = "AddAuthorization";
pub const WITHOUT_RETRY: &str = "ours, without retry";
pub const WITH_RETRY: &str = "ours, with retry";
pub const STORED_WITHOUT_RETRY: &str = "with a store, without retry";
pub const STORED_WITH_RETRY: &str = "with a store, with retry";
pub const RETRY: &str = "Retry + AddAuthorization";

/// The services, each with its name.
pub const SERVICES: &[(&str, Make)] = &[
    (BARE, || requests(Bare::new())),
    (ADD_AUTHORIZATION, || requests(add_authorization().layer(Bare::new()))),
    (WITHOUT_RETRY, || requests(ours().without_retry().layer(Bare::new()))),
    (WITH_RETRY, || requests(ours().layer(Bare::new()))),
    (STORED_WITHOUT_RETRY, || requests(stored().without_retry().layer(Bare::new()))),
    (STORED_WITH_RETRY, || requests(stored().layer(Bare::new()))),
    (RETRY, || requests(RetryLayer::new(retry::Once::default()).layer(add_authorization().layer(Bare::new())))),
    ("kube's way", || requests(AsyncFilterLayer::new(kube::Refreshable::new(TOKEN)).layer(Bare::new()))),
    ("toolkit-auth, without retry", || requests(ToolkitLayer::new(toolkit::provider()).layer(Bare::default()))),
    ("toolkit-auth, with retry", || {
        requests(BearerAuthAutoRefreshLayer::new(toolkit::provider()).layer(Bare::default()))
    }),
];

/// Returns tower-http's layer with a token that does not change.
#[must_use]
pub fn add_authorization() -> AddAuthorizationLayer {
    AddAuthorizationLayer::bearer(TOKEN)
}

/// Returns our layer with a token.
///
/// # Panics
///
/// Panics if no runtime can be created.
#[must_use]
pub fn ours() -> BearerAuthLayer {
    with_token(FixedToken::new(TOKEN).expect("a token"))
}

/// Returns our layer with a token that is shared by a store.
fn stored() -> BearerAuthLayer {
    let store = SharedStore::new(MemoryStore::new(), SealingKeys::new(SealingKey::new(&[7; 32])));
    with_token(Stored::new(FixedToken::new(TOKEN).expect("a token"), &store).named("bench"))
}

fn with_token(source: impl TokenSource) -> BearerAuthLayer {
    let get_token = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let layer = BearerAuthLayer::new(source);
        runtime.block_on(layer.cache().token()).expect("a token");
        layer
    };
    // In a thread with a heap of its own, so that what a renewal frees does not change the cost of an allocation in a hit.
    std::thread::spawn(get_token).join().expect("a token")
}

fn requests<S>(mut service: S) -> Requests
where
    S: Service<Request<Body>, Response = Response<Body>> + 'static,
{
    Box::new(move |times, headers| (0..times).for_each(|_| send(&mut service, request(headers))))
}

/// Sends a request to a service that responds at once.
///
/// # Panics
///
/// Panics if it does not respond at once.
#[expect(
    clippy::inline_always,
    reason = "a call copies the request, so services that are inlined would seem to be faster"
)]
#[inline(always)]
pub fn send<S: Service<Request<Body>>>(service: &mut S, request: Request<Body>) {
    let mut task = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut task).is_ready());
    let answer = service.call(request).now_or_never();
    assert!(answer.is_some_and(|answer| answer.is_ok()), "a hit is answered at once");
}

/// The headers of a request. The first two are in every request, the first five are an SDK's with tracing, and all ten
/// are a gateway's. The marked ones have a different value in each request.
static HEADERS: [(HeaderName, &str, bool); 10] = [
    (header::ACCEPT, "application/fhir+json", false),
    (header::USER_AGENT, "sdk/1.0", false),
    (header::ACCEPT_ENCODING, "gzip, br", false),
    (HeaderName::from_static("traceparent"), "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true),
    (HeaderName::from_static("x-request-id"), "7f2c0a3e-5b1c-4f0a-9a57-2d1f0e6b8c11", true),
    (header::ACCEPT_LANGUAGE, "en-GB,en;q=0.5", false),
    (header::IF_NONE_MATCH, "W/\"3141\"", true),
    (header::REFERER, "https://portal.example.org/patients/123", true),
    (HeaderName::from_static("x-forwarded-for"), "192.0.2.43", true),
    (HeaderName::from_static("x-forwarded-proto"), "https", false),
];

/// Returns a request with this many headers to a URL that the compiler does not know. It is not inlined, so that it
/// costs the same for each service.
#[must_use]
#[inline(never)]
pub fn request(headers: usize) -> Request<Body> {
    let request = Request::get(black_box("https://api.example.org/fhir/Patient/123"));
    let with_headers = HEADERS[..headers].iter().fold(request, |request, (name, value, varies)| match varies {
        true => request.header(name, (*value).to_owned()),
        false => request.header(name, HeaderValue::from_static(value)),
    });
    with_headers.body(Body::new()).unwrap_or_default()
}
