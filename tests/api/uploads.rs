//! Uploads of every kind over real connections, to a server that rejects each at a random moment. The server receives
//! exactly the right bytes in the second attempt, or the caller gets the 401.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    ops::Range,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use fastrand::Rng;
use futures::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, server::conn, service::service_fn};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use tokio::net::TcpListener;
use tower::{BoxError, Layer};
use tower_bearer::{
    BearerAuthLayer, NotRetried, Outcome,
    replay::{Replay, ReplayBody, Tee},
};

use crate::scripted::{Numbered, send};

/// The number of cases for each kind of server and each version of HTTP.
const CASES: u64 = 2_500;
const CAP: usize = 8 * 1024;
/// A case that takes longer has hung.
const HANG: Duration = Duration::from_secs(30);

/// The upload, and how the server handles its first attempt. Everything is derived from a number.
#[derive(Clone, Debug)]
struct Case {
    chunks: Vec<usize>,
    declared: bool,
    trailers: bool,
    /// The upload fails after this many chunks.
    fails_after: Option<usize>,
    /// The server responds with 401 after it has read this many bytes. `usize::MAX` means all of them.
    rejects_at: usize,
    /// The number of chunks of the 401's own body.
    rejection_chunks: usize,
    /// How many polls of 16 find the upload not ready.
    pending_in_16: u8,
    seed: u64,
}

impl Case {
    fn numbered(number: u64, version: Version) -> Self {
        let mut rng = Rng::with_seed(number);
        let most = *rng.choice(&[0, 1, 100, CAP / 2, CAP - 1, CAP, CAP + 1, 4 * CAP, 40 * CAP]).unwrap();
        let total = if rng.bool() { most } else { rng.usize(0..=most) };
        let mut chunks = Vec::new();
        let mut left = total;
        while left > 0 {
            let most = *rng.choice(&[1 + left / 64, 300, 5_000, 100_000]).unwrap();
            let chunk = rng.usize(1..=left.min(most));
            chunks.push(chunk);
            left -= chunk;
        }
        let declared = rng.bool();
        Self {
            declared,
            // HTTP/1.1 does not allow trailers when the length is declared.
            trailers: rng.bool() && !(declared && version == Version::HTTP_11),
            fails_after: (rng.u8(0..10) == 0 && total > 0).then(|| rng.usize(0..chunks.len())),
            rejects_at: *rng.choice(&[0, 1, total / 2, CAP, usize::MAX]).unwrap(),
            rejection_chunks: *rng.choice(&[0, 1, 3, 200]).unwrap(),
            pending_in_16: *rng.choice(&[0, 4, 12]).unwrap(),
            seed: number,
            chunks,
        }
    }

    fn len(&self) -> usize {
        self.chunks.iter().sum()
    }

    /// Returns the bytes that it must send.
    fn payload(&self, range: Range<usize>) -> Bytes {
        range.map(|at| ((at as u64 * 31 + self.seed) >> 3).to_le_bytes()[0]).collect()
    }

    fn trailers(&self) -> HeaderMap {
        HeaderMap::from_iter([("x-check".parse().unwrap(), HeaderValue::from(self.seed))])
    }

    fn upload(&self) -> Upload {
        Upload { case: self.clone(), chunk: 0, given: 0, rng: Rng::with_seed(self.seed), trailers: self.trailers }
    }
}

/// The body of a case.
struct Upload {
    case: Case,
    chunk: usize,
    given: usize,
    trailers: bool,
    rng: Rng,
}

impl Body for Upload {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.rng.u8(0..16) < self.case.pending_in_16 {
            task.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.case.fails_after == Some(self.chunk) {
            return Poll::Ready(Some(Err("the upload broke off".into())));
        }
        if let Some(&len) = self.case.chunks.get(self.chunk) {
            let data = self.case.payload(self.given..self.given + len);
            self.chunk += 1;
            self.given += len;
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if std::mem::take(&mut self.trailers) {
            return Poll::Ready(Some(Ok(Frame::trailers(self.case.trailers()))));
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.case.declared
            && self.chunk == self.case.chunks.len()
            && !self.trailers
            && self.case.fails_after != Some(self.chunk)
    }

    fn size_hint(&self) -> SizeHint {
        if self.case.declared {
            SizeHint::with_exact((self.case.len() - self.given) as u64)
        } else {
            SizeHint::default()
        }
    }
}

/// What the server received in each second attempt.
type Seen = Arc<Mutex<HashMap<u64, Whole>>>;

type Whole = (Bytes, Option<HeaderMap>);

/// What a server does with the rest of an upload that it has rejected.
#[derive(Clone, Copy, Debug, PartialEq)]
enum AfterRejection {
    ContinuesReading,
    StopsReading,
}

async fn answer(
    request: Request<Incoming>,
    after_rejection: AfterRejection,
    seen: Seen,
) -> Result<Response<UnsyncBoxBody<Bytes, BoxError>>, BoxError> {
    let number = |name| request.headers()[name].to_str().unwrap().parse().unwrap();
    let case = Case::numbered(number("x-case"), request.version());
    let second = request.headers()["authorization"] == "Bearer t2";
    let mut body = request.into_body();
    if second {
        let whole = body.collect().await?;
        let trailers = whole.trailers().cloned();
        seen.lock().unwrap().insert(case.seed, (whole.to_bytes(), trailers));
        return Ok(Response::new(UnsyncBoxBody::default()));
    }
    let mut read = 0;
    while read < case.rejects_at {
        match body.frame().await {
            Some(frame) => read += frame?.data_ref().map_or(0, Bytes::len),
            None => break,
        }
    }
    if after_rejection == AfterRejection::ContinuesReading {
        tokio::spawn(async move { while body.frame().await.is_some_and(|frame| frame.is_ok()) {} });
    }
    let rejection_body = stream::iter(0..case.rejection_chunks).then(|_| async {
        tokio::task::yield_now().await;
        Ok(Frame::data(Bytes::from_static(&[b'x'; 500])))
    });
    let rejection_body = UnsyncBoxBody::new(http_body_util::StreamBody::new(rejection_body));
    Ok(Response::builder().status(401).body(rejection_body)?)
}

async fn serve(version: Version, after_rejection: AfterRejection, seen: Seen) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let seen = seen.clone();
            let service = service_fn(move |request| answer(request, after_rejection, seen.clone()));
            let stream = TokioIo::new(stream);
            tokio::spawn(async move {
                match version {
                    Version::HTTP_2 => {
                        conn::http2::Builder::new(TokioExecutor::new()).serve_connection(stream, service).await
                    }
                    _ => conn::http1::Builder::new().serve_connection(stream, service).await,
                }
            });
        }
    });
    address
}

/// The number of cases with each result.
#[derive(Debug, Default)]
struct Tally {
    retried: u64,
    retried_before_the_end: u64,
    passed_on: u64,
    broke_off: u64,
    connection_lost: u64,
}

async fn uploads<B, R>(version: Version, replay: R, wrap: fn(Upload) -> B)
where
    B: Body<Data = Bytes, Error = BoxError> + Send + Unpin + 'static,
    R: Replay<B, Kept: Send> + Clone + Send + Sync + 'static,
{
    let tally = Mutex::new(Tally::default());
    for (after_rejection, cases) in
        [(AfterRejection::ContinuesReading, 0..CASES), (AfterRejection::StopsReading, CASES..2 * CASES)]
    {
        let seen = Seen::default();
        let address = serve(version, after_rejection, seen.clone()).await;
        let client: Client<HttpConnector, B> =
            Client::builder(TokioExecutor::new()).http2_only(version == Version::HTTP_2).build_http();
        let run = async |number| {
            let case = Case::numbered(number, version);
            let layer = BearerAuthLayer::new(Numbered::default()).replay(replay.clone());
            let request = Request::post(format!("http://{address}/"))
                .header("x-case", number)
                .header("trailer", "x-check")
                .body(wrap(case.upload()))
                .unwrap();
            let sending = async { send(&mut layer.layer(client.clone()), request).await };
            let answer =
                tokio::time::timeout(HANG, sending).await.unwrap_or_else(|_| panic!("the upload hangs: {case:?}"));
            judge(&case, after_rejection, answer, &seen, &mut tally.lock().unwrap());
        };
        stream::iter(cases).for_each_concurrent(16, run).await;
    }
    let tally = tally.into_inner().unwrap();
    println!("{tally:?}");
    assert!(tally.retried_before_the_end > 300 && tally.passed_on > 300 && tally.retried > 1500, "{tally:?}");
    assert!(tally.connection_lost < CASES / 10, "{tally:?}");
}

fn judge<B>(
    case: &Case,
    after_rejection: AfterRejection,
    answer: Result<Response<B>, BoxError>,
    seen: &Seen,
    tally: &mut Tally,
) {
    let second = seen.lock().unwrap().remove(&case.seed);
    match answer {
        Ok(answer) if answer.status() == 200 => {
            let (data, trailers) = second.unwrap();
            assert!(data == case.payload(0..case.len()), "{case:?}: {} bytes", data.len());
            assert_eq!(trailers, case.trailers.then(|| case.trailers()), "{case:?}");
            assert!(case.fails_after.is_none(), "{case:?}");
            tally.retried += 1;
            tally.retried_before_the_end += u64::from(case.rejects_at < case.len());
        }
        Ok(answer) => {
            assert_eq!(answer.status(), 401, "{case:?}");
            assert!(second.is_none(), "{case:?}");
            let why = answer.extensions().get().and_then(Outcome::not_retried);
            assert!(matches!(why, Some(NotRetried::NotReplayable)), "{why:?} {case:?}");
            assert!(case.len() + 100 > CAP || case.fails_after.is_some(), "it could be sent again: {case:?}");
            tally.passed_on += 1;
        }
        Err(_) if case.fails_after.is_some() => tally.broke_off += 1,
        Err(error) => {
            // The server closes connections during uploads. For any client, TCP decides whether the 401 arrives before
            // that.
            assert_eq!(after_rejection, AfterRejection::StopsReading, "{error:?} {case:?}");
            tally.connection_lost += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_1_servers_get_the_exact_body_in_the_second_attempt() {
    uploads(Version::HTTP_11, Tee::in_place().cap(CAP), ReplayBody::new).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_2_servers_get_the_exact_body_in_the_second_attempt() {
    let make: fn(ReplayBody<_>) -> _ = UnsyncBoxBody::new;
    uploads(Version::HTTP_2, Tee::new(make).cap(CAP), UnsyncBoxBody::new).await;
}
