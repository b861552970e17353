//! What the two attempts of a request share of its body. It knows neither of them. `keeper.rs` has the rules for who may
//! read.
//!
//! Bodies, their chunks and errors, and wakers are user code, which may come back to this body from any of their methods, and
//! from their `Drop`. So none of it is called or dropped while the state is locked:
//!
//! - The body is taken out to be polled or to be asked for its size, and put back after that.
//! - Wakers are beside the lock, and not under it.
//! - What a change of the state does not need any more is returned, and dropped after the lock is released.

use std::{
    collections::VecDeque,
    fmt, mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use futures_util::task::AtomicWaker;
use http::HeaderMap;
use http_body::{Body, Frame};

use crate::{error::BoxError, replay::chunks::Chunks};

pub(crate) type SharedBody<B> = Arc<Shared<B>>;

pub(crate) struct Shared<B> {
    state: Mutex<BodyState<B>>,
    /// Wakes the first attempt, which waits for the decision or for more of the body.
    pub(crate) first: AtomicWaker,
    /// Wakes the second attempt, which waits until the first has put the body back.
    pub(crate) second: AtomicWaker,
}

pub(crate) struct BodyState<B> {
    pub(crate) unread: Unread<B>,
    pub(crate) turn: Turn,
    /// What was read and is not yet sent by the second attempt.
    pub(crate) chunks: Chunks,
    /// Usually one map. Another one comes after it and does not replace it, because that would drop it.
    pub(crate) trailers: VecDeque<HeaderMap>,
}

/// The part of the body that is not read yet.
pub(crate) enum Unread<B> {
    Here(Pin<Box<B>>),
    /// An attempt has taken it out, for a poll or a question.
    Taken,
    Ended,
    /// It failed when the first attempt had just lost its turn.
    Failed(BoxError),
    /// It cannot be sent again: more than the cap was read, it failed, or it panicked.
    Gone,
}

/// The attempt that may read the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    First,
    /// Neither, until it is decided whether there is a second attempt.
    Undecided,
    Second,
}

/// What an attempt reads from after a poll.
pub(crate) enum Next<B> {
    Shared,
    /// The body itself, because the other attempt does not need it any more.
    Own(Pin<Box<B>>),
    End,
}

pub(crate) type PolledFrame = Poll<Option<Result<Frame<Bytes>, BoxError>>>;

impl<B> Shared<B> {
    pub(crate) fn new(body: B) -> Self {
        let (unread, turn) = (Unread::Here(Box::pin(body)), Turn::First);
        let state = BodyState { unread, turn, chunks: Chunks::default(), trailers: VecDeque::default() };
        Self { state: Mutex::new(state), first: AtomicWaker::new(), second: AtomicWaker::new() }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, BodyState<B>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts the body back, or what is left of it, where it was taken out. The second attempt may wait for that.
    fn put_back(&self, unread: Unread<B>) {
        self.lock().unread = unread;
        self.second.wake();
    }
}

impl<B: Body> Shared<B> {
    /// Asks the body something, if `may_ask` allows it. Returns `at_end` for a body that was read to its end, and the default
    /// for one that is not here.
    pub(crate) fn ask<A: Default>(
        &self,
        may_ask: impl FnOnce(&BodyState<B>) -> bool,
        at_end: A,
        question: impl FnOnce(&B) -> A,
    ) -> A {
        let mut state = self.lock();
        if !may_ask(&state) {
            return A::default();
        }
        if matches!(state.unread, Unread::Ended) {
            return at_end;
        }
        let Some(body) = state.unread.take() else { return A::default() };
        drop(state);
        let lost = LostOnPanic(self);
        let answer = question(&body);
        lost.disarm();
        self.put_back(Unread::Here(body));
        answer
    }
}

/// Notes that the body is lost if its code panics while it is taken out.
pub(crate) struct LostOnPanic<'a, B>(pub(crate) &'a Shared<B>);

impl<B> LostOnPanic<'_, B> {
    pub(crate) fn disarm(self) {
        mem::forget(self);
    }
}

impl<B> Drop for LostOnPanic<'_, B> {
    fn drop(&mut self) {
        self.0.put_back(Unread::Gone);
    }
}

impl<B> Unread<B> {
    /// Takes the body out, if it is here.
    pub(crate) fn take(&mut self) -> Option<Pin<Box<B>>> {
        match mem::replace(self, Self::Taken) {
            Self::Here(body) => Some(body),
            other => {
                *self = other;
                None
            }
        }
    }
}

impl<B> BodyState<B> {
    /// Keeps a share of a frame, if that is within the cap. Returns whether it did.
    pub(crate) fn keep(&mut self, frame: &Frame<Bytes>, cap: usize) -> bool {
        let trailers = self.trailers.iter().chain(frame.trailers_ref()).flatten();
        let trailers: usize = trailers.map(|(name, value)| name.as_str().len() + value.len()).sum();
        let data = frame.data_ref();
        let fits = self.chunks.len() + trailers + data.map_or(0, Bytes::len) <= cap;
        match (data, frame.trailers_ref()) {
            (Some(data), _) if fits => self.chunks.push(data),
            (_, Some(trailers)) if fits => self.trailers.push_back(trailers.clone()),
            _ => return false,
        }
        true
    }
}

/// Polls a body once, with its data as `Bytes`. Data that is `Bytes` already is shared, not copied.
pub(crate) fn poll_frame<B>(body: Pin<&mut B>, task: &mut Context<'_>) -> PolledFrame
where
    B: Body<Error: Into<BoxError>>,
{
    body.poll_frame(task).map(|frame| {
        frame.map(|frame| {
            let frame = frame.map_err(Into::into)?;
            Ok(frame.map_data(|mut data| data.copy_to_bytes(data.remaining())))
        })
    })
}

/// Why the body of an attempt ends early. The HTTP client sees it.
#[derive(Debug)]
pub(crate) enum IncompleteBody {
    Superseded,
    Lost,
}

impl fmt::Display for IncompleteBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Superseded => {
                "the request was rejected and is sent once more, so the body of its first attempt ends here"
            }
            Self::Lost => "the request's body panicked, so the rest of it cannot be sent",
        })
    }
}

impl std::error::Error for IncompleteBody {}
