//! What the two attempts of a request share of its body. It knows neither of them.
//!
//! The first attempt takes the body out for a poll and puts it back, so that no lock is held while the body, which is
//! user code, is polled. `keeper.rs` has the rules for who may read.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame};

use crate::{error::BoxError, replay::chunks::Chunks};

pub(crate) type SharedBody<B> = Arc<Mutex<BodyState<B>>>;

pub(crate) struct BodyState<B> {
    pub(crate) unread: Unread<B>,
    pub(crate) turn: Turn,
    /// What was read and is not yet sent by the second attempt.
    pub(crate) chunks: Chunks,
    pub(crate) trailers: Option<HeaderMap>,
    /// Wakes the first attempt, which waits for the decision or for more of the body.
    pub(crate) first: Option<Waker>,
    /// Wakes the second attempt, which waits until the first has put the body back.
    pub(crate) second: Option<Waker>,
}

/// The part of the body that is not read yet.
pub(crate) enum Unread<B> {
    Here(Pin<Box<B>>),
    /// The first attempt has taken it out, for a poll.
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

impl<B> BodyState<B> {
    /// Keeps a share of a frame, if that is within the cap. Returns whether it did.
    pub(crate) fn keep(&mut self, frame: &Frame<Bytes>, cap: usize) -> bool {
        let trailers = self.trailers.iter().chain(frame.trailers_ref()).flatten();
        let trailers: usize = trailers.map(|(name, value)| name.as_str().len() + value.len()).sum();
        let data = frame.data_ref();
        let fits = self.chunks.len() + trailers + data.map_or(0, Bytes::len) <= cap;
        match (data, frame.trailers_ref()) {
            (Some(data), _) if fits => self.chunks.push(data),
            (_, Some(trailers)) if fits => self.trailers = Some(trailers.clone()),
            _ => return false,
        }
        true
    }
}

impl<B: Body> Unread<B> {
    pub(crate) fn is_at_end(&self) -> bool {
        match self {
            Self::Here(body) => body.is_end_stream(),
            Self::Ended => true,
            Self::Taken | Self::Failed(_) | Self::Gone => false,
        }
    }
}

pub(crate) fn lock<B>(shared: &Mutex<BodyState<B>>) -> MutexGuard<'_, BodyState<B>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Stores the task's waker in `slot`.
pub(crate) fn wait(slot: &mut Option<Waker>, task: &Context<'_>) -> PolledFrame {
    match slot {
        Some(waker) => waker.clone_from(task.waker()),
        None => *slot = Some(task.waker().clone()),
    }
    Poll::Pending
}

/// Wakes an attempt. Call it without the lock, because a waker may run user code.
pub(crate) fn wake(waiting: Option<Waker>) {
    if let Some(waker) = waiting {
        waker.wake();
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
