//! An upstream, a user's client, and bodies that are sent piece by piece.

use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use futures::{
    StreamExt,
    channel::mpsc::{UnboundedSender, unbounded},
};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Empty, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tower::BoxError;
use tower_bearer::testing::Issuer;

/// Both sides take larger heads than the gateway, which is what is tested.
const MAX_FIELDS: usize = 2_000;

const MAX_HEAD: u32 = 1 << 20;

pub(crate) type Body = UnsyncBoxBody<Bytes, BoxError>;

/// A server on loopback.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    seen: Arc<AtomicUsize>,
}

impl Upstream {
    pub(crate) async fn start<F, Fut>(answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Response<Body>> + Send + 'static,
    {
        Self::start_over(async |stream| Ok(stream), answer).await
    }

    /// Serves over the connections that `wrap` returns.
    pub(crate) async fn start_over<W, Wrapped, S, F, Fut>(wrap: W, answer: F) -> Self
    where
        W: Fn(TcpStream) -> Wrapped + Send + Sync + 'static,
        Wrapped: Future<Output = io::Result<S>> + Send,
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        F: Fn(Request<Incoming>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Response<Body>> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(stream) = wrap(stream).await else { continue };
                let (answer, count) = (answer.clone(), Arc::clone(&count));
                let service = service_fn(move |request| {
                    count.fetch_add(1, Relaxed);
                    let answer = answer(request);
                    async move { Ok::<_, Infallible>(answer.await) }
                });
                tokio::spawn(async move {
                    let mut server = auto::Builder::new(TokioExecutor::new());
                    server.http1().max_headers(MAX_FIELDS);
                    server.http2().max_header_list_size(MAX_HEAD);
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, seen }
    }

    /// Starts a server that sends every body back as it arrives.
    pub(crate) async fn echo() -> Self {
        Self::start(async |request| Response::new(request.into_body().map_err(Into::into).boxed_unsync())).await
    }

    /// Starts a server that does the same, and requires tokens of this issuer.
    pub(crate) async fn protected(issuer: &Issuer) -> Self {
        let issuer = issuer.clone();
        Self::start(move |request| {
            let standing = issuer.check(request.headers());
            async move {
                if standing.is_accepted() {
                    return Response::new(request.into_body().map_err(Into::into).boxed_unsync());
                }
                let refusal = Response::builder().status(401).header("www-authenticate", standing.challenge());
                refusal.body(whole("no")).unwrap()
            }
        })
        .await
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Returns how many requests have arrived.
    pub(crate) fn seen(&self) -> usize {
        self.seen.load(Relaxed)
    }
}

pub(crate) fn whole(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).map_err(|never| match never {}).boxed_unsync()
}

pub(crate) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// Returns a body, and a sender for its chunks. Dropping the sender ends the body.
pub(crate) fn fed() -> (Hand, Body) {
    let (sender, receiver) = unbounded::<Bytes>();
    let frames = receiver.map(|chunk| Ok(Frame::data(chunk)));
    (Hand(sender), StreamBody::new(frames).boxed_unsync())
}

pub(crate) struct Hand(UnboundedSender<Bytes>);

impl Hand {
    pub(crate) fn give(&self, chunk: &'static str) {
        self.0.unbounded_send(chunk.into()).unwrap();
    }
}

pub(crate) fn client() -> Client<HttpConnector, Body> {
    Client::builder(TokioExecutor::new()).http1_max_headers(MAX_FIELDS).build_http()
}

/// Returns a client that uses HTTP/2 with prior knowledge.
pub(crate) fn http2_client() -> Client<HttpConnector, Body> {
    Client::builder(TokioExecutor::new()).http2_only(true).http2_max_header_list_size(MAX_HEAD).build_http()
}

/// A response with its whole body.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) async fn of(answer: Response<Incoming>) -> Self {
        let (head, body) = answer.into_parts();
        let text = body.collect().await.unwrap().to_bytes();
        Self { status: head.status.as_u16(), headers: head.headers, text: String::from_utf8(text.into()).unwrap() }
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text).unwrap()
    }
}

pub(crate) async fn get(url: &str) -> Answer {
    send(Request::get(url).body(empty()).unwrap()).await
}

pub(crate) async fn send(request: Request<Body>) -> Answer {
    Answer::of(client().request(request).await.unwrap()).await
}
