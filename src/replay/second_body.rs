//! The second attempt's part of a body.

use std::{
    mem,
    task::{Context, Poll},
};

use http_body::{Body, Frame};

use crate::{
    error::BoxError,
    replay::body_state::{IncompleteBody, Next, PolledFrame, SharedBody, Unread, poll_frame},
};

/// Sends what was kept, and then the rest of the body.
pub(crate) struct SecondBody<B>(SharedBody<B>);

impl<B> SecondBody<B> {
    pub(crate) fn new(shared: SharedBody<B>) -> Self {
        Self(shared)
    }
}

impl<B> SecondBody<B>
where
    B: Body<Error: Into<BoxError>> + 'static,
{
    /// Polls once. Sets `next` if the second attempt reads from something else after this.
    pub(crate) fn poll(&self, task: &mut Context<'_>, next: &mut Next<B>) -> PolledFrame {
        let Some(mut state) = self.0.try_lock().or_else(|| {
            self.0.turn.second.register(task.waker());
            // It may have been unlocked before the waker was registered.
            self.0.try_lock()
        }) else {
            return Poll::Pending;
        };
        if let Some(chunk) = state.chunks.pop() {
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        if let Some(trailers) = state.trailers.pop_front() {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        // `Gone` stays if the poll panics.
        let unread = mem::replace(&mut state.unread, Unread::Gone);
        drop(state);
        let (rest, polled) = match unread {
            Unread::Here(mut body) => {
                let polled = poll_frame(body.as_mut(), task);
                (Next::Own(body), polled)
            }
            Unread::Failed(error) => (Next::End, Poll::Ready(Some(Err(error)))),
            Unread::Gone => (Next::End, Poll::Ready(Some(Err(IncompleteBody::Lost.into())))),
            Unread::Ended => (Next::End, Poll::Ready(None)),
        };
        *next = rest;
        polled
    }

    pub(crate) fn is_at_end(&self) -> bool {
        let Some(state) = self.0.try_lock() else { return false };
        state.chunks.is_empty() && state.trailers.is_empty() && state.ask(true, B::is_end_stream)
    }
}
