//! What a service has to be for the middleware, as traits of their own, so that the compiler can say what to do.
//!
//! A bound `S: Clone` fails with "`Clone` is not implemented", far from its reason. These traits hold for exactly the types
//! that the bound holds for, and bring a message.

use http_body::Body;

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
