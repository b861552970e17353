//! The body of each attempt.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use crate::error::BoxError;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::replay::{
    first::First,
    second::Second,
    shared::{Next, Polled, poll},
};

pin_project! {
    /// A body that can be sent a second time, as [`Tee`](crate::replay::Tee) makes it of any other.
    ///
    /// In the first attempt it passes on what comes, as it comes, and keeps a share of it. In the second it gives what was kept,
    /// and then goes on with what the first attempt had not read. Size hint and end of stream are those of the body
    /// within, at each moment of both.
    ///
    /// Its error is [`BoxError`]: the error of the body within, or, in a first attempt that is given up for the second, one
    /// of its own, so that the server never takes half a body for a whole one.
    pub struct ReplayBody<B> {
        #[pin]
        inner: Inner<B>,
    }
}

pin_project! {
    #[project = InnerProj]
    enum Inner<B> {
        // Nothing is kept.
        Plain { #[pin] body: B },
        // Nothing is kept any more.
        Own { body: Pin<Box<B>> },
        First { first: First<B> },
        Second { second: Second<B>, hint: SizeHint },
        End,
    }
}

impl<B> ReplayBody<B> {
    /// A body that is sent once, until a [`Tee`](crate::replay::Tee) finds it.
    pub fn new(body: B) -> Self {
        Self { inner: Inner::Plain { body } }
    }

    pub(crate) fn first(first: First<B>) -> Self {
        Self { inner: Inner::First { first } }
    }

    /// `hint` is what the first attempt's was at its beginning, so that the second has the same framing.
    pub(crate) fn second(second: Second<B>, hint: SizeHint) -> Self {
        Self { inner: Inner::Second { second, hint } }
    }

    pub(crate) fn empty() -> Self {
        Self { inner: Inner::End }
    }

    /// The body within, if it is whole and nothing else has a part in it.
    pub(crate) fn into_plain(self) -> Result<B, Self> {
        match self.inner {
            Inner::Plain { body } => Ok(body),
            inner => Err(Self { inner }),
        }
    }
}

impl<B> Body for ReplayBody<B>
where
    B: Body<Error: Into<BoxError>>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut inner = self.project().inner;
        let (next, polled) = match inner.as_mut().project() {
            InnerProj::Plain { body } => return poll(body, task),
            InnerProj::Own { body } => return poll(body.as_mut(), task),
            InnerProj::End => return Poll::Ready(None),
            InnerProj::First { first } => first.poll(task),
            InnerProj::Second { second, hint } => {
                let (next, polled) = second.poll(task);
                count_down(hint, &polled);
                (next, polled)
            }
        };
        match next {
            Next::Shared => {}
            Next::Own(body) => inner.set(Inner::Own { body }),
            Next::End => inner.set(Inner::End),
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Plain { body } => body.is_end_stream(),
            Inner::Own { body } => body.is_end_stream(),
            Inner::First { first } => first.is_at_end(),
            Inner::Second { second, .. } => second.is_at_end(),
            Inner::End => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Plain { body } => body.size_hint(),
            Inner::Own { body } => body.size_hint(),
            Inner::First { first } => first.size_hint(),
            Inner::Second { hint, .. } => *hint,
            Inner::End => SizeHint::with_exact(0),
        }
    }
}

/// What is left of a size hint after a frame.
fn count_down(hint: &mut SizeHint, polled: &Polled) {
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
        f.write_str(match self.inner {
            Inner::Plain { .. } | Inner::Own { .. } => "ReplayBody(sent once)",
            Inner::First { .. } => "ReplayBody(first attempt)",
            Inner::Second { .. } => "ReplayBody(second attempt)",
            Inner::End => "ReplayBody(at its end)",
        })
    }
}
