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
    B: Body<Error: Into<BoxError>>,
{
    pub(crate) fn poll(&self, task: &mut Context<'_>) -> (Next<B>, PolledFrame) {
        let mut state = self.0.lock();
        if let Some(chunk) = state.chunks.pop() {
            return (Next::Shared, Poll::Ready(Some(Ok(Frame::data(chunk)))));
        }
        if matches!(state.unread, Unread::Taken) {
            drop(state);
            self.0.second.register(task.waker());
            // It may have been put back before the waker was registered.
            if matches!(self.0.lock().unread, Unread::Taken) {
                return (Next::Shared, Poll::Pending);
            }
            return self.poll(task);
        }
        if let Some(trailers) = state.trailers.pop_front() {
            return (Next::Shared, Poll::Ready(Some(Ok(Frame::trailers(trailers)))));
        }
        // `Gone` stays if the poll panics.
        match mem::replace(&mut state.unread, Unread::Gone) {
            Unread::Here(mut body) => {
                drop(state);
                let polled = poll_frame(body.as_mut(), task);
                (Next::Own(body), polled)
            }
            Unread::Failed(error) => (Next::End, Poll::Ready(Some(Err(error)))),
            Unread::Gone => (Next::End, Poll::Ready(Some(Err(IncompleteBody::Lost.into())))),
            Unread::Ended | Unread::Taken => (Next::End, Poll::Ready(None)),
        }
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.0.ask(|state| state.chunks.is_empty() && state.trailers.is_empty(), true, B::is_end_stream)
    }
}
