//! How a body is kept for the second attempt.

use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    future::{Ready, ready as ready_with},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker, ready},
};

use bytes::{Buf, Bytes};
use futures::{StreamExt, future::BoxFuture, stream};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty, Full, StreamBody, combinators::UnsyncBoxBody};
use proptest::prelude::*;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::{BoxError, Layer, Service, service_fn};
use tower_bearer::{
    BearerAuthLayer, NotRetried, Outcome,
    replay::{BoxedBody, Replay, ReplayBody, Tee},
};

use crate::{
    replay_model::play,
    scripted::{Numbered, send},
};

const CAP: usize = 1000;

type Boxed = UnsyncBoxBody<Bytes, BoxError>;

fn boxed(body: impl Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static) -> Boxed {
    body.map_err(Into::into).boxed_unsync()
}

/// Returns a body of `len` bytes in chunks of up to 100 bytes, without a declared length.
fn streamed(len: usize) -> Boxed {
    let chunks = (0..len).step_by(100).map(move |at| Ok(Frame::data(part(at, len))));
    boxed(StreamBody::new(stream::iter(chunks.collect::<Vec<Result<_, Infallible>>>())))
}

fn part(at: usize, len: usize) -> Bytes {
    (at..len.min(at + 100)).map(|byte| u8::try_from(byte % 251).unwrap()).collect()
}

fn whole(len: usize) -> Bytes {
    (0..len).step_by(100).flat_map(|at| part(at, len)).collect()
}

fn with_trailers(body: Boxed) -> Boxed {
    body.with_trailers(async { Some(Ok(HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from(1))]))) })
        .boxed_unsync()
}

/// What a server did: how much it read before its 401, and what it received after that.
#[derive(Default)]
struct Seen {
    second: Option<(Bytes, Option<HeaderMap>)>,
    /// A body that is still read in the background, if it was not read to its end.
    first: Option<Boxed>,
}

/// Sends `body` to an API that responds with 401 once it has read `read` bytes. The API keeps the rest of that body.
async fn upload(body: Boxed, read: usize) -> (Result<Response<Full<Bytes>>, BoxError>, Seen) {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let api = service_fn(|request: Request<Boxed>| {
        let seen = Arc::clone(&seen);
        async move {
            let second = request.headers()["authorization"] == "Bearer t2";
            let mut body = request.into_body();
            if second {
                let all = body.collect().await?;
                let trailers = all.trailers().cloned();
                seen.lock().unwrap().second = Some((all.to_bytes(), trailers));
                return Ok::<_, BoxError>(Response::new(Full::default()));
            }
            let mut got = 0;
            while got < read {
                match body.frame().await {
                    Some(frame) => got += frame?.data_ref().map_or(0, Bytes::len),
                    None => break,
                }
            }
            seen.lock().unwrap().first = Some(body);
            Ok(Response::builder().status(401).body(Full::from("who are you?"))?)
        }
    });
    let layer = BearerAuthLayer::new(Numbered::default()).replay(Tee::new(Boxed::new).cap(CAP));
    let answer = send(&mut layer.layer(api), Request::post("https://api.test/").body(body).unwrap()).await;
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    (answer, seen)
}

async fn is_retried_whole(body: Boxed, len: usize, read: usize) -> Seen {
    let (answer, mut seen) = upload(body, read).await;
    assert_eq!(answer.unwrap().status(), StatusCode::OK, "{len} bytes, rejected after {read}");
    let (data, trailers) = seen.second.take().unwrap();
    assert!(data == whole(len), "{len} bytes, rejected after {read}");
    seen.second = Some((data, trailers));
    seen
}

async fn is_not_retried(body: Boxed, read: usize) {
    let (answer, seen) = upload(body, read).await;
    let answer = answer.unwrap();
    let why = answer.extensions().get().and_then(Outcome::not_retried);
    assert!(matches!(why, Some(NotRetried::NotReplayable)), "{why:?}");
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "who are you?");
    assert!(seen.second.is_none());
}

#[tokio::test]
async fn a_body_up_to_the_cap_is_sent_again() {
    for len in [1, 100, CAP - 1, CAP] {
        is_retried_whole(streamed(len), len, usize::MAX).await;
        is_retried_whole(boxed(Full::from(whole(len))), len, usize::MAX).await;
    }
}

#[tokio::test]
async fn a_body_over_the_cap_is_sent_once() {
    is_not_retried(streamed(CAP + 1), usize::MAX).await;
    is_not_retried(streamed(CAP * 100), usize::MAX).await;
}

/// A body that declares its length.
struct Declared(Boxed, usize);

impl Body for Declared {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.0).poll_frame(task);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.1 -= frame.data_ref().map_or(0, Bytes::len);
        }
        polled
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.1 as u64)
    }
}

#[tokio::test]
async fn a_body_that_declares_more_than_the_cap_is_sent_again_if_the_401_comes_before_the_cap_is_passed() {
    for len in [CAP + 1, CAP * 100] {
        for read in [0, 1, CAP / 2, CAP] {
            is_retried_whole(boxed(Declared(streamed(len), len)), len, read).await;
        }
        is_not_retried(boxed(Declared(streamed(len), len)), CAP + 1).await;
        is_not_retried(boxed(Declared(streamed(len), len)), usize::MAX).await;
    }
}

/// They cost no memory: the chunk that is sent is kept.
#[tokio::test]
async fn a_boxed_body_in_memory_is_sent_again_whatever_its_size() {
    for len in [CAP + 1, CAP * 100] {
        for read in [0, usize::MAX] {
            is_retried_whole(boxed(Full::from(whole(len))), len, read).await;
        }
        let seen = is_retried_whole(with_trailers(boxed(Full::from(whole(len)))), len, usize::MAX).await;
        assert_eq!(seen.second.unwrap().1.unwrap()["x-sum"], "1");
    }
    // One chunk without a declared length is a stream.
    is_not_retried(boxed(StreamBody::new(stream::iter([Ok::<_, Infallible>(Frame::data(whole(CAP + 1)))]))), 1).await;
    // A part of a declared length is a stream.
    let chunks = [whole(CAP + 1), part(0, 1)].map(|chunk| Ok::<_, Infallible>(Frame::data(chunk)));
    is_not_retried(boxed(Declared(boxed(StreamBody::new(stream::iter(chunks))), CAP + 2)), 1).await;
}

#[test]
fn a_boxed_body_in_memory_is_not_copied() {
    let chunk = whole(CAP * 100);
    let tee = Tee::of(Boxed::new).cap(CAP);
    let (mut first, kept) = tee.keep(boxed(Full::from(chunk.clone())));
    let Poll::Ready(Some(sent)) = poll(&mut first) else { panic!("expected a chunk") };
    let Poll::Ready(Some(again)) = poll(&mut tee.replay(kept.unwrap()).unwrap()) else { panic!("expected a chunk") };
    assert_eq!((sent.as_ptr(), again.as_ptr()), (chunk.as_ptr(), chunk.as_ptr()));
}

#[tokio::test]
async fn an_empty_body_is_sent_again_and_nothing_is_kept() {
    is_retried_whole(boxed(Empty::new()), 0, usize::MAX).await;
    let (first, kept) = Tee::in_place().keep(ReplayBody::new(Empty::<Bytes>::new()));
    let second = Tee::in_place().replay(kept.unwrap()).unwrap();
    for body in [first, second] {
        assert!(body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(0));
        assert!(body.collect().await.unwrap().to_bytes().is_empty());
    }
}

#[tokio::test]
async fn trailers_are_sent_again() {
    for read in [0, 150, usize::MAX] {
        let seen = is_retried_whole(with_trailers(streamed(300)), 300, read).await;
        assert_eq!(seen.second.unwrap().1.unwrap()["x-sum"], "1");
    }
}

/// The name and the value of the trailer here have 6 bytes.
#[tokio::test]
async fn trailers_count_towards_the_cap() {
    is_retried_whole(with_trailers(streamed(CAP - 6)), CAP - 6, usize::MAX).await;
    is_not_retried(with_trailers(streamed(CAP - 5)), usize::MAX).await;
}

/// The second attempt takes over the part that the first one has not read, whatever its length.
#[tokio::test]
async fn an_early_401_is_retried_with_what_was_kept_and_the_rest() {
    for len in [1, CAP, CAP + 1, CAP * 100] {
        for read in [0, 1, len / 2, CAP] {
            is_retried_whole(streamed(len), len, read.min(CAP)).await;
        }
    }
}

/// Half of a body must not look like a whole one.
#[tokio::test]
async fn the_first_body_ends_in_an_error_when_the_second_goes_on_with_it() {
    let seen = is_retried_whole(streamed(CAP), CAP, 250).await;
    let mut first = seen.first.unwrap();
    assert!(!first.is_end_stream());
    let error = first.frame().await.unwrap().unwrap_err();
    assert!(error.to_string().contains("sent once more"), "{error}");
    assert!(first.frame().await.is_none());
}

#[tokio::test]
async fn a_first_body_that_was_at_its_end_is_not_an_error() {
    let seen = is_retried_whole(boxed(Full::from(whole(CAP))), CAP, CAP).await;
    let mut first = seen.first.unwrap();
    assert!(first.is_end_stream() && first.frame().await.is_none());
}

#[tokio::test]
async fn a_body_that_fails_midway_fails_the_request_with_its_own_error() {
    let broken = || {
        let frames: [Result<_, BoxError>; 2] = [Ok(Frame::data(part(0, 100))), Err("the disk is gone".into())];
        boxed(StreamBody::new(stream::iter(frames)))
    };
    // Before the 401, in the first attempt. After it, in the second.
    for read in [usize::MAX, 100] {
        let error = upload(broken(), read).await.0.unwrap_err();
        assert_eq!(error.to_string(), "the disk is gone");
    }
}

fn poll(body: &mut (impl Body<Data = Bytes> + Unpin)) -> Poll<Option<Bytes>> {
    let polled = Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop()));
    polled.map(|frame| frame.and_then(Result::ok).and_then(|frame| frame.into_data().ok()))
}

#[test]
fn chunks_are_shared_and_not_copied() {
    let chunk = Bytes::from(vec![7; 64 * 1024]);
    let tee = Tee::in_place();
    let (mut first, kept) = tee.keep(ReplayBody::new(Full::<Bytes>::from(chunk.clone())));
    let Poll::Ready(Some(sent)) = poll(&mut first) else { panic!("expected a chunk") };
    let Poll::Ready(Some(again)) = poll(&mut tee.replay(kept.unwrap()).unwrap()) else { panic!("expected a chunk") };
    assert_eq!((sent.as_ptr(), again.as_ptr()), (chunk.as_ptr(), chunk.as_ptr()));
}

/// It waits while the caller may still get the response of the first attempt.
#[test]
fn a_rejected_upload_reads_no_further_until_it_is_decided() {
    waits_for_the_decision(&Tee::in_place(), || ReplayBody::new(streamed(300)));
    waits_for_the_decision(&Some(Tee::in_place()), || ReplayBody::new(streamed(300)));
    waits_for_the_decision(&Tee::boxed(), || BoxedBody::new(streamed(300)));
}

fn waits_for_the_decision<B: Body<Data = Bytes> + Unpin>(strategy: &impl Replay<B>, body: impl Fn() -> B) {
    for retried in [false, true] {
        let (mut first, kept) = strategy.keep(body());
        let mut kept = kept.unwrap();
        assert!(poll(&mut first).is_ready());
        strategy.pause(&mut kept);
        assert!(poll(&mut first).is_pending());
        if retried {
            let mut second = strategy.replay(kept).unwrap();
            assert_eq!(poll(&mut first), Poll::Ready(None));
            assert_eq!(poll(&mut second), Poll::Ready(Some(part(0, 300))));
            assert_eq!(poll(&mut second), Poll::Ready(Some(part(100, 300))));
        } else {
            drop(kept);
            assert_eq!(poll(&mut first), Poll::Ready(Some(part(100, 300))));
        }
    }
}

/// If the response is not a rejection, the kept data is freed, and the upload continues without a copy.
#[test]
fn nothing_is_kept_once_the_answer_is_there() {
    let chunk = Bytes::from(vec![7; 1024]);
    let frames = vec![Ok::<_, Infallible>(Frame::data(chunk.clone())), Ok(Frame::data(Bytes::new()))];
    let (mut first, kept) = Tee::in_place().keep(ReplayBody::new(StreamBody::new(stream::iter(frames))));
    assert!(poll(&mut first).is_ready());
    drop(kept);
    assert!(!chunk.is_unique(), "the chunk is kept");
    assert!(poll(&mut first).is_ready());
    assert!(chunk.is_unique());
}

/// A body whose chunks are not `Bytes`.
struct Slices(Vec<&'static [u8]>);

impl Body for Slices {
    type Data = &'static [u8];
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Infallible>>> {
        Poll::Ready(self.0.pop().map(|slice| Ok(Frame::data(slice))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.iter().map(|slice| slice.remaining() as u64).sum())
    }
}

#[tokio::test]
async fn any_kind_of_chunk_is_kept_as_bytes() {
    let (first, kept) = Tee::in_place().keep(ReplayBody::new(Slices(vec![b"c", b"ab"])));
    assert_eq!(first.size_hint().exact(), Some(3));
    assert_eq!(first.collect().await.unwrap().to_bytes(), "abc");
    let second = Tee::in_place().replay(kept.unwrap()).unwrap();
    assert_eq!(second.size_hint().exact(), Some(3));
    assert_eq!(second.collect().await.unwrap().to_bytes(), "abc");
}

/// A connection for one request at a time, until the end of its body: HTTP/1.1 without a pool.
struct OneConnection {
    free: Arc<Semaphore>,
    acquiring: Option<BoxFuture<'static, OwnedSemaphorePermit>>,
    permit: Option<OwnedSemaphorePermit>,
}

impl OneConnection {
    fn new(free: Arc<Semaphore>) -> Self {
        Self { free, acquiring: None, permit: None }
    }
}

impl Clone for OneConnection {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.free))
    }
}

impl Service<Request<Boxed>> for OneConnection {
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = Ready<Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, task: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if self.permit.is_none() {
            let free = Arc::clone(&self.free);
            let acquiring =
                self.acquiring.get_or_insert_with(|| Box::pin(async { free.acquire_owned().await.unwrap() }));
            self.permit = Some(ready!(acquiring.as_mut().poll(task)));
            self.acquiring = None;
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Boxed>) -> Self::Future {
        let permit = self.permit.take().unwrap();
        let status = if request.headers()["authorization"] == "Bearer t1" { 401 } else { 200 };
        let mut body = request.into_body();
        tokio::spawn(async move {
            while body.frame().await.is_some_and(|frame| frame.is_ok()) {}
            drop(permit);
        });
        ready_with(Ok(Response::builder().status(status).body(Full::from("x")).unwrap()))
    }
}

/// The second attempt may need a resource that the first one holds.
#[tokio::test(start_paused = true)]
async fn a_rejected_upload_gives_up_its_connection_before_the_second_attempt_needs_it() {
    let stalled = stream::iter([Ok::<_, Infallible>(Frame::data(part(0, 100)))]).chain(stream::pending().take(1));
    let api = OneConnection::new(Arc::new(Semaphore::new(1)));
    let layer = BearerAuthLayer::new(Numbered::default()).replay(Tee::new(Boxed::new).cap(CAP));
    let request = Request::post("https://api.test/").body(boxed(StreamBody::new(stalled))).unwrap();
    let sending = async { send(&mut layer.layer(api), request).await };
    let answer = tokio::time::timeout(std::time::Duration::from_secs(60), sending).await.expect("the upload hangs");
    assert_eq!(answer.unwrap().status(), StatusCode::OK);
}

/// Panics when it is asked for its end for the second time.
struct Unsure(Cell<u32>);

impl Body for Unsure {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.set(self.0.get() + 1);
        assert!(self.0.get() < 2, "scripted");
        false
    }
}

/// The body does not look complete to the server of the first attempt either.
#[test]
fn a_body_that_panics_when_asked_for_its_end_does_not_leave_an_attempt_waiting() {
    let tee = Tee::in_place();
    let (mut first, kept) = tee.keep(ReplayBody::new(Unsure(Cell::new(0))));
    assert!(catch_unwind(AssertUnwindSafe(|| poll(&mut first))).is_err());
    let polled = Pin::new(&mut first).poll_frame(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Ready(Some(Err(_)))), "{polled:?}");
    assert!(tee.replay(kept.unwrap()).is_none());
}

#[test]
fn a_second_body_that_panicked_does_not_look_whole() {
    let tee = Tee::in_place();
    let panics = stream::poll_fn(|_| -> Poll<Option<Result<Frame<Bytes>, Infallible>>> { panic!("scripted") });
    let (_first, kept) = tee.keep(ReplayBody::new(StreamBody::new(panics)));
    let mut second = tee.replay(kept.unwrap()).unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| poll(&mut second))).is_err());
    let polled = Pin::new(&mut second).poll_frame(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Ready(Some(Err(_)))), "{polled:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_chunk_is_lost_or_sent_twice_whatever_the_order(script in prop::collection::vec(any::<u8>(), 0..120)) {
        play(&script);
    }
}

/// A body that calls user code while it is polled.
struct CallsBack(Rc<RefCell<Option<Call>>>);

type Call = Box<dyn FnOnce()>;

impl Body for CallsBack {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let call = self.0.take();
        Poll::Ready(call.map(|call| {
            call();
            Ok(Frame::data(Bytes::from_static(b"chunk")))
        }))
    }
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

#[test]
fn a_second_attempt_that_comes_during_a_poll_of_the_first_is_woken_after_it() {
    let call = Rc::default();
    let tee = Tee::in_place();
    let (mut first, kept) = tee.keep(ReplayBody::new(CallsBack(Rc::clone(&call))));
    let (second, woken) = (Rc::new(RefCell::new(None)), Arc::new(Woken::default()));
    *call.borrow_mut() = Some(Box::new({
        let (second, waker) = (Rc::clone(&second), Waker::from(Arc::clone(&woken)));
        move || {
            let mut body = tee.replay(kept.unwrap()).unwrap();
            assert!(Pin::new(&mut body).poll_frame(&mut Context::from_waker(&waker)).is_pending());
            *second.borrow_mut() = Some(body);
        }
    }));
    assert_eq!(poll(&mut first), Poll::Ready(None), "it has lost its turn");
    assert_eq!(woken.0.load(Relaxed), 1);
    let mut second = second.take().unwrap();
    assert_eq!(poll(&mut second), Poll::Ready(Some(Bytes::from_static(b"chunk"))));
    assert_eq!(poll(&mut second), Poll::Ready(None));
}
