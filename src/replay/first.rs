//! The first attempt's part in a shared body.

use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use crate::error::BoxError;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::replay::shared::{Broken, Next, Polled, Rest, Shared, State, Turn, lock, poll, wait, wake};

/// Passes on what comes, and keeps a share of it while it may be needed.
pub(crate) struct First<B> {
    shared: Shared<B>,
    cap: usize,
}

impl<B> First<B> {
    pub(crate) fn new(shared: Shared<B>, cap: usize) -> Self {
        Self { shared, cap }
    }
}

impl<B> First<B>
where
    B: Body<Error: Into<BoxError>>,
{
    pub(crate) fn poll(&self, task: &mut Context<'_>) -> (Next<B>, Polled) {
        let body = {
            let mut state = lock(&self.shared);
            match state.turn {
                Turn::Second => return superseded(),
                Turn::Undecided if state.rest.is_at_end() => return (Next::End, Poll::Ready(None)),
                Turn::Undecided => return (Next::Shared, wait(&mut state.first, task)),
                Turn::First => match mem::replace(&mut state.rest, Rest::Out) {
                    Rest::Here(body) => body,
                    Rest::Gone => {
                        state.rest = Rest::Gone;
                        return (Next::End, Poll::Ready(Some(Err(Broken::Lost.into()))));
                    }
                    over => {
                        state.rest = over;
                        return (Next::End, Poll::Ready(None));
                    }
                },
            }
        };
        let mut baton = Baton { first: self, body: Some(body) };
        let polled = baton.poll(task);
        baton.give_back(polled, task)
    }

    pub(crate) fn is_at_end(&self) -> bool {
        let state = lock(&self.shared);
        state.turn != Turn::Second && state.rest.is_at_end()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        let state = lock(&self.shared);
        match &state.rest {
            Rest::Here(body) if state.turn != Turn::Second => body.size_hint(),
            Rest::Ended if state.turn != Turn::Second => SizeHint::with_exact(0),
            _ => SizeHint::default(),
        }
    }
}

fn superseded<B>() -> (Next<B>, Polled) {
    (Next::End, Poll::Ready(Some(Err(Broken::Superseded.into()))))
}

/// The body while it is out.
struct Baton<'a, B> {
    first: &'a First<B>,
    body: Option<Pin<Box<B>>>,
}

impl<B> Baton<'_, B>
where
    B: Body<Error: Into<BoxError>>,
{
    fn poll(&mut self, task: &mut Context<'_>) -> Polled {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        poll(body.as_mut(), task)
    }

    fn give_back(mut self, polled: Polled, task: &Context<'_>) -> (Next<B>, Polled) {
        // Asked before the body leaves the baton: it may panic.
        let is_at_end = self.body.as_ref().is_some_and(Body::is_end_stream);
        let Some(body) = self.body.take() else { return (Next::End, polled) };
        let First { shared, cap } = self.first;
        let is_alone = Arc::strong_count(shared) == 1;
        let mut state = lock(shared);
        if state.turn == Turn::Second {
            state.leave_to_second(body, polled);
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
            state.rest = Rest::Gone;
            let not_needed = mem::take(&mut state.chunks);
            drop(state);
            drop(not_needed);
            return (Next::Own(body), polled);
        }
        let (rest, next) = match &polled {
            Poll::Ready(None) => (Rest::Ended, Next::End),
            Poll::Ready(Some(_)) if is_at_end => (Rest::Here(body), Next::End),
            Poll::Ready(Some(_)) => (Rest::Here(body), Next::Shared),
            Poll::Pending => {
                let _: Polled = wait(&mut state.first, task);
                (Rest::Here(body), Next::Shared)
            }
        };
        state.rest = rest;
        (next, polled)
    }
}

impl<B> Drop for Baton<'_, B> {
    /// Does something only when the body panicked.
    fn drop(&mut self) {
        if self.body.take().is_some() {
            let mut state = lock(&self.first.shared);
            state.rest = Rest::Gone;
            let waiting = state.second.take();
            drop(state);
            wake(waiting);
        }
    }
}

impl<B> State<B> {
    /// Keeps a share of a frame, if that is within the cap.
    fn keep(&mut self, frame: &Frame<Bytes>, cap: usize) -> bool {
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

    /// The turn was lost during the poll: what came is the second attempt's.
    fn leave_to_second(&mut self, body: Pin<Box<B>>, polled: Polled) {
        self.rest = match polled {
            Poll::Ready(Some(Ok(frame))) if self.keep(&frame, usize::MAX) => Rest::Here(body),
            Poll::Ready(Some(Ok(_))) => Rest::Gone,
            Poll::Ready(Some(Err(error))) => Rest::Failed(error),
            Poll::Ready(None) => Rest::Ended,
            Poll::Pending => Rest::Here(body),
        };
    }
}
