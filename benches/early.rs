//! Which uploads are retried when the API answers 401 at once, without reading the body: over real HTTP/1.1 and HTTP/2 on
//! loopback. See `README.md`.

use std::{
    env,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::stream;
use http::{Request, Response, header::AUTHORIZATION};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{net::TcpListener, runtime::Builder};
use tower::{BoxError, Layer, ServiceExt};
use tower_bearer::{
    AccessToken, BearerAuthLayer, Outcome, TokenSource,
    replay::{NoReplay, Replay, Tee},
    source::from_fn,
};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const SIZES: [usize; 11] = [16, 64, 128, 160, 256, 512, 1024, 2048, 4096, 8192, 16384];
const CHUNKS: [usize; 3] = [KIB, 16 * KIB, 64 * KIB];
const TIMES: usize = 20;

type Body = UnsyncBoxBody<Bytes, BoxError>;

/// A body with the size hint of its whole data.
struct Declared<B>(B, u64);

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for Declared<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = Pin::new(&mut self.0).poll_frame(task);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.1 -= frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.1 == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.1)
    }
}

/// Returns a body of this size in chunks that are separate allocations, as from a file.
fn upload(len: usize, chunk: usize, is_declared: bool) -> Body {
    let chunks = (0..len.div_ceil(chunk)).map(move |at| chunk.min(len - at * chunk));
    let chunks = stream::iter(chunks.map(|len| Ok(Frame::data(Bytes::from(vec![7; len])))));
    let body = StreamBody::new(chunks);
    if is_declared { Declared(body, len as u64).boxed_unsync() } else { body.boxed_unsync() }
}

/// Returns a source that returns a different token each time.
fn source(first: u64) -> impl TokenSource {
    let issued = AtomicU64::new(first);
    from_fn(move |_| {
        let token = AccessToken::new(issued.fetch_add(1, Ordering::Relaxed).to_string());
        async { token }
    })
}

/// Rejects the first token at once. It reads the rest later, so that the connection stays open and the 401 is not lost.
async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, BoxError> {
    let is_rejected = request.headers()[AUTHORIZATION] == "Bearer 0";
    let mut body = request.into_body();
    if is_rejected {
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            while body.frame().await.is_some_and(|frame| frame.is_ok()) {}
        });
        return Ok(Response::builder().status(401).body(Full::default())?);
    }
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        read += frame?.data_ref().map_or(0, Bytes::len);
    }
    Ok(Response::new(Full::from(read.to_string())))
}

/// Serves on a thread of its own.
fn serve() -> SocketAddr {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
            sender.send(listener.local_addr().expect("an address")).expect("a receiver");
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                stream.set_nodelay(true).expect("a socket");
                tokio::spawn(async move {
                    let builder = auto::Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
                });
            }
        });
    });
    receiver.recv().expect("an address")
}

/// Sends one upload. Returns whether it was retried, or the error.
async fn send(
    address: SocketAddr,
    is_http2: bool,
    replay: impl Replay<Body> + Clone,
    body: Body,
    len: usize,
) -> Result<bool, BoxError> {
    let client = Client::builder(TokioExecutor::new()).http2_only(is_http2).build_http::<Body>();
    let layer = BearerAuthLayer::new(source(0)).replay(replay);
    let request = Request::post(format!("http://{address}/")).body(body)?;
    let answer = layer.layer(client).oneshot(request).await?;
    if answer.status() == 401 {
        return Ok(false);
    }
    assert!(answer.extensions().get().is_some_and(Outcome::retried));
    assert_eq!(answer.into_body().collect().await?.to_bytes(), len.to_string().as_bytes());
    Ok(true)
}

/// Returns the seconds of an upload that is accepted.
async fn seconds(address: SocketAddr, is_http2: bool, replay: impl Replay<Body> + Clone, chunk: usize) -> f64 {
    let client = Client::builder(TokioExecutor::new()).http2_only(is_http2).build_http::<Body>();
    let layer = BearerAuthLayer::new(source(1)).replay(replay);
    let request = Request::post(format!("http://{address}/")).body(upload(4 * MIB, chunk, false)).expect("a request");
    let began = Instant::now();
    let answer = layer.layer(client).oneshot(request).await.expect("an answer");
    answer.into_body().collect().await.expect("a body");
    began.elapsed().as_secs_f64()
}

fn main() {
    let address = serve();
    // The cap in KiB.
    let cap = env::args().skip(1).find_map(|arg| arg.parse::<usize>().ok());
    let tee = cap.map_or(Tee::of(Body::new), |cap| Tee::of(Body::new).cap(cap * KIB));
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    println!("of {TIMES}: retried, passed on, failed; {tee:?}");
    for is_http2 in [false, true] {
        for is_declared in [false, true] {
            for chunk in CHUNKS {
                print!("h{} declared={is_declared:<5} {:>2}K:", if is_http2 { 2 } else { 1 }, chunk / KIB);
                for size in SIZES {
                    let (mut retried, mut passed, mut failed) = (0, 0, 0);
                    for _ in 0..TIMES {
                        let len = size * KIB;
                        let sent = runtime.block_on(send(address, is_http2, tee, upload(len, chunk, is_declared), len));
                        match sent {
                            Ok(true) => retried += 1,
                            Ok(false) => passed += 1,
                            Err(_) => failed += 1,
                        }
                    }
                    print!("  {size}K {retried}/{passed}/{failed}");
                }
                println!();
            }
        }
    }
    for chunk in [64 * KIB, KIB] {
        for is_http2 in [false, true] {
            let (mut once, mut kept) = (vec![], vec![]);
            for _ in 0..101 {
                once.push(runtime.block_on(seconds(address, is_http2, NoReplay, chunk)));
                kept.push(runtime.block_on(seconds(address, is_http2, tee, chunk)));
            }
            once.sort_by(f64::total_cmp);
            kept.sort_by(f64::total_cmp);
            let (http, chunk) = (1 + u8::from(is_http2), chunk / KIB);
            println!("accepted 4 MiB, h{http}, {chunk}K: once {:.0} us, tee {:.0} us", once[50] * 1e6, kept[50] * 1e6);
        }
    }
}
