//! Accepts connections, and ends them on a signal.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
};
use tokio::net::{TcpListener, TcpStream};

use crate::{proxy::Proxy, signals::Signals};

/// The most fields of a head, in both directions. Hyper's default for HTTP/1.1 is 100.
pub const MAX_FIELDS: usize = 1_000;

/// The largest head over HTTP/2, in both directions, in bytes, as HTTP/2 counts: 32 more for each field. Hyper's default is
/// 16 KiB. For HTTP/1.1 its default is 400 KiB.
pub const MAX_HEAD: u32 = 256 * 1024;

/// Serves until a signal arrives. Then accepts no more connections, and gives requests in progress the time `drain` to
/// finish.
pub async fn until_signal(listener: TcpListener, proxy: Arc<Proxy>, signals: &mut Signals, drain: Duration) {
    let graceful = GracefulShutdown::new();
    tokio::select! {
        () = accept(listener, &proxy, &graceful) => {}
        () = signals.next() => {}
    }
    proxy.drain();
    tracing::info!(connections = graceful.count(), "no more connections are accepted; requests in progress may finish");
    tokio::select! {
        () = graceful.shutdown() => tracing::info!("all connections are closed"),
        () = tokio::time::sleep(drain) => tracing::warn!(?drain, "some requests have not finished and are cut off"),
        () = signals.next() => tracing::warn!("a second signal: requests in progress are cut off"),
    }
}

async fn accept(listener: TcpListener, proxy: &Arc<Proxy>, graceful: &GracefulShutdown) {
    let server = builder();
    loop {
        let stream = accept_next(&listener).await;
        let proxy = Arc::clone(proxy);
        // The address is missing only if the user has already gone.
        let peer = stream.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip());
        let service = service_fn(move |request| {
            let proxy = Arc::clone(&proxy);
            async move { Ok::<_, Infallible>(proxy.handle(request, peer).await) }
        });
        let connection = server.serve_connection(TokioIo::new(stream), service).into_owned();
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error, "a connection failed");
            }
        });
    }
}

/// Returns a server for HTTP/1.1, and for HTTP/2 from clients that start with it.
pub fn builder() -> Builder<TokioExecutor> {
    let mut server = Builder::new(TokioExecutor::new());
    // A client that does not finish its request head, or disappears, must not keep its connection forever.
    server.http1().timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(30)).max_headers(MAX_FIELDS);
    server.http2().timer(TokioTimer::new()).keep_alive_interval(Duration::from_secs(30)).max_header_list_size(MAX_HEAD);
    server
}

pub async fn accept_next(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Without this, small chunks wait for the peer's acknowledgement.
                let _ = stream.set_nodelay(true);
                return stream;
            }
            Err(error) => {
                // Probably there are no file descriptors left: wait until some are closed.
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}
