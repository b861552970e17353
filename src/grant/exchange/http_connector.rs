//! Connections of the ready-made client: direct, or through a proxy.

use std::{
    error, fmt,
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Uri, uri::Scheme};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector, proxy::Tunnel};
use tower_service::Service;

use crate::{error::BoxError, grant::exchange::http_proxy::ProxyRules};

/// Connects to a server, or to the proxy in front of it. TLS with the server is the caller's part.
#[derive(Clone)]
pub(crate) struct ProxyConnector {
    pub(crate) tcp: HttpConnector,
    /// For the connection to a proxy, which may be over TLS.
    pub(crate) to_proxy: HttpsConnector<HttpConnector>,
    pub(crate) rules: Option<Arc<ProxyRules>>,
}

impl Service<Uri> for ProxyConnector {
    type Response = ProxyStream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<ProxyStream, BoxError>> + Send>>;

    fn poll_ready(&mut self, task: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(task).map_err(Into::into)
    }

    fn call(&mut self, server: Uri) -> Self::Future {
        let proxy = self.rules.as_ref().map_or(Ok(None), |rules| rules.proxy_for(&server));
        let (mut tcp, to_proxy) = (self.tcp.clone(), self.to_proxy.clone());
        Box::pin(async move {
            let Some(proxy) = proxy? else {
                return Ok(ProxyStream { io: MaybeHttpsStream::Http(tcp.call(server).await?), is_forwarded: false });
            };
            if server.scheme() != Some(&Scheme::HTTPS) {
                // The proxy reads the request, and forwards it.
                let io = { to_proxy }.call(proxy.url.clone()).await;
                return Ok(ProxyStream {
                    io: io.map_err(|error| ProxyError::new(&proxy.url, error))?,
                    is_forwarded: true,
                });
            }
            let mut tunnel = Tunnel::new(proxy.url.clone(), to_proxy);
            if let Some(authorization) = proxy.authorization {
                tunnel = tunnel.with_auth(authorization);
            }
            let io = tunnel.call(server).await.map_err(|error| ProxyError::new(&proxy.url, error))?;
            Ok(ProxyStream { io, is_forwarded: false })
        })
    }
}

/// The proxy cannot be reached, or does not connect to the server. Its name is shown without the user and the password.
#[derive(Debug)]
struct ProxyError {
    proxy: String,
    source: BoxError,
}

impl ProxyError {
    fn new(proxy: &Uri, source: impl Into<BoxError>) -> Self {
        Self { proxy: proxy.authority().map(ToString::to_string).unwrap_or_default(), source: source.into() }
    }
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the proxy {} did not connect to the server: check HTTPS_PROXY and NO_PROXY, or the `proxy` setting",
            self.proxy
        )
    }
}

impl error::Error for ProxyError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        Some(&*self.source)
    }
}

/// A connection to a server, to a proxy, or through one.
pub(crate) struct ProxyStream {
    io: MaybeHttpsStream<<HttpConnector as Service<Uri>>::Response>,
    /// Whether the proxy reads the requests. They then name the whole URL.
    is_forwarded: bool,
}

impl Connection for ProxyStream {
    fn connected(&self) -> Connected {
        self.io.connected().proxy(self.is_forwarded)
    }
}

impl Read for ProxyStream {
    fn poll_read(mut self: Pin<&mut Self>, task: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(task, buffer)
    }
}

impl Write for ProxyStream {
    fn poll_write(mut self: Pin<&mut Self>, task: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(task, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(task)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(task, buffers)
    }
}
