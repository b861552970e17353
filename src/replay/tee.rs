//! A strategy that keeps any body while it is sent.

use std::fmt;

use http_body::{Body, SizeHint};

use crate::{
    error::BoxError,
    replay::{
        keeper::{Keeper, split},
        replay_body::ReplayBody,
        strategy::Replay,
    },
};

/// Keeps the chunks of a streaming body while they are sent, so that the body can be sent a second time.
///
/// Nothing is buffered before it is sent, and chunks are shared, not copied (except small ones after the first). When the
/// first attempt is rejected:
///
/// 1. The first attempt reads no more of the body.
/// 2. The second attempt sends what was kept, and then the rest as it comes. So an upload that is rejected early, before
///    it was read, is retried whatever its length.
/// 3. The first attempt's body ends in an error, unless it was at its end already.
///
/// If more than the [cap](Self::cap) was sent before the answer came, nothing is kept any more. The first attempt
/// continues, and the request is not retried. A body whose size hint is more than the cap is never kept.
///
/// # Which bodies
///
/// The inner service still gets the body type that it is made for, so the tee needs a function that makes that type from
/// a [`ReplayBody`]. Most body types that erase another one have such a function:
///
/// ```
/// use bytes::Bytes;
/// use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
/// use tower_bearer::{BearerAuthLayer, BoxError, FixedToken, replay::Tee};
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
/// A stack that chooses its own body type does not need this: its client takes a `ReplayBody<B>`, made by
/// [`ReplayBody::new`], and the tee is [`in_place`](Self::in_place). This saves an allocation.
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

/// Marks a [`Tee`] for services whose request body is a [`ReplayBody`].
#[derive(Clone, Copy, Debug)]
pub struct InPlace;

/// What a [`Tee`] keeps of a body.
pub struct KeptBody<B> {
    /// With the size hint before anything was read. `None` for an empty body.
    keeper: Option<(Keeper<B>, SizeHint)>,
}

/// How many bytes of a request are kept by default: 64 KiB.
pub(crate) const DEFAULT_CAP: usize = 1024 * 1024;

impl<F> Tee<F> {
    /// Returns a tee that makes the service's body from a [`ReplayBody`] by `make`.
    pub const fn new(make: F) -> Self {
        Self { make, cap: DEFAULT_CAP }
    }

    /// Sets how many bytes of a request, with its trailers, are kept at most. Default: 64 KiB.
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
        let (first, keeper) = split(body, self.cap, hint.exact());
        (ReplayBody::first(first), Some(KeptBody { keeper: Some((keeper, hint)) }))
    }
}

impl Tee<InPlace> {
    /// Returns a tee for a service whose request body is a [`ReplayBody`] already.
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
        // A body that is sent once is not wrapped.
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
            // Another layer has kept it already.
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
