//! Plays any script of events on a body that is kept, and checks what both attempts send. A property test and a fuzzer
//! use it.

use std::{
    cell::RefCell,
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    rc::{Rc, Weak},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use tower_bearer::replay::{InPlace, KeptBody, Replay, ReplayBody, Tee};

/// What a body does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Data(usize),
    Trailers,
    Wait,
    Fail,
    Panic,
    /// During a poll, the second attempt takes over and is polled.
    TakeOver,
}

/// Reads an event from two bytes: its kind, and the size of its chunk.
fn event(kind: u8, size: u8) -> Event {
    match kind {
        0..140 => Event::Data(usize::from(size) * 4),
        140..200 => Event::Wait,
        200..210 => Event::Fail,
        210..220 => Event::Panic,
        220..=255 => Event::TakeOver,
    }
}

/// The payload of a scripted panic.
struct Scripted;

type Attempt = Pin<Box<ReplayBody<Script>>>;

/// The state that the script can access.
#[derive(Default)]
struct Stage {
    kept: Option<KeptBody<Script>>,
    second: Option<Attempt>,
    sent_again: Sent,
    /// Whether the first attempt may read no more.
    taken: bool,
    /// Whether a second attempt is impossible because of what the first one has read.
    spoilt: bool,
}

struct Script {
    events: VecDeque<Event>,
    /// The number of bytes that it has produced.
    given: usize,
    /// The total size of the data, if it is declared.
    declared: Option<usize>,
    stage: Weak<RefCell<Stage>>,
}

impl Body for Script {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        loop {
            match self.events.pop_front() {
                None => return Poll::Ready(None),
                Some(Event::Wait) => return Poll::Pending,
                Some(Event::Data(len)) => {
                    let chunk = data(self.given, len);
                    self.given += len;
                    return Poll::Ready(Some(Ok(Frame::data(chunk))));
                }
                Some(Event::Trailers) => return Poll::Ready(Some(Ok(Frame::trailers(trailers())))),
                Some(Event::Fail) => {
                    self.events.clear();
                    return Poll::Ready(Some(Err("broken")));
                }
                Some(Event::Panic) => {
                    self.events.clear();
                    resume_unwind(Box::new(Scripted));
                }
                Some(Event::TakeOver) => {
                    let Some(stage) = self.stage.upgrade() else { continue };
                    take_over(&stage);
                    poll_second(&stage, self.declared);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.declared.is_some() && self.events.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let left = |all| SizeHint::with_exact((all - self.given) as u64);
        self.declared.map_or_else(SizeHint::default, left)
    }
}

fn data(from: usize, len: usize) -> Bytes {
    (from..from + len).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

fn trailers() -> HeaderMap {
    HeaderMap::from_iter([("x-check".parse().unwrap(), HeaderValue::from_static("sum"))])
}

fn tee(cap: usize) -> Tee<InPlace> {
    Tee::in_place().cap(cap)
}

fn take_over(stage: &Rc<RefCell<Stage>>) {
    let Some(kept) = stage.borrow_mut().kept.take() else { return };
    let second = tee(0).replay(kept);
    let mut stage = stage.borrow_mut();
    assert_eq!(second.is_none(), stage.spoilt, "a second attempt is possible only if everything was kept");
    stage.taken = second.is_some();
    stage.second = second.map(Box::pin);
}

fn poll_second(stage: &Rc<RefCell<Stage>>, declared: Option<usize>) {
    let (second, mut sent) = {
        let mut stage = stage.borrow_mut();
        (stage.second.take(), std::mem::take(&mut stage.sent_again))
    };
    let second = second.map(|mut second| {
        sent.poll_scripted(&mut second, declared);
        second
    });
    let mut stage = stage.borrow_mut();
    (stage.second, stage.sent_again) = (second, sent);
}

/// What an attempt has sent.
#[derive(Default)]
struct Sent {
    data: Vec<u8>,
    trailers: Option<HeaderMap>,
    ended: Option<Result<(), String>>,
}

impl Sent {
    /// Polls as [`poll`](Self::poll) does. Returns `None` for a scripted panic.
    fn poll_scripted(&mut self, attempt: &mut Attempt, declared: Option<usize>) -> Option<bool> {
        match catch_unwind(AssertUnwindSafe(|| self.poll(attempt, declared))) {
            Ok(came) => Some(came),
            Err(panic) if panic.is::<Scripted>() => None,
            Err(panic) => resume_unwind(panic),
        }
    }

    /// Polls once. Returns whether it was ready.
    fn poll(&mut self, attempt: &mut Attempt, declared: Option<usize>) -> bool {
        if self.ended.is_some() {
            return false;
        }
        let (hint, at_end) = (attempt.size_hint(), attempt.is_end_stream());
        match (declared, hint.exact()) {
            (Some(all), Some(left)) => assert_eq!(left, (all - self.data.len()) as u64),
            (None, Some(left)) => assert_eq!(left, 0, "only at its end"),
            (_, None) => {}
        }
        let Poll::Ready(frame) = attempt.as_mut().poll_frame(&mut Context::from_waker(Waker::noop())) else {
            assert!(!at_end);
            return false;
        };
        assert!(!at_end || frame.is_none(), "the body reported that it was at its end");
        match frame {
            None => self.ended = Some(Ok(())),
            Some(Err(error)) => self.ended = Some(Err(error.to_string())),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(chunk) => self.data.extend_from_slice(&chunk),
                Err(frame) => self.trailers = frame.into_trailers().ok(),
            },
        }
        true
    }
}

/// Plays a script.
///
/// The first byte sets the cap and the declared size, the second one the number of the body's events. Pairs of bytes
/// follow. The first pairs are the body's events, the others are what is done with it.
pub(crate) fn play(script: &[u8]) {
    let [settings, count, pairs @ ..] = script else { return };
    let cap = usize::from(settings & 0x3f) * 64;
    let mut pairs = pairs.chunks_exact(2).map(|pair| (pair[0], pair[1]));
    let mut events: VecDeque<_> =
        pairs.by_ref().take(usize::from(count % 16)).map(|(kind, size)| event(kind, size)).collect();
    if settings & 0x40 != 0 {
        events.push_back(Event::Trailers);
    }
    let plan: Vec<Event> = events.iter().copied().collect();
    let end = plan.iter().position(|event| matches!(event, Event::Fail | Event::Panic));
    let readable = &plan[..end.unwrap_or(plan.len())];
    let all: usize = readable.iter().map(|event| if let Event::Data(len) = event { *len } else { 0 }).sum();
    let whole = data(0, all);
    let has_trailers = readable.contains(&Event::Trailers);
    let declared = (settings & 0x80 != 0 && end.is_none()).then_some(all);

    // The first frame is all the data that was declared.
    let first_frame = plan.iter().find(|event| !matches!(event, Event::Wait | Event::TakeOver));
    let is_in_memory = declared.is_some_and(|all| first_frame == Some(&Event::Data(all)));

    let stage = Rc::new(RefCell::new(Stage::default()));
    let body = Script { events, given: 0, declared, stage: Rc::downgrade(&stage) };
    let (first, kept) = tee(cap).keep(ReplayBody::new(body));
    assert!(kept.is_some(), "every body is kept until the cap is passed");
    stage.borrow_mut().kept = kept;

    let mut first = Some(Box::pin(first));
    let (mut sent, mut paused) = (Sent::default(), false);
    let to_the_end = [POLL_FIRST, POLL_SECOND].into_iter().cycle().take(128);
    for op in pairs.map(|(op, _)| op).chain(to_the_end) {
        match op {
            0..100 => {
                let Some(attempt) = &mut first else { continue };
                let undecided = paused && stage.borrow().kept.is_some() && !stage.borrow().spoilt;
                let polled = sent.poll_scripted(attempt, declared);
                assert!(
                    !undecided || polled != Some(true) || sent.ended == Some(Ok(())),
                    "the first attempt is paused"
                );
                let mut stage = stage.borrow_mut();
                if polled.is_none() {
                    first = None;
                    stage.spoilt |= !stage.taken;
                } else if !stage.taken {
                    let trailers = sent.trailers.iter().flatten().map(|(n, v)| n.as_str().len() + v.len());
                    let counted = if is_in_memory { 0 } else { sent.data.len() };
                    stage.spoilt |= counted + trailers.sum::<usize>() > cap;
                    stage.spoilt |= sent.ended.as_ref().is_some_and(Result::is_err);
                }
            }
            100..180 => poll_second(&stage, declared),
            180..195 => {
                if let Some(kept) = &mut stage.borrow_mut().kept {
                    Replay::<ReplayBody<Script>>::pause(&tee(cap), kept);
                    paused = true;
                }
            }
            195..235 => take_over(&stage),
            235..245 => first = None,
            245..250 => drop(stage.borrow_mut().kept.take()),
            250..=255 => drop(stage.borrow_mut().second.take()),
        }
    }

    let stage = stage.borrow();
    for sent in [&sent, &stage.sent_again] {
        assert!(whole.starts_with(&sent.data), "no chunk is sent twice or omitted");
        if sent.ended == Some(Ok(())) {
            let panicked = end.is_some_and(|at| plan[at] == Event::Panic);
            let is_whole = end.is_none() && sent.data == whole && sent.trailers.is_some() == has_trailers;
            assert!(panicked || is_whole, "a body ends only when it is complete");
        }
    }
    assert!(stage.second.is_none() || stage.sent_again.ended.is_some(), "the second attempt must not hang");
}

const POLL_FIRST: u8 = 0;
const POLL_SECOND: u8 = 100;
