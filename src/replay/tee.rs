//! A strategy that keeps any body while it is sent.

use std::fmt;

use http_body::{Body, SizeHint};

use crate::{
    error::BoxError,
    replay::{
        boxed_body::BoxedBody,
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
/// 2. The second attempt sends what was kept, and then the rest as it comes.
/// 3. The first attempt's body ends in an error, unless it was at its end already.
///
/// # Which uploads are retried
///
/// - A body up to the [cap](Self::cap), 1 MiB by default, always.
/// - A body that is in memory, whatever its size: its size hint is exact, and its first chunk is all of it. A share of the chunk
///   is kept, so this copies nothing, but the chunk stays in memory until the answer comes.
/// - A longer body, with a declared length or without, only if the 401 comes before the client has read more than the cap.
///
/// Then nothing is kept any more, the first attempt continues, and the request is not retried
/// ([`NotRetried::NotReplayable`](crate::NotRetried::NotReplayable)). A client reads as fast as the network takes the data: an HTTP/1.1
/// client until the buffers of the sockets are full, which can be megabytes, and an HTTP/2 client until the server's window is
/// full. So on a fast network even a server that rejects an upload without reading it is often too late for a body over the cap. If
/// your uploads are larger, set a larger [`cap`](Self::cap). A request in progress takes up to the cap of memory until its
/// answer comes.
///
/// # Which bodies
///
/// The inner service still gets the body type that it is made for. The simplest is [`BoxedBody`]:
///
/// ```
/// use http::Request;
/// use http_body_util::Full;
/// use hyper_util::{client::legacy::Client, rt::TokioExecutor};
/// use tower::{Layer, ServiceExt};
/// use tower_bearer::{BearerAuthLayer, FixedToken, replay::{BoxedBody, Tee}};
///
/// # let source = FixedToken::new("t")?;
/// let client = Client::builder(TokioExecutor::new()).build_http::<BoxedBody>();
/// let api = BearerAuthLayer::new(source).replay(Tee::boxed().cap(4 << 20)).layer(client);
/// # #[allow(clippy::let_underscore_future)]
/// # async fn example(api: impl tower::Service<Request<BoxedBody>, Future: Send, Error: Send> + Send + 'static) {
/// let request = Request::post("https://api.example.org/").body(BoxedBody::new(Full::from("hello"))).unwrap();
/// tokio::spawn(async move {
///     let _ = api.oneshot(request).await;
/// });
/// # }
/// # let _ = example(api);
/// # Ok::<(), tower_bearer::Error>(())
/// ```
///
/// For any other body type, the tee needs a function that makes it from a [`ReplayBody`]. Most types that erase another one have
/// such a function: `Tee::of(axum::body::Body::new)` for axum, `Tee::of(tonic::body::Body::new)` for tonic. The type of such a
/// tee has a name, [`TeeOf`]:
///
/// ```
/// use bytes::Bytes;
/// use http_body_util::combinators::UnsyncBoxBody;
/// use tower_bearer::{BearerAuthLayer, BoxError, FixedToken, replay::{Tee, TeeOf}};
///
/// type Body = UnsyncBoxBody<Bytes, BoxError>;
///
/// struct Stack {
///     layer: BearerAuthLayer<TeeOf<Body>>,
/// }
///
/// # let source = FixedToken::new("t")?;
/// let stack = Stack { layer: BearerAuthLayer::new(source).replay(Tee::of(Body::new)) };
/// # use tower_layer::Layer;
/// # let api = tower::service_fn(async |_: http::Request<Body>| Ok::<_, BoxError>(http::Response::new(String::new())));
/// # fn is_service<B, S: tower::Service<http::Request<B>>>(_: S) {}
/// # is_service::<Body, _>(stack.layer.layer(api));
/// # Ok::<(), tower_bearer::Error>(())
/// ```
///
/// With such an `UnsyncBoxBody` over [`BoxError`], write `tokio::spawn(api.oneshot(request))`. The compiler refuses
/// `tokio::spawn(async move { api.oneshot(request).await })` as "not general enough", with hyper's client alone too.
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

/// The type of a [`Tee`] for services whose request body is a `B`, made by [`Tee::of`].
pub type TeeOf<B> = Tee<fn(ReplayBody<B>) -> B>;

/// Marks a [`Tee`] for services whose request body is a [`ReplayBody`].
#[derive(Clone, Copy, Debug)]
pub struct InPlace;

/// What a [`Tee`] keeps of a body.
pub struct KeptBody<B> {
    /// With the size hint before anything was read. `None` for an empty body.
    keeper: Option<(Keeper<B>, SizeHint)>,
}

/// How many bytes of a request are kept by default: 1 MiB.
pub(crate) const DEFAULT_CAP: usize = 1024 * 1024;

impl<F> Tee<F> {
    /// Returns a tee that makes the service's body from a [`ReplayBody`] by `make`.
    pub const fn new(make: F) -> Self {
        Self { make, cap: DEFAULT_CAP }
    }

    /// Sets how many bytes of a request, with its trailers, are kept at most. Default: 1 MiB.
    ///
    /// This is how much memory a request can take until its answer has come and its body is read again, or dropped. The data of a
    /// body that is in memory does not count.
    #[must_use]
    pub const fn cap(mut self, bytes: usize) -> Self {
        self.cap = bytes;
        self
    }

    fn split<B>(&self, body: B) -> (ReplayBody<B>, Option<KeptBody<B>>)
    where
        B: Body<Error: Into<BoxError>> + 'static,
    {
        let hint = body.size_hint();
        if body.is_end_stream() {
            return (ReplayBody::new(body), Some(KeptBody { keeper: None }));
        }
        let (first, keeper) = split(body, self.cap, hint.exact());
        (ReplayBody::first(first), Some(KeptBody { keeper: Some((keeper, hint)) }))
    }
}

impl<B> TeeOf<B> {
    /// Returns a tee that makes the service's body from a [`ReplayBody`] by `make`. It is [`new`](Self::new) with a type that has a
    /// name.
    pub const fn of(make: fn(ReplayBody<B>) -> B) -> Self {
        Self::new(make)
    }
}

impl TeeOf<BoxedBody> {
    /// Returns a tee for a service whose request body is a [`BoxedBody`].
    #[must_use]
    pub const fn boxed() -> Self {
        Self::of(BoxedBody::of_attempt)
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
    B: Body<Error: Into<BoxError>> + 'static,
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
    B: Body<Error: Into<BoxError>> + 'static,
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
