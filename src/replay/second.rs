//! The second attempt's part in a shared body.

use std::{
    mem,
    task::{Context, Poll},
};

use crate::error::BoxError;
use http_body::{Body, Frame};

use crate::replay::shared::{Broken, Next, Polled, Rest, Shared, lock, poll, wait};

/// Sends what was kept, and then the rest.
pub(crate) struct Second<B>(Shared<B>);

impl<B> Second<B> {
    pub(crate) fn new(shared: Shared<B>) -> Self {
        Self(shared)
    }
}

impl<B> Second<B>
where
    B: Body<Error: Into<BoxError>>,
{
    pub(crate) fn poll(&self, task: &mut Context<'_>) -> (Next<B>, Polled) {
        let mut state = lock(&self.0);
        if let Some(chunk) = state.chunks.pop() {
            return (Next::Shared, Poll::Ready(Some(Ok(Frame::data(chunk)))));
        }
        if matches!(state.rest, Rest::Out) {
            return (Next::Shared, wait(&mut state.second, task));
        }
        if let Some(trailers) = state.trailers.take() {
            return (Next::Shared, Poll::Ready(Some(Ok(Frame::trailers(trailers)))));
        }
        // Lost, should the poll panic.
        match mem::replace(&mut state.rest, Rest::Gone) {
            Rest::Here(mut body) => {
                drop(state);
                let polled = poll(body.as_mut(), task);
                (Next::Own(body), polled)
            }
            Rest::Failed(error) => (Next::End, Poll::Ready(Some(Err(error)))),
            Rest::Gone => (Next::End, Poll::Ready(Some(Err(Broken::Lost.into())))),
            Rest::Ended | Rest::Out => (Next::End, Poll::Ready(None)),
        }
    }

    pub(crate) fn is_at_end(&self) -> bool {
        let state = lock(&self.0);
        state.chunks.is_empty() && state.trailers.is_none() && state.rest.is_at_end()
    }
}
