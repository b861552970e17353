//! The ready-made client for token requests.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, header::PROXY_AUTHORIZATION, uri::Scheme};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use tower_service::Service;

use crate::{
    error::{BoxError, DeadlineElapsed},
    grant::exchange::{http_connector::ProxyConnector, http_proxy::ProxyRules},
    runtime,
    timer::timeout,
};

/// An HTTPS client for token requests, made of hyper-util and rustls. It uses HTTP/1.1, and also HTTP/2 with the feature
/// `http2`.
///
/// It uses the process's rustls `CryptoProvider` if one is installed when the client is built, and ring otherwise.
///
/// It uses the proxy that the environment names: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, also in lower case,
/// as curl reads them. They are read when the client is built. It never uses a proxy for loopback. An `https` URL goes through
/// a `CONNECT` tunnel, so the proxy does not see the secrets. [`proxy`](crate::grant::HttpClientBuilder::proxy) and
/// [`no_proxy`](crate::grant::HttpClientBuilder::no_proxy) replace the environment's.
///
/// It accepts responses with up to 1,000 header fields.
///
/// It keeps no idle connections. Token requests are hours apart, so the server would usually have closed a kept
/// connection. A POST whose connection breaks is not safe to repeat.
#[derive(Clone)]
pub struct HttpClient {
    pub(super) client: Client<HttpsConnector<ProxyConnector>, Full<Bytes>>,
    pub(super) rules: Option<Arc<ProxyRules>>,
    pub(super) deadline: Duration,
}

impl Service<Request<Full<Bytes>>> for HttpClient {
    type Response = Response<HttpClientBody>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _task: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Full<Bytes>>) -> Self::Future {
        let deadline = self.deadline;
        if request.uri().scheme() == Some(&Scheme::HTTP) {
            // The proxy reads this request itself. For an https URL, the tunnel carries the proxy's password.
            let proxy = self.rules.as_ref().and_then(|rules| rules.proxy_for(request.uri()).ok()?);
            if let Some(authorization) = proxy.and_then(|proxy| proxy.authorization) {
                request.headers_mut().insert(PROXY_AUTHORIZATION, authorization);
            }
        }
        let response = self.client.request(request);
        Box::pin(async move {
            // The connector makes timers of its own.
            runtime::current()?;
            let response = timeout(deadline, response).await.ok_or(DeadlineElapsed(deadline))??;
            Ok(response.map(HttpClientBody))
        })
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

/// The body of a response that an [`HttpClient`] received.
#[derive(Debug)]
pub struct HttpClientBody(Incoming);

impl Body for HttpClientBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.0).poll_frame(task).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
