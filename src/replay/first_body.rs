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
        BodyState, IncompleteBody, Next, PolledFrame, SharedBody, Turn, Unread, lock, poll_frame, wait, wake,
    },
};

/// Passes each frame on, and keeps a share of it while a second attempt may need it.
pub(crate) struct FirstBody<B> {
    shared: SharedBody<B>,
    cap: usize,
}

impl<B> FirstBody<B> {
    pub(crate) fn new(shared: SharedBody<B>, cap: usize) -> Self {
        Self { shared, cap }
    }
}

impl<B> FirstBody<B>
where
    B: Body<Error: Into<BoxError>>,
{
    pub(crate) fn poll(&self, task: &mut Context<'_>) -> (Next<B>, PolledFrame) {
        let body = {
            let mut state = lock(&self.shared);
            match state.turn {
                Turn::Second => return superseded(),
                Turn::Undecided if state.unread.is_at_end() => return (Next::End, Poll::Ready(None)),
                Turn::Undecided => return (Next::Shared, wait(&mut state.first, task)),
                Turn::First => match mem::replace(&mut state.unread, Unread::Taken) {
                    Unread::Here(body) => body,
                    Unread::Gone => {
                        state.unread = Unread::Gone;
                        return (Next::End, Poll::Ready(Some(Err(IncompleteBody::Lost.into()))));
                    }
                    over => {
                        state.unread = over;
                        return (Next::End, Poll::Ready(None));
                    }
                },
            }
        };
        let mut taken = TakenBody { attempt: self, body: Some(body) };
        let polled = taken.poll(task);
        taken.put_back(polled, task)
    }

    pub(crate) fn is_at_end(&self) -> bool {
        let state = lock(&self.shared);
        state.turn != Turn::Second && state.unread.is_at_end()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        let state = lock(&self.shared);
        match &state.unread {
            Unread::Here(body) if state.turn != Turn::Second => body.size_hint(),
            Unread::Ended if state.turn != Turn::Second => SizeHint::with_exact(0),
            _ => SizeHint::default(),
        }
    }
}

fn superseded<B>() -> (Next<B>, PolledFrame) {
    (Next::End, Poll::Ready(Some(Err(IncompleteBody::Superseded.into()))))
}

/// The body while it is taken out for a poll.
struct TakenBody<'a, B> {
    attempt: &'a FirstBody<B>,
    body: Option<Pin<Box<B>>>,
}

impl<B> TakenBody<'_, B>
where
    B: Body<Error: Into<BoxError>>,
{
    fn poll(&mut self, task: &mut Context<'_>) -> PolledFrame {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        poll_frame(body.as_mut(), task)
    }

    fn put_back(mut self, polled: PolledFrame, task: &Context<'_>) -> (Next<B>, PolledFrame) {
        // Called before the body leaves `self`: it may panic.
        let is_at_end = self.body.as_ref().is_some_and(Body::is_end_stream);
        let Some(body) = self.body.take() else { return (Next::End, polled) };
        let FirstBody { shared, cap } = self.attempt;
        let is_alone = Arc::strong_count(shared) == 1;
        let mut state = lock(shared);
        if state.turn == Turn::Second {
            leave_to_second(&mut state, body, polled);
            let waiting = state.second.take();
            drop(state);
            wake(waiting);
            return superseded();
        }
        let is_kept = match &polled {
            Poll::Ready(Some(Ok(frame))) => !is_alone && state.keep(frame, *cap),
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
        let (unread, next) = match &polled {
            Poll::Ready(None) => (Unread::Ended, Next::End),
            Poll::Ready(Some(_)) if is_at_end => (Unread::Here(body), Next::End),
            Poll::Ready(Some(_)) => (Unread::Here(body), Next::Shared),
            Poll::Pending => {
                let _: PolledFrame = wait(&mut state.first, task);
                (Unread::Here(body), Next::Shared)
            }
        };
        state.unread = unread;
        (next, polled)
    }
}

impl<B> Drop for TakenBody<'_, B> {
    /// Does something only if the body panicked.
    fn drop(&mut self) {
        if self.body.take().is_some() {
            let mut state = lock(&self.attempt.shared);
            state.unread = Unread::Gone;
            let waiting = state.second.take();
            drop(state);
            wake(waiting);
        }
    }
}

/// Leaves the result of a poll to the second attempt, because the first lost its turn during the poll.
fn leave_to_second<B>(state: &mut BodyState<B>, body: Pin<Box<B>>, polled: PolledFrame) {
    state.unread = match polled {
        Poll::Ready(Some(Ok(frame))) if state.keep(&frame, usize::MAX) => Unread::Here(body),
        Poll::Ready(Some(Ok(_))) => Unread::Gone,
        Poll::Ready(Some(Err(error))) => Unread::Failed(error),
        Poll::Ready(None) => Unread::Ended,
        Poll::Pending => Unread::Here(body),
    };
}
