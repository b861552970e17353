//! Any body, kept while it passes.

use std::fmt;

use crate::error::BoxError;
use http_body::{Body, SizeHint};

use crate::replay::{
    body::ReplayBody,
    shared::{Keeper, split},
    strategy::Replay,
};

/// Keeps the chunks of a streaming body while they pass, so that it can be sent a second time.
///
/// Nothing is buffered before it is sent, and chunks are shared, not copied (but for small ones after the first). When the first attempt is rejected,
///
/// 1. what it has not read is held back;
/// 2. the second attempt sends what was kept, and then the rest as it comes. So an upload whose 401 comes early, before it
///    is read, is retried whatever its length;
/// 3. the first attempt's body then ends in an error, unless it was at its end already.
///
/// Where more than the [cap](Self::cap) has passed before the answer came, nothing is kept any more: the first attempt
/// goes on undisturbed and the request is not retried. A body that declares more than the cap (by its size hint) is never kept.
///
/// # Which bodies
///
/// The service below goes on seeing the body type that it is made for, so the tee needs a function that makes one of a
/// [`ReplayBody`]; most bodies that erase a type have one:
///
/// ```
/// use bytes::Bytes;
/// use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
/// use crate::error::BoxError;
/// use tower_bearer::{BearerAuthLayer, FixedToken, replay::Tee};
///
/// # let source = FixedToken::new("t")?;
/// type Body = UnsyncBoxBody<Bytes, BoxError>;
/// let layer = BearerAuthLayer::new(source).replay(Tee::new(|body| Body::new(body)));
/// // With axum, `Tee::new(axum::body::Body::new)`; with tonic, `Tee::new(tonic::body::Body::new)`.
/// # use tower_layer::Layer;
/// # let api = tower::service_fn(async |_: http::Request<Body>| Ok::<_, BoxError>(http::Response::new(String::new())));
/// # fn is_service<B, S: tower::Service<http::Request<B>>>(_: S) {}
/// # is_service::<Body, _>(layer.layer(api));
/// # Ok::<(), tower_bearer::Error>(())
/// ```
///
/// A stack that owns its body type can do without: its client takes a `ReplayBody<B>`, made by [`ReplayBody::new`], and the
/// tee is [`in_place`](Self::in_place). This saves an allocation.
///
/// ```
/// use http::Request;
/// use http_body_util::Full;
/// use hyper::body::{Bytes, Incoming};
/// use hyper_util::{client::legacy::Client, rt::TokioExecutor};
/// use tower::ServiceBuilder;
/// use tower_bearer::{BearerAuthLayer, FixedToken, replay::{ReplayBody, Tee}};
///
/// # let source = FixedToken::new("t")?;
/// let client = Client::builder(TokioExecutor::new()).build_http::<ReplayBody<Incoming>>();
/// let gateway = ServiceBuilder::new()
///     .map_request(|request: Request<Incoming>| request.map(ReplayBody::new))
///     .layer(BearerAuthLayer::new(source).replay(Tee::in_place()))
///     .service(client);
/// # fn is_service(_: impl tower::Service<Request<Incoming>>) {}
/// # is_service(gateway);
/// # Ok::<(), tower_bearer::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Tee<F> {
    make: F,
    cap: usize,
}

/// Marks a [`Tee`] for services whose body is a [`ReplayBody`].
#[derive(Clone, Copy, Debug)]
pub struct InPlace;

/// What a [`Tee`] keeps of a body.
pub struct KeptBody<B> {
    /// With the size hint at the body's beginning; `None` for an empty body.
    keeper: Option<(Keeper<B>, SizeHint)>,
}

/// 64 KiB.
const CAP: usize = 64 * 1024;

impl<F> Tee<F> {
    /// Makes the service's body of a [`ReplayBody`] by `make`.
    pub const fn new(make: F) -> Self {
        Self { make, cap: CAP }
    }

    /// Keeps at most so many bytes of a request, with its trailers. Default: 64 KiB.
    #[must_use]
    pub const fn cap(mut self, bytes: usize) -> Self {
        self.cap = bytes;
        self
    }

    fn split<B>(&self, body: B) -> (ReplayBody<B>, Option<KeptBody<B>>)
    where
        B: Body<Error: Into<BoxError>>,
    {
        let hint = body.size_hint();
        if body.is_end_stream() {
            return (ReplayBody::new(body), Some(KeptBody { keeper: None }));
        }
        if hint.lower() > self.cap as u64 {
            return (ReplayBody::new(body), None);
        }
        let (first, keeper) = split(body, self.cap);
        (ReplayBody::first(first), Some(KeptBody { keeper: Some((keeper, hint)) }))
    }
}

impl Tee<InPlace> {
    /// For a service whose body is a [`ReplayBody`] already.
    #[must_use]
    pub const fn in_place() -> Self {
        Self::new(InPlace)
    }
}

impl<B, F> Replay<B> for Tee<F>
where
    B: Body<Error: Into<BoxError>>,
    F: Fn(ReplayBody<B>) -> B,
{
    type Kept = KeptBody<B>;

    fn keep(&self, body: B) -> (B, Option<KeptBody<B>>) {
        let (first, kept) = self.split(body);
        // A body that is sent once needs nothing around it.
        (first.into_plain().unwrap_or_else(&self.make), kept)
    }

    fn pause(&self, kept: &mut KeptBody<B>) {
        kept.pause();
    }

    fn replay(&self, kept: KeptBody<B>) -> Option<B> {
        kept.take_over().map(&self.make)
    }
}

impl<B> Replay<ReplayBody<B>> for Tee<InPlace>
where
    B: Body<Error: Into<BoxError>>,
{
    type Kept = KeptBody<B>;

    fn keep(&self, body: ReplayBody<B>) -> (ReplayBody<B>, Option<KeptBody<B>>) {
        match body.into_plain() {
            Ok(body) => self.split(body),
            // Another layer keeps it already.
            Err(body) => (body, None),
        }
    }

    fn pause(&self, kept: &mut KeptBody<B>) {
        kept.pause();
    }

    fn replay(&self, kept: KeptBody<B>) -> Option<ReplayBody<B>> {
        kept.take_over()
    }
}

impl<B> KeptBody<B> {
    fn pause(&self) {
        if let Some((keeper, _)) = &self.keeper {
            keeper.pause();
        }
    }

    fn take_over(self) -> Option<ReplayBody<B>> {
        match self.keeper {
            None => Some(ReplayBody::empty()),
            Some((keeper, hint)) => Some(ReplayBody::second(keeper.take_over()?, hint)),
        }
    }
}

impl<F> fmt::Debug for Tee<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tee").field("cap", &self.cap).finish_non_exhaustive()
    }
}

impl<B> fmt::Debug for KeptBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeptBody")
    }
}
