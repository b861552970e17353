//! What happens to the connection of a 401.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo},
};
use tokio::net::TcpListener;
use tower::{BoxError, Layer};
use tower_bearer::{BearerAuthLayer, Outcome};

use crate::scripted::{Numbered, send};

type Body = UnsyncBoxBody<Bytes, BoxError>;

/// The body of a 401: `chunks` chunks of 1,000 bytes, with a short wait before each.
fn rejection_body(chunks: usize) -> Body {
    let chunks = stream::iter(0..chunks).then(|_| async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        Ok(Frame::data(Bytes::from_static(&[b'x'; 1000])))
    });
    StreamBody::new(chunks).boxed_unsync()
}

/// Starts an API that rejects the first token with this body. Also returns the counter of its connections.
async fn api(rejection_body: fn() -> Body) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let accepted = Arc::clone(&connections);
    let answer = move |request: Request<Incoming>| async move {
        let (head, body) = request.into_parts();
        body.collect().await?;
        let answer = if head.headers["authorization"] == "Bearer t1" {
            Response::builder().status(401).body(rejection_body())
        } else {
            Ok(Response::new(Full::from("welcome").map_err(Into::into).boxed_unsync()))
        };
        answer.map_err(BoxError::from)
    };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            accepted.fetch_add(1, SeqCst);
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)));
        }
    });
    (addr, connections)
}

/// Returns how many connections a request and its retry use.
async fn connections(rejection_body: fn() -> Body) -> usize {
    let (addr, connections) = api(rejection_body).await;
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let mut service = BearerAuthLayer::new(Numbered::default()).layer(client);
    let request = Request::post(format!("http://{addr}/")).body(Full::from("{}")).unwrap();
    let answer = tokio::time::timeout(Duration::from_secs(20), send(&mut service, request)).await.expect("no hang");
    let answer = answer.unwrap();
    assert!(answer.extensions().get().is_some_and(Outcome::retried));
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "welcome");
    connections.load(SeqCst)
}

#[tokio::test]
async fn a_small_401_that_comes_in_chunks_is_read_so_that_the_retry_has_its_connection() {
    assert_eq!(connections(|| rejection_body(0)).await, 1);
    // On a busy machine, the short wait can be too long.
    let mut attempts = 0;
    while connections(|| rejection_body(3)).await != 1 {
        attempts += 1;
        assert!(attempts < 10);
    }
}

#[tokio::test]
async fn a_large_401_is_dropped_with_its_connection() {
    assert_eq!(connections(|| Full::from(vec![b'x'; 1 << 20]).map_err(Into::into).boxed_unsync()).await, 2);
    assert_eq!(connections(|| rejection_body(usize::MAX)).await, 2);
}

#[tokio::test]
async fn a_slow_401_is_dropped_with_its_connection() {
    assert_eq!(connections(|| StreamBody::new(stream::pending()).boxed_unsync()).await, 2);
}
