//! A response's body, which ends with an error if the upstream stops sending it.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use http_body::{Body, Frame, SizeHint};
use hyper::body::{Bytes, Incoming};
use tokio::time::{Instant, Sleep, sleep};
use tower::BoxError;

use crate::upstream::Connection;

pub struct Download {
    body: Incoming,
    /// How long the next part may take, from when the user's side asks for it. A slow user does not count.
    limit: Duration,
    connection: Connection,
    deadline: Option<Pin<Box<Sleep>>>,
    is_waiting: bool,
}

impl Download {
    pub fn new(body: Incoming, limit: Duration, connection: Connection) -> Self {
        Self { body, limit, connection, deadline: None, is_waiting: false }
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(task) {
            this.is_waiting = false;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let deadline = this.deadline.get_or_insert_with(|| Box::pin(sleep(this.limit)));
        if !this.is_waiting {
            this.is_waiting = true;
            deadline.as_mut().reset(Instant::now() + this.limit);
        }
        ready!(deadline.as_mut().poll(task));
        this.connection.give_up();
        tracing::warn!(timeout = ?this.limit, "the upstream did not send the rest of its response in time");
        Poll::Ready(Some(Err("the upstream stopped sending its response".into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
