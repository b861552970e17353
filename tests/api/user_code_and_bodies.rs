//! A request's body, its chunks and the wakers of its attempts are user code too, and may call back into the body: see
//! `user_code_and_locks.rs`.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, mpsc::channel},
    task::{Context, Poll, Wake, Waker},
    thread,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use tower::BoxError;
use tower_bearer::replay::{InPlace, KeptBody, Replay, ReplayBody, Tee};

use crate::user_code_and_locks::{RunsOnDrop, UserCode, ends};

type Attempt = Pin<Box<ReplayBody<Scene>>>;
type Polled = Poll<Option<Result<Frame<Bytes>, BoxError>>>;

/// What user code has in its hands while a body is sent.
#[derive(Clone, Default)]
struct Stage(Arc<Props>);

#[derive(Default)]
struct Props {
    kept: Mutex<Option<KeptBody<Scene>>>,
    first: Mutex<Option<Attempt>>,
    second: Mutex<Option<Attempt>>,
}

impl Stage {
    /// Drops what is kept for the second attempt, as a cancelled request does.
    fn cancel(&self) {
        let kept = self.0.kept.lock().unwrap().take();
        drop(kept);
    }

    fn take_over(&self) {
        let kept = self.0.kept.lock().unwrap().take();
        let second = kept.map(|kept| Box::pin(Tee::in_place().replay(kept).unwrap()));
        *self.0.second.lock().unwrap() = second;
    }

    fn pause(&self) {
        Replay::<ReplayBody<Scene>>::pause(&Tee::in_place(), self.0.kept.lock().unwrap().as_mut().unwrap());
    }

    /// Does what takes the lock of both attempts, if they are not being polled.
    fn ask_both(&self) {
        for attempt in [&self.0.first, &self.0.second] {
            let taken = attempt.lock().unwrap().take();
            if let Some(body) = taken {
                let _ = (body.is_end_stream(), body.size_hint());
                *attempt.lock().unwrap() = Some(body);
            }
        }
    }

    fn poll_first(&self, waker: &Waker) -> Polled {
        Self::poll(&self.0.first, waker)
    }

    fn poll_second(&self, waker: &Waker) -> Polled {
        Self::poll(&self.0.second, waker)
    }

    fn poll(attempt: &Mutex<Option<Attempt>>, waker: &Waker) -> Polled {
        let taken = attempt.lock().unwrap().take();
        let mut body = taken.unwrap();
        let polled = body.as_mut().poll_frame(&mut Context::from_waker(waker));
        *attempt.lock().unwrap() = Some(body);
        polled
    }
}

/// A body of the user.
struct Scene {
    poll: Box<dyn FnMut(&mut Context<'_>) -> Polled + Send>,
    asked: UserCode,
    _dropped: RunsOnDrop,
}

impl Body for Scene {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Polled {
        (self.poll)(task)
    }

    fn is_end_stream(&self) -> bool {
        self.asked.run();
        false
    }

    fn size_hint(&self) -> SizeHint {
        self.asked.run();
        SizeHint::default()
    }
}

fn idle() -> UserCode {
    UserCode::new(|| ())
}

/// Keeps a body that answers its polls by `poll`, runs `asked` when it is asked for its size or its end, and `dropped` when it
/// is dropped.
fn stage(
    stage: &Stage,
    poll: impl FnMut(&mut Context<'_>) -> Polled + Send + 'static,
    asked: &UserCode,
    dropped: &UserCode,
) {
    let scene = Scene { poll: Box::new(poll), asked: asked.clone(), _dropped: RunsOnDrop(dropped.clone()) };
    let (first, kept): (ReplayBody<Scene>, _) = Replay::keep(&Tee::<InPlace>::in_place(), ReplayBody::new(scene));
    *stage.0.first.lock().unwrap() = Some(Box::pin(first));
    *stage.0.kept.lock().unwrap() = kept;
}

fn data(bytes: &'static [u8]) -> Polled {
    Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(bytes)))))
}

#[test]
fn a_body_that_is_asked_for_its_size_may_cancel_its_request() {
    for is_end in [false, true] {
        ends(move || {
            let set = Stage::default();
            let of_user = set.clone();
            let asked = UserCode::new(move || of_user.cancel());
            stage(&set, |_| data(b"x"), &asked, &idle());
            let first = set.0.first.lock().unwrap().take().unwrap();
            if is_end {
                assert!(!first.is_end_stream());
            } else {
                assert_eq!(first.size_hint().upper(), None);
            }
            assert!(set.0.kept.lock().unwrap().is_none(), "it was cancelled");
        });
    }
}

#[test]
fn a_paused_body_that_is_asked_for_its_end_may_cancel_its_request() {
    ends(|| {
        let set = Stage::default();
        let of_user = set.clone();
        let asked = UserCode::new(move || of_user.cancel());
        stage(&set, |_| data(b"x"), &asked, &idle());
        set.pause();
        let polled = set.poll_first(Waker::noop());
        assert!(matches!(polled, Poll::Ready(Some(Ok(_)))), "it is the first attempt's turn again: {polled:?}");
    });
}

#[test]
fn a_body_that_the_second_attempt_asks_for_its_end_may_ask_the_first() {
    ends(|| {
        let set = Stage::default();
        let of_user = set.clone();
        let asked = UserCode::new(move || of_user.ask_both());
        stage(&set, |_| data(b"x"), &asked, &idle());
        set.take_over();
        let second = set.0.second.lock().unwrap().take().unwrap();
        let before = asked.calls();
        assert!(!second.is_end_stream());
        assert_eq!(asked.calls(), before + 1);
    });
}

/// A waker that runs user code when its last clone is dropped.
struct UserWaker {
    dropped: UserCode,
}

impl Wake for UserWaker {
    fn wake(self: Arc<Self>) {}
}

impl Drop for UserWaker {
    fn drop(&mut self) {
        self.dropped.run();
    }
}

fn user_waker(dropped: &UserCode) -> Waker {
    Arc::new(UserWaker { dropped: dropped.clone() }).into()
}

#[test]
fn a_waker_that_another_one_replaces_may_cancel_its_request() {
    for is_paused in [false, true] {
        ends(move || {
            let set = Stage::default();
            let of_user = set.clone();
            let dropped = UserCode::new(move || of_user.cancel());
            stage(&set, |_| Poll::Pending, &idle(), &idle());
            if is_paused {
                set.pause();
            }
            assert!(set.poll_first(&user_waker(&dropped)).is_pending());
            assert_eq!(dropped.calls(), 0, "the waker is kept");
            assert!(set.poll_first(Waker::noop()).is_pending());
            assert_eq!(dropped.calls(), 1, "the waker is replaced");
        });
    }
}

/// The second attempt waits while another thread polls the body. The waker's drop waits for that thread.
#[test]
fn a_waker_of_the_second_attempt_that_another_one_replaces_may_wait_for_the_first() {
    ends(|| {
        let set = Stage::default();
        let (is_polled, polled) = channel();
        let (go_on, may_go_on) = channel();
        let poll = move |_: &mut Context<'_>| {
            is_polled.send(()).unwrap();
            may_go_on.recv().unwrap();
            data(b"x")
        };
        stage(&set, poll, &idle(), &idle());
        let of_thread = set.clone();
        let first = thread::spawn(move || of_thread.poll_first(Waker::noop()));
        polled.recv().unwrap();
        set.take_over();
        let joined = Mutex::new(Some(first));
        let dropped = UserCode::new(move || {
            go_on.send(()).unwrap();
            let first = joined.lock().unwrap().take().unwrap();
            assert!(matches!(first.join().unwrap(), Poll::Ready(Some(Err(_)))), "it was superseded");
        });
        assert!(set.poll_second(&user_waker(&dropped)).is_pending());
        assert_eq!(dropped.calls(), 0, "the waker is kept");
        let polled = set.poll_second(Waker::noop());
        assert_eq!(dropped.calls(), 1, "the waker is replaced");
        let polled = if polled.is_pending() { set.poll_second(Waker::noop()) } else { polled };
        assert!(matches!(polled, Poll::Ready(Some(Ok(_)))));
    });
}

/// How the poll ends in which the first attempt loses its turn.
#[derive(Clone, Copy, Debug)]
enum Last {
    SmallChunk,
    End,
    Error,
}

fn of_user(dropped: &UserCode) -> Bytes {
    Bytes::from_owner(RunsOnDrop(dropped.clone()))
}

#[test]
fn what_a_superseded_poll_brought_may_ask_the_second_attempt_when_it_is_dropped() {
    for last in [Last::SmallChunk, Last::End, Last::Error] {
        ends(move || {
            let set = Stage::default();
            let asking = set.clone();
            let dropped = UserCode::new(move || asking.ask_both());
            let (of_body, of_chunk, mut polls) = (set.clone(), dropped.clone(), 0);
            let poll = move |_: &mut Context<'_>| {
                polls += 1;
                if polls == 1 {
                    return data(b"x");
                }
                of_body.take_over();
                Poll::Ready(match last {
                    Last::SmallChunk => Some(Ok(Frame::data(of_user(&of_chunk)))),
                    Last::End => None,
                    Last::Error => Some(Err("broken".into())),
                })
            };
            let of_scene = if matches!(last, Last::SmallChunk) { idle() } else { dropped.clone() };
            stage(&set, poll, &idle(), &of_scene);
            assert!(matches!(set.poll_first(Waker::noop()), Poll::Ready(Some(Ok(_)))));
            assert!(matches!(set.poll_first(Waker::noop()), Poll::Ready(Some(Err(_)))), "it was superseded");
            assert_eq!(dropped.calls(), 1, "{last:?}: it is not needed any more");
        });
    }
}

#[test]
fn trailers_that_come_twice_are_sent_twice_in_both_attempts_and_may_cancel_the_request_when_they_are_dropped() {
    ends(|| {
        let set = Stage::default();
        let cancelling = set.clone();
        let dropped = UserCode::new(move || cancelling.cancel());
        let of_trailers = dropped.clone();
        let poll = move |_: &mut Context<'_>| {
            let value = HeaderValue::from_maybe_shared(of_user(&of_trailers)).unwrap();
            Poll::Ready(Some(Ok(Frame::trailers(HeaderMap::from_iter([("x-sum".parse().unwrap(), value)])))))
        };
        stage(&set, poll, &idle(), &idle());
        for _ in 0..2 {
            assert!(matches!(set.poll_first(Waker::noop()), Poll::Ready(Some(Ok(_)))));
        }
        assert_eq!(dropped.calls(), 0, "all are kept");
        set.take_over();
        for _ in 0..2 {
            let Poll::Ready(Some(Ok(frame))) = set.poll_second(Waker::noop()) else { panic!("expected trailers") };
            assert!(frame.is_trailers());
        }
    });
}
