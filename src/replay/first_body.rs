//! The first attempt's part of a body.

use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http_body::{Body, SizeHint};

use crate::{
    error::BoxError,
    replay::body_state::{
        BodyState, IncompleteBody, LostOnPanic, Next, PolledFrame, SharedBody, Turn, Unread, poll_frame,
    },
};

/// Passes each frame on, and keeps a share of it while a second attempt may need it.
pub(crate) struct FirstBody<B> {
    shared: SharedBody<B>,
    cap: usize,
    /// The size of the whole body, if it is known and nothing was read yet.
    whole: Option<u64>,
}

impl<B> FirstBody<B> {
    pub(crate) fn new(shared: SharedBody<B>, cap: usize, whole: Option<u64>) -> Self {
        Self { shared, cap, whole }
    }
}

impl<B> FirstBody<B>
where
    B: Body<Error: Into<BoxError>>,
{
    pub(crate) fn poll(&mut self, task: &mut Context<'_>) -> (Next<B>, PolledFrame) {
        let mut state = self.shared.lock();
        match state.turn {
            Turn::First => {}
            Turn::Undecided => {
                drop(state);
                return self.wait_for_decision(task);
            }
            Turn::Second => return superseded(),
        }
        let Some(mut body) = state.unread.take() else {
            let is_lost = matches!(state.unread, Unread::Gone);
            let polled = is_lost.then(|| Err(IncompleteBody::Lost.into()));
            return (Next::End, Poll::Ready(polled));
        };
        drop(state);
        let lost = LostOnPanic(&self.shared);
        let polled = poll_frame(body.as_mut(), task);
        let is_at_end = body.is_end_stream();
        if polled.is_pending() {
            self.shared.first.register(task.waker());
        }
        lost.disarm();
        self.keep_in_memory_body(&polled);
        self.put_back(body, is_at_end, polled)
    }

    /// Raises the cap for a body that is in memory: its first chunk is all of it. A share of that needs no memory.
    fn keep_in_memory_body(&mut self, polled: &PolledFrame) {
        let Poll::Ready(polled) = polled else { return };
        if let Some(whole) = self.whole.take()
            && let Some(Ok(frame)) = polled
            && let Some(data) = frame.data_ref()
            && data.len() as u64 == whole
        {
            self.cap = self.cap.saturating_add(data.len());
        }
    }

    /// Waits for the decision, unless the body is at its end.
    fn wait_for_decision(&mut self, task: &mut Context<'_>) -> (Next<B>, PolledFrame) {
        self.shared.first.register(task.waker());
        if self.is_at_end() {
            return (Next::End, Poll::Ready(None));
        }
        // It may have come before the waker was registered.
        if self.shared.lock().turn == Turn::Undecided {
            return (Next::Shared, Poll::Pending);
        }
        self.poll(task)
    }

    /// Puts the body back after a poll. `is_at_end` is what it says after that.
    fn put_back(&self, body: Pin<Box<B>>, is_at_end: bool, polled: PolledFrame) -> (Next<B>, PolledFrame) {
        let is_alone = Arc::strong_count(&self.shared) == 1;
        let mut state = self.shared.lock();
        if state.turn == Turn::Second {
            let not_needed = leave_to_second(&mut state, body, polled);
            drop(state);
            self.shared.second.wake();
            drop(not_needed);
            return superseded();
        }
        let is_kept = match &polled {
            Poll::Ready(Some(Ok(frame))) => !is_alone && state.keep(frame, self.cap),
            Poll::Ready(Some(Err(_))) => false,
            Poll::Ready(None) | Poll::Pending => !is_alone,
        };
        if !is_kept {
            state.unread = Unread::Gone;
            let not_needed = mem::take(&mut state.chunks);
            drop(state);
            drop(not_needed);
            return (Next::Own(body), polled);
        }
        if matches!(polled, Poll::Ready(None)) {
            state.unread = Unread::Ended;
            drop(state);
            drop(body);
            return (Next::End, polled);
        }
        state.unread = Unread::Here(body);
        let next = if is_at_end && polled.is_ready() { Next::End } else { Next::Shared };
        (next, polled)
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.shared.ask(may_ask, true, B::is_end_stream)
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.shared.ask(may_ask, SizeHint::with_exact(0), B::size_hint)
    }
}

/// Returns whether the first attempt may ask the body for its size or its end.
fn may_ask<B>(state: &BodyState<B>) -> bool {
    state.turn != Turn::Second
}

fn superseded<B>() -> (Next<B>, PolledFrame) {
    (Next::End, Poll::Ready(Some(Err(IncompleteBody::Superseded.into()))))
}

/// Leaves the result of a poll to the second attempt, because the first lost its turn during the poll. Returns what the second
/// does not need.
fn leave_to_second<B>(
    state: &mut BodyState<B>,
    body: Pin<Box<B>>,
    polled: PolledFrame,
) -> (Option<Pin<Box<B>>>, PolledFrame) {
    let (unread, body, polled) = match polled {
        Poll::Ready(Some(Err(error))) => (Unread::Failed(error), Some(body), Poll::Pending),
        Poll::Ready(None) => (Unread::Ended, Some(body), polled),
        Poll::Ready(Some(Ok(ref frame))) if !state.keep(frame, usize::MAX) => (Unread::Gone, Some(body), polled),
        Poll::Ready(Some(Ok(_))) | Poll::Pending => (Unread::Here(body), None, polled),
    };
    state.unread = unread;
    (body, polled)
}
