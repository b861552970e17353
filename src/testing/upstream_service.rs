//! The scripted API as a service in process, and as a server on loopback.

use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::{fmt, io};

use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE, HeaderMap, PROXY_AUTHORIZATION};
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use hyper::body::Incoming;
use tower_service::Service;

use crate::testing::failure::Outage;
use crate::testing::loopback::{Loopback, UNREAD_FOR};
use crate::testing::service::ResponseFuture;
use crate::testing::upstream::Upstream;

/// An [`Upstream`] in process, returned by [`Upstream::service`]. It takes the place of an HTTP client.
#[derive(Clone, Debug)]
pub struct UpstreamService(Upstream);

/// An [`Upstream`] that listens on loopback, returned by [`Upstream::listen`].
///
/// Dropping it closes the port and all connections.
pub struct UpstreamServer(Loopback);

impl Upstream {
    /// Returns the API in process, for requests with any body.
    #[must_use]
    pub fn service(&self) -> UpstreamService {
        UpstreamService(self.clone())
    }

    /// Serves the API on a free port of 127.0.0.1, over HTTP/1.1 without TLS, in tasks of the current tokio runtime.
    ///
    /// # Errors
    ///
    /// Returns an error if it cannot bind a port.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime with I/O enabled.
    pub async fn listen(&self) -> io::Result<UpstreamServer> {
        let upstream = self.clone();
        let serve = move |request| {
            let upstream = upstream.clone();
            async move { serve(upstream, request).await }
        };
        Loopback::start(serve).await.map(UpstreamServer)
    }
}

impl UpstreamServer {
    /// Returns the address that the server listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.0.addr()
    }

    /// Returns the URL of a path, which may begin with a slash or not.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        self.0.url(path)
    }
}

async fn serve(upstream: Upstream, mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Outage> {
    hide_credentials(request.headers_mut());
    let (response, unread) = upstream.answer(request).await?;
    if let Some((number, body)) = unread {
        // It ends with the connection.
        tokio::spawn(async move {
            tokio::time::sleep(UNREAD_FOR).await;
            upstream.read(number, body).await
        });
    }
    Ok(response.map(Full::new))
}

/// Marks credentials, so that a test that prints headers does not show them.
fn hide_credentials(headers: &mut HeaderMap) {
    for (name, value) in headers.iter_mut() {
        if [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE].contains(name) {
            value.set_sensitive(true);
        }
    }
}

impl<B> Service<Request<B>> for UpstreamService
where
    B: Body<Data: Send> + Send + 'static,
{
    type Response = Response<Full<Bytes>>;
    type Error = Outage;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Outage>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture {
        let upstream = self.0.clone();
        ResponseFuture::new(async move {
            let (response, _) = upstream.answer(request.map(Box::pin)).await?;
            Ok(response.map(Full::new))
        })
    }
}

impl fmt::Debug for UpstreamServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamServer").field("addr", &self.addr()).finish_non_exhaustive()
    }
}
