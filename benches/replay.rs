//! The cost of keeping a streaming body while it is sent, and of its second attempt. See `README.md`.

mod valgrind;

use std::{
    convert::Infallible,
    env,
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::stream;
use http::{Request, Response, StatusCode, header::AUTHORIZATION};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt, Empty, StreamBody, combinators::UnsyncBoxBody};
use tokio::runtime::{Builder, Runtime};
use tower::{BoxError, Layer, ServiceExt, service_fn};
use tower_bearer::{
    AccessToken, BearerAuthLayer, TokenSource,
    replay::{KeptBody, NoReplay, Replay, Tee},
    source::from_fn,
};

use crate::valgrind::{Counts, count};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const CHUNKS: [usize; 2] = [64 * KIB, KIB];
const ROUNDS: usize = 1_001;

/// What is done with a chunk whose cost is measured alone.
const CASES: [&str; 3] = ["sent once", "by a tee that let go", "by a tee that keeps it"];

/// The number of chunks to warm up, and then the number of chunks to count.
const TIMES: u64 = 1_000;

type Body = UnsyncBoxBody<Bytes, BoxError>;

/// When the API rejects the first token.
#[derive(Clone, Copy, PartialEq)]
enum Rejects {
    Never,
    AfterHead,
    AfterBody,
}

/// Returns a body of shared chunks, so that their data is not copied.
fn upload(chunk: usize, chunks: usize) -> Body {
    let bytes = Bytes::from(vec![7; chunk]);
    let chunks = stream::iter((0..chunks).map(move |_| Ok(Frame::data(bytes.clone()))));
    StreamBody::new(chunks).boxed_unsync()
}

/// Returns a source that returns a different token each time.
fn source() -> impl TokenSource {
    let issued = AtomicU64::new(0);
    from_fn(move |_| {
        let token = AccessToken::new(issued.fetch_add(1, Ordering::Relaxed).to_string());
        async { token }
    })
}

async fn answer(request: Request<Body>, rejects: Rejects) -> Result<Response<Empty<Bytes>>, Infallible> {
    let mut answer = Response::new(Empty::new());
    let rejected = rejects != Rejects::Never && request.headers()[AUTHORIZATION] == "Bearer 0";
    if rejected {
        *answer.status_mut() = StatusCode::UNAUTHORIZED;
    }
    if !rejected || rejects == Rejects::AfterBody {
        let mut body = request.into_body();
        while let Some(frame) = body.frame().await {
            std::hint::black_box(frame).expect("a frame");
        }
    }
    Ok(answer)
}

/// Returns the time of one upload. It has its own cache, so that one renewal does not affect the next.
fn took(runtime: &Runtime, replay: impl Replay<Body> + Clone, chunk: usize, rejects: Rejects) -> Duration {
    runtime.block_on(async {
        let layer = BearerAuthLayer::new(source()).replay(replay);
        layer.cache().token().await.expect("a token");
        let api = layer.layer(service_fn(move |request| answer(request, rejects)));
        let request = Request::post("https://api.example.org/").body(upload(chunk, MIB / chunk)).expect("a request");
        let began = Instant::now();
        let answer = api.oneshot(request).await.expect("an answer");
        let took = began.elapsed();
        assert_eq!(answer.status(), StatusCode::OK);
        took
    })
}

/// Returns a body without an end in one of the cases, and what is kept of it.
fn endless(case: &str, chunk: usize) -> (Body, Option<KeptBody<Body>>) {
    let body = upload(chunk, usize::MAX);
    match CASES.iter().position(|name| *name == case) {
        Some(0) => (body, None),
        Some(1) => Tee::new(Body::new).cap(0).keep(body),
        _ => Tee::new(Body::new).cap(usize::MAX).keep(body),
    }
}

/// Polls for this many chunks, without a runtime.
fn read(body: &mut Body, chunks: u64) {
    let mut task = Context::from_waker(Waker::noop());
    for _ in 0..chunks {
        let Poll::Ready(Some(frame)) = Pin::new(&mut *body).poll_frame(&mut task) else { panic!("expected a chunk") };
        std::hint::black_box(frame).expect("a frame");
    }
}

/// Asks for chunks. Callgrind counts in this function only.
#[inline(never)]
fn counted_requests(body: &mut Body, chunks: u64) {
    read(body, chunks);
}

/// Returns the median of the nanoseconds of a chunk, for each case. The cases are measured in turn.
fn nanoseconds(chunk: usize) -> [f64; CASES.len()] {
    let mut samples = CASES.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        for (case, samples) in CASES.iter().zip(&mut samples) {
            let (mut body, _kept) = endless(case, chunk);
            read(&mut body, TIMES / 10);
            let began = Instant::now();
            read(&mut body, TIMES);
            #[expect(clippy::cast_precision_loss, reason = "far from 2^52")]
            samples.push(began.elapsed().as_nanos() as f64 / TIMES as f64);
        }
    }
    samples.map(|mut samples| {
        samples.sort_by(f64::total_cmp);
        samples[ROUNDS / 2]
    })
}

fn print_chunks() {
    for chunk in CHUNKS {
        println!(
            "\n{:<36} {:>8} {:>6} {:>14} {:>8} {:>12}",
            "a chunk", "ns", "ratio", "instructions", "locked", "allocations"
        );
        let nanoseconds = nanoseconds(chunk);
        for (case, ns) in CASES.iter().zip(nanoseconds) {
            let Counts { instructions, locked, allocations } = count(case, TIMES, chunk);
            let (name, ratio) = (format!("of {} KiB, {case}", chunk / KIB), ns / nanoseconds[0]);
            println!("{name:<36} {ns:>8.1} {ratio:>6.2} {instructions:>14.0} {locked:>8.1} {allocations:>12.1}");
        }
    }
}

fn main() {
    match &env::args().skip(1).collect::<Vec<_>>()[..] {
        [flag, case, chunks, chunk] if flag == "--under-valgrind" => {
            let (mut body, _kept) = endless(case, chunk.parse().expect("a number"));
            read(&mut body, TIMES);
            counted_requests(&mut body, chunks.parse().expect("a number"));
        }
        _ => {
            print_uploads();
            print_chunks();
        }
    }
}

fn print_uploads() {
    let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
    let tee = Tee::new(Body::new).cap(64 * KIB);
    let whole = tee.cap(MIB);
    let rows: [(&str, &dyn Fn(usize) -> Duration); 5] = [
        ("sent once", &|chunk| took(&runtime, NoReplay, chunk, Rejects::Never)),
        ("by a tee", &|chunk| took(&runtime, tee, chunk, Rejects::Never)),
        ("by a tee that keeps it all", &|chunk| took(&runtime, whole, chunk, Rejects::Never)),
        ("401 before it was read, sent again", &|chunk| took(&runtime, tee, chunk, Rejects::AfterHead)),
        ("401 after it was read, sent again", &|chunk| took(&runtime, whole, chunk, Rejects::AfterBody)),
    ];
    let mut samples = rows.map(|_| CHUNKS.map(|_| Vec::new()));
    for _ in 0..ROUNDS {
        for ((_, took), samples) in rows.iter().zip(&mut samples) {
            for (chunk, samples) in CHUNKS.iter().zip(samples) {
                samples.push(took(*chunk).as_secs_f64() * 1e6);
            }
        }
    }
    println!("{:<36} {:>10} {:>10}", "microseconds a MiB, in chunks of", "64 KiB", "1 KiB");
    for ((name, _), samples) in rows.iter().zip(samples) {
        let [large, small] = samples.map(|mut samples| {
            samples.sort_by(f64::total_cmp);
            samples[ROUNDS / 2]
        });
        println!("{name:<36} {large:>10.2} {small:>10.2}");
    }
}
