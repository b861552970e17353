//! The ready-made client for token requests.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};
use tower_service::Service;

use crate::error::BoxError;

use crate::error::Error;

/// An HTTPS client for token requests: hyper-util and rustls, HTTP/1.1 and 2.
///
/// It keeps no idle connections. Token requests are hours apart, so a kept connection would be found dead each time, and a
/// POST whose connection dies under it is not safe to repeat.
#[derive(Clone)]
pub struct HttpClient {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    deadline: Duration,
}

/// Settings of an [`HttpClient`]; each method states its default.
#[derive(Debug)]
#[must_use = "call `build`"]
pub struct HttpClientBuilder {
    connect_deadline: Duration,
    deadline: Duration,
    extra_roots: Vec<Vec<u8>>,
}

impl HttpClient {
    /// A client with settings of one's own.
    pub fn builder() -> HttpClientBuilder {
        HttpClientBuilder {
            connect_deadline: Duration::from_secs(5),
            deadline: Duration::from_secs(10),
            extra_roots: Vec::new(),
        }
    }
}

impl HttpClientBuilder {
    /// How long to wait for a TCP connection. Default: 5 s.
    pub fn connect_deadline(mut self, deadline: Duration) -> Self {
        self.connect_deadline = deadline;
        self
    }

    /// How long to wait for the answer's head, with connecting and TLS. Default: 10 s. The
    /// [grant's own](crate::grant::PasswordGrantBuilder::deadline) covers the body as well.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Trusts these certificates as well, in PEM form: a company's own authority. May be called several times.
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.extra_roots.push(pem.into());
        self
    }

    /// Makes the client.
    ///
    /// # Errors
    /// When a certificate given by [`root_certificates`](Self::root_certificates) cannot be read.
    pub fn build(self) -> Result<HttpClient, Error> {
        let roots = self.roots()?;
        let tls = ClientConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .map_err(|_| Error::config("TLS has no protocol version in common with its cryptography"))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut tcp = HttpConnector::new();
        tcp.set_connect_timeout(Some(self.connect_deadline));
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_all_versions().wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Ok(HttpClient { client, deadline: self.deadline })
    }

    fn roots(&self) -> Result<RootCertStore, Error> {
        let mut roots = RootCertStore::empty();
        #[cfg(feature = "webpki-roots")]
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        #[cfg(feature = "system-roots")]
        for certificate in rustls_native_certs::load_native_certs().certs {
            // A store often holds some that are of no use; the rest serve.
            let _ = roots.add(certificate);
        }
        let unreadable = || Error::config("a root certificate cannot be read: give PEM text with a CERTIFICATE block");
        for pem in &self.extra_roots {
            let before = roots.len();
            for certificate in CertificateDer::pem_slice_iter(pem) {
                roots.add(certificate.map_err(|_| unreadable())?).map_err(|_| unreadable())?;
            }
            if roots.len() == before {
                return Err(unreadable());
            }
        }
        if roots.is_empty() {
            tracing::warn!("there are no root certificates here: every https token URL will be refused");
        }
        Ok(roots)
    }
}

impl Service<Request<Full<Bytes>>> for HttpClient {
    type Response = Response<Incoming>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _task: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let deadline = self.deadline;
        let response = tokio::time::timeout(deadline, self.client.request(request));
        Box::pin(async move { Ok(response.await.map_err(|_| Error::timeout(deadline))??) })
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}
