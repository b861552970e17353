//! Connections, and how they end.

use std::{convert::Infallible, sync::Arc, time::Duration};

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
};
use tokio::net::{TcpListener, TcpStream};

use crate::{proxy::Proxy, signals::Signals};

/// Serves until a signal comes; then accepts nothing more, and lets the requests that run end within a bound.
pub async fn until_told(listener: TcpListener, proxy: Arc<Proxy>, signals: &mut Signals, bound: Duration) {
    let graceful = GracefulShutdown::new();
    tokio::select! {
        () = accept(listener, &proxy, &graceful) => {}
        () = signals.next() => {}
    }
    proxy.drain();
    tracing::info!(connections = graceful.count(), "no more connections: the requests that run may end");
    tokio::select! {
        () = graceful.shutdown() => tracing::info!("all have ended"),
        () = tokio::time::sleep(bound) => tracing::warn!(?bound, "some have not ended, and are cut off"),
        () = signals.next() => tracing::warn!("told twice: what runs is cut off"),
    }
}

async fn accept(listener: TcpListener, proxy: &Arc<Proxy>, graceful: &GracefulShutdown) {
    let server = builder();
    loop {
        let stream = next(&listener).await;
        let proxy = Arc::clone(proxy);
        let service = service_fn(move |request| {
            let proxy = Arc::clone(&proxy);
            async move { Ok::<_, Infallible>(proxy.answer(request).await) }
        });
        let connection = server.serve_connection(TokioIo::new(stream), service).into_owned();
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error, "a connection broke off");
            }
        });
    }
}

/// HTTP/1.1, or HTTP/2 for those who know beforehand that it is spoken here.
pub fn builder() -> Builder<TokioExecutor> {
    let mut server = Builder::new(TokioExecutor::new());
    // A client that does not finish its head, or is gone without a word, must not keep its connection for ever.
    server.http1().timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(30));
    server.http2().timer(TokioTimer::new()).keep_alive_interval(Duration::from_secs(30));
    server
}

pub async fn next(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Without it small chunks wait for the other side's acknowledgement.
                let _ = stream.set_nodelay(true);
                return stream;
            }
            Err(error) => {
                // Out of file descriptors, most likely: let some be closed.
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}
