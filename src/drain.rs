//! Reads the rest of a rejected response before the request is sent once more, or while its token is renewed.
//!
//! An HTTP/1.1 connection can be reused only if its response was read to the end. If a response is dropped, clients read
//! the rest themselves only if it has arrived already and is in one piece. A 401 in chunks costs them the connection.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Buf;
use http_body::Body;
use pin_project_lite::pin_project;

use crate::timer::{Sleep, sleep};

/// The most bytes to read. A new connection costs less than reading more.
const MAX_BYTES: usize = 32 * 1024;

/// The longest time to wait. A new connection costs a few round trips, so a longer wait is not worth it.
const MAX_WAIT: Duration = Duration::from_millis(100);

pin_project! {
    /// A future that reads a body to its end, within limits.
    pub(crate) struct Drain<B> {
        #[pin]
        body: B,
        left: usize,
        deadline: Option<Sleep>,
    }
}

impl<B: Body> Drain<B> {
    /// Returns `None` if there is nothing to read, or more than the limit.
    pub(crate) fn new(body: B) -> Option<Self> {
        let worth_it = !body.is_end_stream() && body.size_hint().lower() <= MAX_BYTES as u64;
        worth_it.then_some(Self { body, left: MAX_BYTES, deadline: None })
    }
}

impl<B: Body> Future for Drain<B> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        while let Poll::Ready(frame) = this.body.as_mut().poll_frame(task) {
            let Some(Ok(frame)) = frame else { return Poll::Ready(()) };
            // An empty frame counts as one byte, because a body may send empty frames without end.
            let read = frame.data_ref().map_or(0, Buf::remaining).max(1);
            match this.left.checked_sub(read) {
                Some(left) => *this.left = left,
                None => return Poll::Ready(()),
            }
        }
        this.deadline.get_or_insert_with(|| Box::pin(sleep(MAX_WAIT))).as_mut().poll(task)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use futures_util::{FutureExt, stream};
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;

    #[test]
    fn empty_chunks_without_end_are_not_read_for_ever() {
        let empty = stream::repeat_with(|| Ok::<_, Infallible>(Frame::data(Bytes::new())));
        assert_eq!(Drain::new(StreamBody::new(empty)).unwrap().now_or_never(), Some(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stalls_is_read_for_100_ms() {
        let began = tokio::time::Instant::now();
        let stalled = stream::pending::<Result<Frame<Bytes>, Infallible>>();
        Drain::new(StreamBody::new(stalled)).unwrap().await;
        assert_eq!(began.elapsed(), MAX_WAIT);
        assert!(MAX_WAIT.as_millis() <= 100 && MAX_BYTES <= 32 << 10, "docs/security.md promises it");
    }

    #[test]
    fn outside_a_runtime_the_wait_ends_too() {
        let stalled = stream::pending::<Result<Frame<Bytes>, Infallible>>();
        futures::executor::block_on(Drain::new(StreamBody::new(stalled)).unwrap());
    }
}
