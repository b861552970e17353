//! One body, read by the first attempt and, if that is rejected, to its end by the second.
//!
//! The body is passed around like a baton, so that no lock is held while it is polled, which runs somebody else's code:
//!
//! - The first attempt takes it out for a poll and puts it back, and a share of each frame stays here, up to the cap.
//! - The keeper ends the first attempt's turn. If it hands over to a second attempt, a frame of a poll that was under way
//!   at that moment stays here and is not given to the first; so no chunk is lost, and none is sent twice in one attempt.
//! - The second attempt sends what was kept and then takes the baton for good. While it is out, the second waits, and is
//!   woken when it comes back.
//! - A first attempt that lost its turn before its end waits for the decision, because its answer may still be wanted. Is
//!   there to be a second, it gets an error at once: it must not look finished to its server, nor keep the connection that
//!   the second may need.
//! - A poll that panics drops the baton, and the second attempt gets an error.
//!
//! Each attempt holds one handle, so that the first knows when nobody will come after it: it is alone.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use crate::error::BoxError;
use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame};

use crate::replay::{chunks::Chunks, first::First, second::Second};

pub(crate) type Shared<B> = Arc<Mutex<State<B>>>;

pub(crate) struct State<B> {
    pub(crate) rest: Rest<B>,
    pub(crate) turn: Turn,
    /// What was read, and not yet sent by the second attempt.
    pub(crate) chunks: Chunks,
    pub(crate) trailers: Option<HeaderMap>,
    /// The first attempt waits for the decision, or for more of the body.
    pub(crate) first: Option<Waker>,
    /// The second attempt waits for the baton.
    pub(crate) second: Option<Waker>,
}

/// The part of the body that was not read.
pub(crate) enum Rest<B> {
    Here(Pin<Box<B>>),
    /// The first attempt polls it.
    Out,
    Ended,
    /// It failed when the first attempt had just lost its turn.
    Failed(BoxError),
    /// It was over the cap, failed, or is lost by a panic: it cannot be sent again.
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    First,
    /// It is being decided whether there will be a second attempt.
    Undecided,
    Second,
}

/// What an attempt goes on with after a poll.
pub(crate) enum Next<B> {
    Shared,
    /// The other attempt has no part in it any more.
    Own(Pin<Box<B>>),
    End,
}

pub(crate) type Polled = Poll<Option<Result<Frame<Bytes>, BoxError>>>;

/// Decides whether there is a second attempt. Dropped without having given the turn, it gives it back.
pub(crate) struct Keeper<B>(Option<Shared<B>>);

/// A body for the first attempt, and its keeper.
pub(crate) fn split<B>(body: B, cap: usize) -> (First<B>, Keeper<B>) {
    let shared = Arc::new(Mutex::new(State {
        rest: Rest::Here(Box::pin(body)),
        turn: Turn::First,
        chunks: Chunks::default(),
        trailers: None,
        first: None,
        second: None,
    }));
    (First::new(Arc::clone(&shared), cap), Keeper(Some(shared)))
}

impl<B> Keeper<B> {
    /// Ends the first attempt's turn for the time being.
    pub(crate) fn pause(&self) {
        if let Some(shared) = &self.0 {
            let mut state = lock(shared);
            if state.turn == Turn::First {
                state.turn = Turn::Undecided;
            }
        }
    }

    /// Gives the turn to a second attempt, if the whole body can be sent again.
    pub(crate) fn take_over(mut self) -> Option<Second<B>> {
        let mut state = lock(self.0.as_ref()?);
        if matches!(state.rest, Rest::Gone) {
            return None;
        }
        state.turn = Turn::Second;
        let waiting = state.first.take();
        drop(state);
        wake(waiting);
        self.0.take().map(Second::new)
    }
}

impl<B> Drop for Keeper<B> {
    fn drop(&mut self) {
        let Some(shared) = &self.0 else { return };
        let mut state = lock(shared);
        if state.turn == Turn::Undecided {
            state.turn = Turn::First;
            let waiting = state.first.take();
            drop(state);
            wake(waiting);
        }
    }
}

impl<B: Body> Rest<B> {
    pub(crate) fn is_at_end(&self) -> bool {
        match self {
            Self::Here(body) => body.is_end_stream(),
            Self::Ended => true,
            Self::Out | Self::Failed(_) | Self::Gone => false,
        }
    }
}

pub(crate) fn lock<B>(shared: &Mutex<State<B>>) -> MutexGuard<'_, State<B>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn wait(slot: &mut Option<Waker>, task: &Context<'_>) -> Polled {
    match slot {
        Some(waker) => waker.clone_from(task.waker()),
        None => *slot = Some(task.waker().clone()),
    }
    Poll::Pending
}

/// Only with no lock held: a waker is somebody else's code.
pub(crate) fn wake(waiting: Option<Waker>) {
    if let Some(waker) = waiting {
        waker.wake();
    }
}

/// One poll of somebody's body, in bytes. They are shared, not copied, where they are `Bytes` already.
pub(crate) fn poll<B>(body: Pin<&mut B>, task: &mut Context<'_>) -> Polled
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

/// Why an attempt's body broke off. The HTTP client sees it.
#[derive(Debug)]
pub(crate) enum Broken {
    Superseded,
    Lost,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Superseded => "the request was rejected and is sent once more: its first attempt ends here",
            Self::Lost => "the request's body panicked",
        })
    }
}

impl std::error::Error for Broken {}
