//! The rest of a rejected answer, before the request is sent once more.
//!
//! An HTTP/1.1 connection can be used again only when its answer was read to the end. Clients read what is left by
//! themselves if it has come already and is in one piece; a 401 in chunks costs them the connection.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Buf;
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

/// More than this is not worth a connection.
const MOST_BYTES: usize = 32 * 1024;

/// Nor is a wait of more than a few round trips, which is what a new connection costs.
const LONGEST: Duration = Duration::from_millis(100);

pin_project! {
    /// Reads a body to its end, within bounds.
    pub(crate) struct Drain<B> {
        #[pin]
        body: B,
        left: usize,
        deadline: Option<Pin<Box<Sleep>>>,
    }
}

impl<B: Body> Drain<B> {
    /// `None` when there is nothing to read, or more than is worth it.
    pub(crate) fn new(body: B) -> Option<Self> {
        let worth_it = !body.is_end_stream() && body.size_hint().lower() <= MOST_BYTES as u64;
        worth_it.then_some(Self { body, left: MOST_BYTES, deadline: None })
    }
}

impl<B: Body> Future for Drain<B> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        while let Poll::Ready(frame) = this.body.as_mut().poll_frame(task) {
            let Some(Ok(frame)) = frame else { return Poll::Ready(()) };
            let read = frame.data_ref().map_or(0, Buf::remaining);
            match this.left.checked_sub(read) {
                Some(left) => *this.left = left,
                None => return Poll::Ready(()),
            }
        }
        this.deadline.get_or_insert_with(|| Box::pin(sleep(LONGEST))).as_mut().poll(task)
    }
}
