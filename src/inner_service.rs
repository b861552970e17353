//! What a service has to be for the middleware, as traits of their own, so that the compiler can say what to do.
//!
//! A bound `S: Clone` fails with "`Clone` is not implemented", far from its reason. These traits hold for exactly the types
//! that the bound holds for, and bring a message.

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

/// A service of `http`'s requests and responses. Its associated type is what lets the compiler show this message: a bound on
/// `Service::Response` would fail first.
#[diagnostic::on_unimplemented(
    message = "the service inside `BearerAuth` has to be a `Service<http::Request<{B}>>`, and `{Self}` is not",
    label = "this service does not take an `http::Request<{B}>`",
    note = "for a `reqwest::Client`, use `BearerClient` of the crate `tower-bearer-reqwest`, or `HttpClient` in a stack",
    note = "for another client, map the request below the `BearerAuthLayer`, or send requests by `TokenCache::call`"
)]
pub trait RequestService<B>: Service<Request<B>, Response = Response<Self::Body>> {
    /// The body of its responses.
    type Body;
}

#[diagnostic::do_not_recommend]
impl<S: Service<Request<B>, Response = Response<ResB>>, B, ResB> RequestService<B> for S {
    type Body = ResB;
}

/// A service that is `Clone`.
#[diagnostic::on_unimplemented(
    message = "the service inside `BearerAuth` has to be `Clone`, and `{Self}` is not",
    label = "this service is not `Clone`",
    note = "a request that waits for a token, or is retried, needs a service of its own",
    note = "make the service `Clone`, or put tower's `Buffer` around it: `ServiceBuilder::new().layer(BearerAuthLayer::new(..)).buffer(64)`"
)]
pub trait CloneableService: Clone {}

#[diagnostic::do_not_recommend]
impl<S: Clone> CloneableService for S {}

/// A response body that is an `http_body::Body`.
#[diagnostic::on_unimplemented(
    message = "the response body of the service inside `BearerAuth` has to be an `http_body::Body`, and `{Self}` is not",
    label = "this response body is not an `http_body::Body`",
    note = "the rest of a rejected response is read, so that its connection can be used again",
    note = "map the response to a body such as `http_body_util::Full`, below the `BearerAuthLayer`"
)]
pub trait ResponseBody: Body {}

#[diagnostic::do_not_recommend]
impl<B: Body> ResponseBody for B {}
