//! The first attempt's part of a body.

use std::{
    mem,
    pin::Pin,
    sync::{Arc, MutexGuard},
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

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
    began: Option<std::time::Instant>,
}

impl<B> FirstBody<B> {
    pub(crate) fn new(shared: SharedBody<B>, cap: usize, whole: Option<u64>) -> Self {
        Self { shared, cap, whole, began: None }
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
        if state.held.is_some() {
            let p: u64 = std::env::var("PACE").map_or(1, |p| p.parse().unwrap_or(1));
            if p > 1 {
                let b = *self.began.get_or_insert_with(std::time::Instant::now);
                if b.elapsed() < std::time::Duration::from_micros(p) {
                    drop(state);
                    task.waker().wake_by_ref();
                    return (Next::Shared, Poll::Pending);
                }
            }
            return send_held(state);
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
        self.put_back(body, is_at_end, polled, task)
    }

    /// Raises the cap for a body that is in memory: its first chunk is all of it. A share of it costs no memory.
    fn keep_in_memory_body(&mut self, polled: &PolledFrame) {
        if polled.is_ready()
            && let Some(whole) = self.whole.take()
            && let Poll::Ready(Some(Ok(frame))) = polled
            && frame.data_ref().is_some_and(|data| data.len() as u64 == whole && data.len() > self.cap)
        {
            self.cap = self.cap.saturating_add(frame.data_ref().map_or(0, Bytes::len));
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
    fn put_back(
        &self,
        body: Pin<Box<B>>,
        is_at_end: bool,
        mut polled: PolledFrame,
        task: &Context<'_>,
    ) -> (Next<B>, PolledFrame) {
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
        if let Poll::Ready(Some(Ok(frame))) = &mut polled
            && !is_kept
            && !is_alone
        {
            state.held = Some(mem::replace(frame, Frame::data(Bytes::new())));
            state.unread = Unread::Here(body);
            drop(state);
            task.waker().wake_by_ref();
            return (Next::Shared, Poll::Pending);
        }
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
        self.shared.ask(|state| state.held.is_none() && may_ask(state), true, B::is_end_stream)
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        let mut held = 0;
        let may_ask = |state: &BodyState<B>| {
            held = state.held.as_ref().and_then(Frame::data_ref).map_or(0, |data| data.len() as u64);
            may_ask(state)
        };
        let rest = self.shared.ask(may_ask, SizeHint::with_exact(0), B::size_hint);
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(held));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(held));
        }
        hint
    }
}

/// Returns whether the first attempt may ask the body for its size or its end.
fn may_ask<B>(state: &BodyState<B>) -> bool {
    state.turn != Turn::Second
}

/// Sends the frame that passed the cap. After that, the body cannot be sent again.
fn send_held<B>(mut state: MutexGuard<'_, BodyState<B>>) -> (Next<B>, PolledFrame) {
    let frame = state.held.take();
    let unread = mem::replace(&mut state.unread, Unread::Gone);
    let not_needed = mem::take(&mut state.chunks);
    drop(state);
    drop(not_needed);
    let next = if let Unread::Here(body) = unread { Next::Own(body) } else { Next::End };
    (next, Poll::Ready(frame.map(Ok)))
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
