//! The body of an attempt.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::{
    error::BoxError,
    replay::{
        body_state::{Next, PolledFrame, poll_frame},
        first_body::FirstBody,
        second_body::SecondBody,
    },
};

pin_project! {
    /// A body that can be sent a second time. [`Tee`](crate::replay::Tee) makes it from any other body.
    ///
    /// In the first attempt it passes each frame on as it comes, and keeps a share of it. In the second attempt it sends what
    /// was kept, and then what the first attempt had not read. In both attempts, the size hint and the end of the stream
    /// are always those of the wrapped body.
    ///
    /// Its error is [`BoxError`]: the error of the wrapped body or, in a first attempt that the second replaces, an error
    /// of this crate, so that the server never takes half a body for a complete one.
    pub struct ReplayBody<B> {
        #[pin]
        attempt: Attempt<B>,
    }
}

pin_project! {
    #[project = AttemptProj]
    enum Attempt<B> {
        // Nothing is kept.
        Plain { #[pin] body: B },
        // Nothing is kept any more.
        Own { body: Pin<Box<B>> },
        First { first: FirstBody<B> },
        Second { second: SecondBody<B>, hint: SizeHint },
        End,
    }
}

impl<B> ReplayBody<B> {
    /// Wraps a body. It is sent once, unless a [`Tee`](crate::replay::Tee) keeps it.
    pub fn new(body: B) -> Self {
        Self { attempt: Attempt::Plain { body } }
    }

    pub(crate) fn first(first: FirstBody<B>) -> Self {
        Self { attempt: Attempt::First { first } }
    }

    /// `hint` is the first attempt's size hint before anything was read, so that both attempts have the same framing.
    pub(crate) fn second(second: SecondBody<B>, hint: SizeHint) -> Self {
        Self { attempt: Attempt::Second { second, hint } }
    }

    pub(crate) fn empty() -> Self {
        Self { attempt: Attempt::End }
    }

    /// Returns the wrapped body, if it is complete and not shared with another attempt.
    pub(crate) fn into_plain(self) -> Result<B, Self> {
        match self.attempt {
            Attempt::Plain { body } => Ok(body),
            attempt => Err(Self { attempt }),
        }
    }
}

impl<B> Body for ReplayBody<B>
where
    B: Body<Error: Into<BoxError>> + 'static,
{
    type Data = Bytes;
    type Error = BoxError;

    #[inline]
    fn poll_frame(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.as_mut().project().attempt.project() {
            AttemptProj::Plain { body } => poll_frame(body, task),
            AttemptProj::Own { body } => poll_frame(body.as_mut(), task),
            AttemptProj::First { first } if first.is_in_turn() => first.poll(task),
            _ => poll_rarely(self.project().attempt, task),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.attempt {
            Attempt::Plain { body } => body.is_end_stream(),
            Attempt::Own { body } => body.is_end_stream(),
            Attempt::First { first } => first.is_at_end(),
            Attempt::Second { second, .. } => second.is_at_end(),
            Attempt::End => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.attempt {
            Attempt::Plain { body } => body.size_hint(),
            Attempt::Own { body } => body.size_hint(),
            Attempt::First { first } => first.size_hint(),
            Attempt::Second { hint, .. } => *hint,
            Attempt::End => SizeHint::with_exact(0),
        }
    }
}

/// Polls an attempt that may read from something else after this.
#[cold]
fn poll_rarely<B>(mut attempt: Pin<&mut Attempt<B>>, task: &mut Context<'_>) -> PolledFrame
where
    B: Body<Error: Into<BoxError>> + 'static,
{
    let mut next = Next::Same;
    let polled = match attempt.as_mut().project() {
        AttemptProj::First { first } => first.poll_out_of_turn(task, &mut next),
        AttemptProj::Second { second, hint } => {
            let polled = second.poll(task, &mut next);
            count_down(hint, &polled);
            polled
        }
        AttemptProj::End | AttemptProj::Plain { .. } | AttemptProj::Own { .. } => Poll::Ready(None),
    };
    match next {
        Next::Same => {}
        Next::Own(body) => attempt.set(Attempt::Own { body }),
        Next::End => attempt.set(Attempt::End),
    }
    polled
}

/// Reduces a size hint by the data of a frame.
fn count_down(hint: &mut SizeHint, polled: &PolledFrame) {
    if let Poll::Ready(Some(Ok(frame))) = polled
        && let Some(data) = frame.data_ref()
    {
        let left = |bytes: u64| bytes.saturating_sub(data.len() as u64);
        let mut rest = SizeHint::new();
        rest.set_lower(left(hint.lower()));
        if let Some(upper) = hint.upper() {
            rest.set_upper(left(upper));
        }
        *hint = rest;
    }
}

impl<B> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.attempt {
            Attempt::Plain { .. } | Attempt::Own { .. } => "ReplayBody(sent once)",
            Attempt::First { .. } => "ReplayBody(first attempt)",
            Attempt::Second { .. } => "ReplayBody(second attempt)",
            Attempt::End => "ReplayBody(at its end)",
        })
    }
}
