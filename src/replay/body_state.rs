//! What the two attempts of a request share of its body. It knows neither of them. `keeper.rs` has the rules for who may
//! read.
//!
//! Bodies, their chunks and errors, and wakers are user code, which may come back to this body from any of their methods, and
//! from their `Drop`. The first attempt holds the lock while it polls the body, because a second lock for each chunk would be a
//! large part of what a chunk costs. So nobody ever waits for the lock in a blocking way:
//!
//! - The first attempt finds the state locked only by the second, and then needs nothing of it.
//! - The second attempt waits for it as a task does. The first wakes it after it has unlocked the state.
//! - The keeper does not need it: the turn is beside the lock.

use std::{
    any::Any,
    collections::VecDeque,
    fmt, mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, TryLockError},
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame};

use crate::{
    error::BoxError,
    replay::{chunks::Chunks, turn::SharedTurn},
};

pub(crate) type SharedBody<B> = Arc<Shared<B>>;

pub(crate) struct Shared<B> {
    state: Mutex<BodyState<B>>,
    pub(crate) turn: SharedTurn,
}

pub(crate) struct BodyState<B> {
    pub(crate) unread: Unread<B>,
    /// What was read and is not yet sent by the second attempt.
    pub(crate) chunks: Chunks,
    /// Usually one map. Another one comes after it and does not replace it, because that would drop it.
    pub(crate) trailers: VecDeque<HeaderMap>,
    trailer_bytes: usize,
}

/// The part of the body that is not read yet.
pub(crate) enum Unread<B> {
    Here(Pin<Box<B>>),
    Ended,
    /// It failed when the first attempt had just lost its turn.
    Failed(BoxError),
    /// An attempt has taken it for good, or it panicked.
    Gone,
}

/// What an attempt reads from after a poll.
pub(crate) enum Next<B> {
    Same,
    /// The body itself, because the other attempt does not need it any more.
    Own(Pin<Box<B>>),
    End,
}

pub(crate) type PolledFrame = Poll<Option<Result<Frame<Bytes>, BoxError>>>;

impl<B> Shared<B> {
    pub(crate) fn new(body: B) -> Self {
        let unread = Unread::Here(Box::pin(body));
        let state = BodyState { unread, chunks: Chunks::default(), trailers: VecDeque::default(), trailer_bytes: 0 };
        Self { state: Mutex::new(state), turn: SharedTurn::new() }
    }

    /// Locks the state, if it is not locked. A body that has panicked is `Gone`.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, BodyState<B>>> {
        match self.state.try_lock() {
            Ok(state) => Some(state),
            Err(TryLockError::WouldBlock) => None,
            Err(TryLockError::Poisoned(poisoned)) => {
                let mut state = poisoned.into_inner();
                state.unread = Unread::Gone;
                Some(state)
            }
        }
    }
}

impl<B> Unread<B> {
    /// Takes the body out, if it is here.
    pub(crate) fn take(&mut self) -> Option<Pin<Box<B>>> {
        match mem::replace(self, Self::Gone) {
            Self::Here(body) => Some(body),
            other => {
                *self = other;
                None
            }
        }
    }
}

impl<B> BodyState<B> {
    /// Takes the body out for the first attempt alone, if it is here. Nothing is kept any more.
    pub(crate) fn let_go(&mut self) -> Option<Pin<Box<B>>> {
        self.chunks = Chunks::default();
        self.unread.take()
    }

    /// Asks the body something. Returns `at_end` for a body that was read to its end, and the default for one that is not here.
    pub(crate) fn ask<A: Default>(&self, at_end: A, question: impl FnOnce(&B) -> A) -> A {
        match &self.unread {
            Unread::Here(body) => question(body),
            Unread::Ended => at_end,
            Unread::Failed(_) | Unread::Gone => A::default(),
        }
    }

    /// Returns whether so many bytes more are within the cap.
    pub(crate) fn fits(&self, bytes: usize, cap: usize) -> bool {
        self.chunks.len() + self.trailer_bytes + bytes <= cap
    }

    /// Keeps a share of a frame, if that is within the cap. Returns whether it did.
    pub(crate) fn keep(&mut self, frame: &Frame<Bytes>, cap: usize) -> bool {
        if let Some(chunk) = frame.data_ref() {
            let fits = self.fits(chunk.len(), cap);
            if fits {
                self.chunks.push(chunk.clone());
            }
            return fits;
        }
        let Some(trailers) = frame.trailers_ref() else { return false };
        let bytes = trailers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        let fits = self.fits(bytes, cap);
        if fits {
            self.trailer_bytes += bytes;
            self.trailers.push_back(trailers.clone());
        }
        fits
    }
}

type PollFrame<B, D, E> = for<'a, 'b, 'c> fn(Pin<&'a mut B>, &'b mut Context<'c>) -> Poll<Option<Result<Frame<D>, E>>>;

/// Polls a body once, with its data as `Bytes`. Data that is `Bytes` already is shared, not copied.
pub(crate) fn poll_frame<B>(body: Pin<&mut B>, task: &mut Context<'_>) -> PolledFrame
where
    B: Body<Error: Into<BoxError>> + 'static,
{
    let poll: PollFrame<B, B::Data, B::Error> = B::poll_frame;
    // The compiler decides this. A frame that needs no conversion is not even moved.
    if let Some(poll) = (&poll as &dyn Any).downcast_ref::<PollFrame<B, Bytes, BoxError>>() {
        return poll(body, task);
    }
    poll(body, task).map(|frame| {
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
