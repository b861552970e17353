//! The services that are compared, each over one that answers at once.

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
use http::{HeaderValue, Request, Response, header};
use toolkit_auth::{BearerAuthAutoRefreshLayer, BearerAuthLayer as ToolkitLayer};
use tower::{Layer, Service, filter::AsyncFilterLayer, retry::RetryLayer};
use tower_bearer::{BearerAuthLayer, FixedToken};
use tower_http::auth::AddAuthorizationLayer;

pub use bare::{Bare, Body};
pub use issuer::{grant, issuer};

const TOKEN: &str = "mF_9.B5f-4.1JqM";

/// A service that is ready to be measured: sends so many requests through it.
pub type Requests = Box<dyn FnMut(u64)>;

pub type Make = fn() -> Requests;

pub const BARE: &str = "bare";
pub const ADD_AUTHORIZATION: &str = "AddAuthorization";
pub const WITHOUT_RETRY: &str = "ours, without retry";
pub const WITH_RETRY: &str = "ours, with retry";
pub const RETRY: &str = "Retry + AddAuthorization";

/// By name.
pub const SERVICES: &[(&str, Make)] = &[
    (BARE, || requests(Bare::new())),
    (ADD_AUTHORIZATION, || requests(add_authorization().layer(Bare::new()))),
    (WITHOUT_RETRY, || requests(ours().without_retry().layer(Bare::new()))),
    (WITH_RETRY, || requests(ours().layer(Bare::new()))),
    (RETRY, || requests(RetryLayer::new(retry::Once::default()).layer(add_authorization().layer(Bare::new())))),
    ("kube's way", || requests(AsyncFilterLayer::new(kube::Refreshable::new(TOKEN)).layer(Bare::new()))),
    ("toolkit-auth, without retry", || requests(ToolkitLayer::new(toolkit::provider()).layer(Bare::default()))),
    ("toolkit-auth, with retry", || {
        requests(BearerAuthAutoRefreshLayer::new(toolkit::provider()).layer(Bare::default()))
    }),
];

/// tower-http's, for a token that stays.
#[must_use]
pub fn add_authorization() -> AddAuthorizationLayer {
    AddAuthorizationLayer::bearer(TOKEN)
}

/// Ours, with its token at hand.
///
/// # Panics
/// When there is no runtime to be had.
#[must_use]
pub fn ours() -> BearerAuthLayer<FixedToken> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let layer = BearerAuthLayer::new(FixedToken::new(TOKEN).expect("a token"));
    runtime.block_on(layer.cache().token()).expect("a token");
    layer
}

fn requests<S>(mut service: S) -> Requests
where
    S: Service<Request<Body>, Response = Response<Body>> + 'static,
{
    Box::new(move |times| (0..times).for_each(|_| send(&mut service, request())))
}

/// Sends a request to a service that answers at once.
///
/// # Panics
/// When it does not.
pub fn send<S: Service<Request<Body>>>(service: &mut S, request: Request<Body>) {
    let mut task = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut task).is_ready());
    let answer = service.call(request).now_or_never();
    assert!(answer.is_some_and(|answer| answer.is_ok()), "a hit is answered at once");
}

/// As an SDK makes it, of a URL that the compiler does not know. Not inlined, so that it costs each service the same.
#[must_use]
#[inline(never)]
pub fn request() -> Request<Body> {
    Request::get(black_box("https://api.example.org/fhir/Patient/123"))
        .header(header::ACCEPT, HeaderValue::from_static("application/fhir+json"))
        .header(header::USER_AGENT, HeaderValue::from_static("sdk/1.0"))
        .body(Body::new())
        .unwrap_or_default()
}
