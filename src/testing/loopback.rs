//! An HTTP/1.1 server on a free port of 127.0.0.1.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};

use crate::testing::failure::Outage;

/// For how long a body is not read after an answer that came before it was read.
pub(super) const UNREAD_FOR: Duration = Duration::from_millis(100);

/// A server. Dropping it closes the port and all connections, and no request is answered after that.
pub(super) struct Loopback {
    addr: SocketAddr,
    task: AbortHandle,
    /// The task ends a moment after it is aborted.
    is_closed: Arc<AtomicBool>,
}

impl Loopback {
    /// Binds a port, and answers each request by `serve`. An [`Outage`] closes the connection without an answer.
    pub(super) async fn start<F, Fut, B>(serve: F) -> io::Result<Self>
    where
        F: Fn(Request<Incoming>) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = Result<Response<B>, Outage>> + Send + 'static,
        B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let is_closed = Arc::new(AtomicBool::new(false));
        let closed = Arc::clone(&is_closed);
        let serve = move |request| {
            let (serve, closed) = (serve.clone(), Arc::clone(&closed));
            async move { if closed.load(Acquire) { Err(Outage(())) } else { serve(request).await } }
        };
        let task = tokio::spawn(accept(serve, listener)).abort_handle();
        Ok(Self { addr, task, is_closed })
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the URL of a path, which may begin with a slash or not.
    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}/{}", self.addr, path.trim_start_matches('/'))
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        self.is_closed.store(true, Release);
        self.task.abort();
    }
}

/// Accepts connections. They end with this task, which owns them.
async fn accept<F, Fut, B>(serve: F, listener: TcpListener)
where
    F: Fn(Request<Incoming>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<Response<B>, Outage>> + Send + 'static,
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Most likely no file descriptor is free. Wait until some are closed.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        // If this fails, responses are only slower.
        let _ = stream.set_nodelay(true);
        let serve = serve.clone();
        connections.spawn(async move {
            // An error means that the client disconnected, or that the test commanded an outage.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(serve)).await;
        });
    }
}

/// Reads the whole body before the response. If a connection is closed with unread data, the client may not get the response.
pub(super) async fn drain(mut body: Incoming) -> Option<()> {
    while let Some(frame) = body.frame().await {
        frame.ok()?;
    }
    Some(())
}
