//! The first attempt's part of a body.

use std::{
    mem,
    sync::MutexGuard,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::{
    error::BoxError,
    replay::{
        body_state::{BodyState, IncompleteBody, Next, PolledFrame, Shared, SharedBody, Unread, poll_frame},
        turn::{SharedTurn, Turn},
    },
};

/// Passes each frame on, and keeps a share of it while a second attempt may need it.
pub(crate) struct FirstBody<B> {
    /// `None` if this attempt is at its end.
    shared: Option<SharedBody<B>>,
    limit: Limit,
}

/// How much is kept.
struct Limit {
    cap: usize,
    /// The size of the whole body, if it is known and nothing was read yet.
    whole: Option<u64>,
}

impl<B> FirstBody<B> {
    pub(crate) fn new(shared: SharedBody<B>, cap: usize, whole: Option<u64>) -> Self {
        Self { shared: Some(shared), limit: Limit { cap, whole } }
    }

    /// Returns whether it is the first attempt's turn.
    pub(crate) fn is_in_turn(&self) -> bool {
        self.shared.as_ref().is_some_and(|shared| shared.turn.get() == Turn::First)
    }
}

impl<B> FirstBody<B>
where
    B: Body<Error: Into<BoxError>> + 'static,
{
    /// Polls in its turn.
    ///
    /// A frame has room for trailers, and moving it costs as much as all the rest, more so if it was written just before. So it is
    /// looked at where it is, and only its chunk is moved, after the atomic operation of the clone.
    #[inline]
    pub(crate) fn poll(&mut self, task: &mut Context<'_>) -> PolledFrame {
        let Some(shared) = &self.shared else { return Poll::Ready(None) };
        let wakes_second = shared.turn.wakes_second();
        let Some(mut state) = shared.try_lock() else {
            // Only a second attempt locks it too.
            drop(wakes_second);
            return self.end(IncompleteBody::Superseded);
        };
        let Unread::Here(body) = &mut state.unread else {
            drop(state);
            drop(wakes_second);
            return self.end(IncompleteBody::Lost);
        };
        let on_panic = AloneOnPanic(&shared.turn);
        let polled = poll_frame(body.as_mut(), task);
        let is_at_end = body.is_end_stream();
        mem::forget(on_panic);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(chunk) = frame.data_ref()
            && !is_at_end
            && shared.turn.is_open()
            && state.fits(chunk.len(), self.limit.with(chunk))
        {
            let sent = chunk.clone();
            if let Poll::Ready(Some(Ok(frame))) = polled
                && let Ok(kept) = frame.into_data()
            {
                state.chunks.push(kept);
            }
            drop(state);
            return Poll::Ready(Some(Ok(Frame::data(sent))));
        }
        let (polled, is_over) = note(shared, state, &mut self.limit, polled, is_at_end, task);
        drop(wakes_second);
        if is_over {
            self.shared = None;
        }
        polled
    }

    /// Polls when it is not its turn. Sets `next` if it reads from something else after this.
    pub(crate) fn poll_out_of_turn(&mut self, task: &mut Context<'_>, next: &mut Next<B>) -> PolledFrame {
        let Some(shared) = &self.shared else {
            *next = Next::End;
            return Poll::Ready(None);
        };
        match shared.turn.get() {
            Turn::First => self.poll(task),
            Turn::Second => self.end(IncompleteBody::Superseded),
            Turn::FirstAlone => {
                let Some(mut body) = shared.try_lock().and_then(|mut state| state.let_go()) else {
                    return self.end(IncompleteBody::Lost);
                };
                let polled = poll_frame(body.as_mut(), task);
                *next = Next::Own(body);
                polled
            }
            Turn::Undecided => {
                shared.turn.first.register(task.waker());
                if self.is_at_end() {
                    *next = Next::End;
                    return Poll::Ready(None);
                }
                // The decision may have come before the waker was registered.
                if shared.turn.get() == Turn::Undecided {
                    return Poll::Pending;
                }
                self.poll_out_of_turn(task, next)
            }
        }
    }

    #[cold]
    fn end(&mut self, why: IncompleteBody) -> PolledFrame {
        self.shared = None;
        Poll::Ready(Some(Err(why.into())))
    }
}

impl<B: Body> FirstBody<B> {
    pub(crate) fn is_at_end(&self) -> bool {
        self.ask(true, B::is_end_stream)
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.ask(SizeHint::with_exact(0), B::size_hint)
    }

    fn ask<A: Default>(&self, at_end: A, question: impl FnOnce(&B) -> A) -> A {
        let Some(shared) = &self.shared else { return at_end };
        let _wakes_second = shared.turn.wakes_second();
        let Some(state) = shared.try_lock() else { return A::default() };
        if shared.turn.get() == Turn::Second {
            return A::default();
        }
        let on_panic = AloneOnPanic(&shared.turn);
        let answer = state.ask(at_end, question);
        mem::forget(on_panic);
        answer
    }
}

impl Limit {
    /// Returns how many bytes may be kept, with this chunk. The first chunk of a body that is in memory is all of it, and a share
    /// of that needs no memory.
    #[inline]
    fn with(&mut self, chunk: &Bytes) -> usize {
        if let Some(whole) = self.whole.take()
            && chunk.len() as u64 == whole
        {
            self.cap = self.cap.saturating_add(chunk.len());
        }
        self.cap
    }
}

/// Notes that there will be no second attempt if the body panics, because the body is lost then.
struct AloneOnPanic<'a>(&'a SharedTurn);

impl Drop for AloneOnPanic<'_> {
    fn drop(&mut self) {
        let _ = self.0.change(Turn::FirstAlone, Turn::Second);
    }
}

/// Notes what a poll returned, if it is not simply a chunk that was kept. Returns what the first attempt returns, and whether it is
/// at its end then.
#[cold]
fn note<B>(
    shared: &Shared<B>,
    mut state: MutexGuard<'_, BodyState<B>>,
    limit: &mut Limit,
    polled: PolledFrame,
    is_at_end: bool,
    task: &Context<'_>,
) -> (PolledFrame, bool) {
    if polled.is_pending() {
        shared.turn.first.register(task.waker());
    }
    let is_kept = shared.turn.is_open()
        && match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                let cap = frame.data_ref().map_or(limit.cap, |chunk| limit.with(chunk));
                state.keep(frame, cap)
            }
            Poll::Ready(Some(Err(_))) => false,
            Poll::Ready(None) | Poll::Pending => true,
        };
    if is_kept {
        if matches!(polled, Poll::Ready(None)) {
            let ended = mem::replace(&mut state.unread, Unread::Ended);
            drop(state);
            drop(ended);
            return (polled, true);
        }
        let is_over = is_at_end && polled.is_ready();
        return (polled, is_over);
    }
    if shared.turn.change(Turn::FirstAlone, Turn::Second).is_ok() {
        let not_needed = mem::take(&mut state.chunks);
        drop(state);
        drop(not_needed);
        return (polled, false);
    }
    // The second attempt has got the turn during the poll.
    let not_needed = leave_to_second(&mut state, polled);
    drop(state);
    drop(not_needed);
    (Poll::Ready(Some(Err(IncompleteBody::Superseded.into()))), true)
}

/// Leaves the result of a poll to the second attempt. Returns what the second does not need.
fn leave_to_second<B>(state: &mut BodyState<B>, polled: PolledFrame) -> (Option<Unread<B>>, PolledFrame) {
    let (unread, polled) = match polled {
        Poll::Ready(Some(Err(error))) => (Unread::Failed(error), Poll::Pending),
        Poll::Ready(None) => (Unread::Ended, polled),
        Poll::Ready(Some(Ok(ref frame))) if !state.keep(frame, usize::MAX) => (Unread::Gone, polled),
        Poll::Ready(Some(Ok(_))) | Poll::Pending => return (None, polled),
    };
    (Some(mem::replace(&mut state.unread, unread)), polled)
}
