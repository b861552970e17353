//! The memory of an upload over real HTTP/1.1 on loopback, by a counting allocator. See `README.md`.

use std::net::Ipv4Addr;

use bytes::Bytes;
use futures::stream;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo},
};
use tokio::net::TcpListener;
use tower::{BoxError, Layer, ServiceExt};
use tower_bearer::{
    BearerAuthLayer, FixedToken,
    replay::{NoReplay, Replay, Tee},
};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const GIB: usize = 1 << 30;

type Body = UnsyncBoxBody<Bytes, BoxError>;

/// Returns a body of this size in chunks that are separate allocations, as from a socket.
fn upload(bytes: usize, chunk: usize) -> Body {
    let chunks = stream::iter((0..bytes / chunk).map(move |_| Ok(Frame::data(Bytes::from(vec![7; chunk])))));
    StreamBody::new(chunks).boxed_unsync()
}

async fn read(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, BoxError> {
    let mut body = request.into_body();
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        read += frame?.data_ref().map_or(0, Bytes::len);
    }
    Ok(Response::new(Full::from(read.to_string())))
}

/// Returns the maximum memory in use at once: the client's, the server's, and what is kept between them. It uses its
/// own runtime, so that nothing of one measurement is freed in the next.
fn most_memory(replay: impl Replay<Body> + Clone, len: usize, chunk: usize) -> u64 {
    let info = allocation_counter::measure(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
            let url = format!("http://{}/", listener.local_addr().expect("an address"));
            let server = tokio::spawn(async move {
                let (stream, _) = listener.accept().await.expect("a connection");
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(read)).await;
            });
            let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
            let layer = BearerAuthLayer::new(FixedToken::new("t").expect("a token")).replay(replay);
            let request = Request::post(url).body(upload(len, chunk)).expect("a request");
            let answer = layer.layer(client).oneshot(request).await.expect("an answer");
            let read = answer.into_body().collect().await.expect("a body").to_bytes();
            assert_eq!(read, len.to_string().as_bytes(), "the server read it all");
            server.abort();
        });
    });
    info.bytes_max
}

fn main() {
    println!("{:<34} {:>12} {:>12} {:>14}", "upload", "sent once", "by a tee", "difference");
    for (name, len, chunk) in [
        ("1 GiB in chunks of 64 KiB", GIB, 64 * KIB),
        ("1 GiB in chunks of 1 KiB", GIB, KIB),
        ("64 MiB in chunks of 16 bytes", 64 * MIB, 16),
        ("1 MiB in chunks of 64 KiB", MIB, 64 * KIB),
        ("1 MiB in chunks of 1 KiB", MIB, KIB),
        ("1 MiB in chunks of 1 byte", MIB, 1),
    ] {
        // A warm-up, so that allocations that happen only once are in neither of the two.
        most_memory(NoReplay, chunk, chunk);
        let once = most_memory(NoReplay, len, chunk);
        let tee = most_memory(Tee::new(Body::new), len, chunk);
        let kib = |bytes: u64| format!("{} KiB", (bytes + 512) / 1024);
        println!("{name:<34} {:>12} {:>12} {:>14}", kib(once), kib(tee), kib(tee.saturating_sub(once)));
    }
}
