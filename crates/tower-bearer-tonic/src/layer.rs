//! The layer, and its service.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response, Uri};
use pin_project_lite::pin_project;
use tonic::{Status, body::Body};
use tower_bearer::{BearerAuth, BearerAuthLayer, BoxError, Error, TokenCache, Verdict, replay::TeeOf};
use tower_layer::Layer;
use tower_service::Service;

use crate::{answer::explain, status::of_failure};

/// The greatest message that gRPC servers take by default, with the five bytes before it.
const CAP: usize = 4 * 1024 * 1024 + 5;

/// Attaches a bearer token to gRPC calls, and sends a call again when the server answers `UNAUTHENTICATED` before its first
/// message.
///
/// It is a [`BearerAuthLayer`] with the settings of gRPC:
///
/// - [`Verdict::grpc`] judges answers. What [`reject_on`](BearerAuthLayer::reject_on) adds is kept.
/// - A [`Tee`](tower_bearer::replay::Tee) keeps what a call has sent, up to 4 MiB.
/// - The rules about [origins](BearerAuthLayer::origins) and plain http apply to the URL of the channel.
/// - The error of the service is a [`Status`]: [`to_status`](crate::to_status) has the codes of token failures, and
///   [`outcome`](crate::outcome) returns what happened to a failed call.
///
/// ```no_run
/// use tonic::transport::{ClientTlsConfig, Endpoint};
/// use tonic_health::pb::health_client::HealthClient;
/// use tower_bearer::{BearerAuthLayer, FixedToken};
/// use tower_bearer_tonic::GrpcBearerLayer;
/// use tower_layer::Layer;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let source = FixedToken::new("t")?;
/// let endpoint = Endpoint::from_static("https://grpc.example.org")
///     .tls_config(ClientTlsConfig::new().with_native_roots())?;
/// let layer = GrpcBearerLayer::new(BearerAuthLayer::new(source), endpoint.uri())?;
/// let client = HealthClient::new(layer.layer(endpoint.connect_lazy()));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct GrpcBearerLayer {
    layer: BearerAuthLayer<TeeOf<Body>>,
}

impl GrpcBearerLayer {
    /// Creates the layer for one channel, from a layer that has your settings and your tokens.
    ///
    /// `server` is the URL that the channel connects to, such as [`Endpoint::uri`](https://docs.rs/tonic/latest/tonic/transport/struct.Endpoint.html#method.uri).
    /// The layer cannot see it otherwise: a call has only a path. Over plain http to another machine, each call fails unless the
    /// given layer [allows it](BearerAuthLayer::allow_plain_http).
    ///
    /// # Errors
    /// When the URL is not one to [assume](BearerAuthLayer::assume_origin).
    pub fn new(layer: BearerAuthLayer, server: &Uri) -> Result<Self, Error> {
        let layer = layer.assume_origin(server.to_string())?.judge_by(Verdict::grpc);
        Ok(Self { layer: layer.replay(tee(CAP)) })
    }

    /// Sets how many bytes of a call are kept for its second attempt. Default: 4 MiB and 5 bytes, for one message of the size
    /// that gRPC servers take.
    ///
    /// It is the sum of what a call has sent before its first answer. A call that sends more is not retried.
    #[must_use]
    pub fn cap(self, bytes: usize) -> Self {
        Self { layer: self.layer.replay(tee(bytes)) }
    }

    /// Returns the cache of the tokens; see [`BearerAuthLayer::cache`].
    #[must_use]
    pub fn cache(&self) -> &TokenCache {
        self.layer.cache()
    }
}

fn tee(cap: usize) -> TeeOf<Body> {
    TeeOf::of(Body::new).cap(cap)
}

impl<S: Clone> Layer<S> for GrpcBearerLayer {
    type Service = GrpcBearer<S>;

    fn layer(&self, channel: S) -> Self::Service {
        GrpcBearer { inner: self.layer.layer(channel) }
    }
}

impl fmt::Debug for GrpcBearerLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GrpcBearerLayer").field(&self.layer).finish()
    }
}

/// A channel with tokens. [`GrpcBearerLayer`] creates it, and its documentation says what it does. Generated clients take it in
/// place of a channel, also below an interceptor.
#[derive(Clone)]
pub struct GrpcBearer<S> {
    inner: BearerAuth<S, TeeOf<Body>>,
}

impl<S, B> Service<Request<Body>> for GrpcBearer<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>> + Clone,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Status;
    type Future = ResponseFuture<tower_bearer::ResponseFuture<S, Body, B, TeeOf<Body>>>;

    fn poll_ready(&mut self, task: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.inner.poll_ready(task).map_err(of_failure)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        ResponseFuture { inner: self.inner.call(request) }
    }
}

impl<S: fmt::Debug> fmt::Debug for GrpcBearer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GrpcBearer").field(&self.inner).finish()
    }
}

pin_project! {
    /// The answer to a call of a [`GrpcBearer`].
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
    }
}

impl<F, B> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, BoxError>>,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Output = Result<Response<Body>, Status>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(ready!(self.project().inner.poll(task)).map_err(of_failure).and_then(explain))
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
