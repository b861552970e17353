//! The body of an answer that may have been looked at.

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::judge_body::first_bytes::{FirstBytes, Read};

pin_project! {
    /// The body of an answer. Its first bytes may have been [judged](crate::BearerAuthLayer::judge_body).
    ///
    /// It behaves as the wrapped body does: the same frames, errors, size hints and end, whether or not some of it was read
    /// before. Where the answers need the type of body that the inner service's answers have, set a function with
    /// [`JudgeBodyLayer::body`](crate::judge_body::JudgeBodyLayer::body).
    pub struct JudgedBody<B: Body> {
        #[pin]
        state: State<B>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<B: Body> {
        Unread { #[pin] body: B },
        Read { read: VecDeque<Read<B>>, rest: Pin<Box<B>> },
    }
}

impl<B: Body> JudgedBody<B> {
    pub(super) fn unread(body: B) -> Self {
        Self { state: State::Unread { body } }
    }

    pub(super) fn read(first_bytes: FirstBytes<B>) -> Self {
        let (rest, read) = first_bytes.into_parts();
        Self { state: State::Read { read, rest } }
    }
}

impl<B: Body> Body for JudgedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match self.project().state.project() {
            StateProj::Unread { body } => body.poll_frame(task),
            StateProj::Read { read, rest } => match read.pop_front() {
                Some(first) => Poll::Ready(first.polled),
                None => rest.as_mut().poll_frame(task),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.state {
            State::Unread { body } => body.is_end_stream(),
            // Nothing is read of a body that says that it is at its end.
            State::Read { read, rest } => read.is_empty() && rest.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.state {
            State::Unread { body } => body.size_hint(),
            State::Read { read, rest } => read.front().map_or_else(|| rest.size_hint(), |first| first.hint_before),
        }
    }
}

impl<B: Body> fmt::Debug for JudgedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JudgedBody")
    }
}
