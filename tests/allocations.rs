//! Counts the allocations of a hit. This test is a separate binary because it replaces the allocator.

use std::{
    borrow::Cow,
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Waker},
};

use futures::FutureExt;
use http::{Extensions, HeaderValue, Request, Response, header::USER_AGENT};
use tower::{Layer, Service, service_fn};
use tower_bearer::{
    AccessToken, BearerAuthLayer, BoxTokenSource, Error, FixedToken, Reason, TokenPool, TokenSource, source::Narrowing,
};

type Answer = Ready<Result<Response<String>, Infallible>>;

#[expect(clippy::needless_pass_by_value, reason = "as a service takes it")]
fn api(request: Request<()>) -> Answer {
    assert!(request.headers().contains_key("authorization"));
    ready(Ok(Response::new(String::new())))
}

/// A source that can be narrowed.
struct Narrowable;

impl TokenSource for Narrowable {
    async fn obtain(&self, _why: Reason) -> Result<AccessToken, Error> {
        AccessToken::new("t")
    }

    fn narrowed(&self, _to: &Narrowing) -> Option<BoxTokenSource> {
        Some(Self.boxed())
    }
}

/// Returns the allocations of one hit, without those of the request itself.
fn of_a_hit<S: Service<Request<()>>>(service: S) -> u64 {
    of_a_hit_with(service, &Extensions::new())
}

/// Returns the same for a request with these extensions.
fn of_a_hit_with<S: Service<Request<()>>>(mut service: S, extensions: &Extensions) -> u64 {
    let mut send = |request| {
        assert!(service.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready());
        assert!(service.call(request).now_or_never().is_some(), "a hit is answered at once");
    };
    let request = || {
        let mut request = Request::get("https://eu.api.example.org/fhir")
            .header(USER_AGENT, HeaderValue::from_static("sdk/1.0"))
            .body(())
            .unwrap();
        *request.extensions_mut() = extensions.clone();
        request
    };
    send(request());
    let request = request();
    allocation_counter::measure(|| send(request)).count_total
}

#[tokio::test]
async fn a_hit_allocates_only_to_keep_the_request() {
    let layer = BearerAuthLayer::new(FixedToken::new("t").unwrap());
    layer.cache().token().await.unwrap();
    assert_eq!(of_a_hit(layer.clone().without_retry().layer(service_fn(api))), 0);
    assert_eq!(of_a_hit(layer.clone().layer(service_fn(api))), 1, "the kept headers");

    let listed = layer.origins(["https://example.org", "https://*.API.example.org:443"]).unwrap();
    assert_eq!(of_a_hit(listed.without_retry().layer(service_fn(api))), 0, "comparing with the list does not allocate");
}

#[tokio::test]
async fn a_hit_with_a_narrowed_token_allocates_nothing_besides() {
    let layer = BearerAuthLayer::new(Narrowable);
    let narrowing = Narrowing::new().with_scope("user/Patient.rs").unwrap();
    layer.cache().narrowed(&narrowing).unwrap().token().await.unwrap();
    let mut extensions = Extensions::new();
    extensions.insert(narrowing);
    assert_eq!(of_a_hit_with(layer.clone().without_retry().layer(service_fn(api)), &extensions), 0);
    let saved_extensions = {
        let extensions = extensions.clone();
        allocation_counter::measure(|| drop(extensions.clone())).count_total
    };
    assert_eq!(of_a_hit_with(layer.layer(service_fn(api)), &extensions), 1 + saved_extensions);
}

#[tokio::test]
async fn a_hit_of_an_identity_allocates_nothing_besides() {
    let pool = TokenPool::new(|_: &String| FixedToken::new("t"));
    // The name of each request's agent.
    pool.cache("sdk/1.0").unwrap().token().await.unwrap();
    let layer = BearerAuthLayer::with_pool(pool, |head| Some(Cow::Borrowed(head.headers()[USER_AGENT].to_str().ok()?)));
    assert_eq!(of_a_hit(layer.clone().without_retry().layer(service_fn(api))), 0);
    assert_eq!(of_a_hit(layer.layer(service_fn(api))), 1, "the kept headers");
}

#[tokio::test]
async fn a_futures_size_is_its_inner_ones_and_what_a_hit_needs() {
    let layer = BearerAuthLayer::new(FixedToken::new("t").unwrap());
    let beyond = |future: usize| future - size_of::<Answer>();
    let without = layer.clone().without_retry().layer(service_fn(api)).call(Request::default());
    let with = layer.layer(service_fn(api)).call(Request::default());
    assert!(beyond(size_of_val(&without)) <= 144, "{}", beyond(size_of_val(&without)));
    assert!(beyond(size_of_val(&with)) <= 144, "{}", beyond(size_of_val(&with)));
}
