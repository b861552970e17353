//! A request's body, and whether it makes progress. The timeout starts again with each chunk, so a long upload is not
//! mistaken for a slow upstream.

use std::{
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use http_body::{Body, Frame, SizeHint};
use hyper::body::{Bytes, Incoming};
use tokio::time::{Instant, timeout_at};

/// A body that records when it was last read.
pub struct Upload {
    body: Incoming,
    progress: Arc<Progress>,
}

pub struct Progress {
    /// When a part of the body was last read.
    last: Mutex<Instant>,
    incomplete: AtomicBool,
}

/// There was no response and no progress for too long.
pub struct Stalled;

impl Upload {
    pub fn new(body: Incoming) -> (Self, Arc<Progress>) {
        let progress = Arc::new(Progress { last: Mutex::new(Instant::now()), incomplete: AtomicBool::new(false) });
        (Self { body, progress: Arc::clone(&progress) }, progress)
    }
}

impl Progress {
    /// Waits for `response`, at most for `limit` after the body was last read.
    pub async fn timeout<F: Future>(&self, limit: Duration, response: F) -> Result<F::Output, Stalled> {
        let mut response = pin!(response);
        loop {
            let deadline = self.last() + limit;
            match timeout_at(deadline, response.as_mut()).await {
                Ok(response) => return Ok(response),
                Err(_) if self.last() + limit > deadline => {}
                Err(_) => return Err(Stalled),
            }
        }
    }

    /// Returns whether the user did not finish the request.
    pub fn is_incomplete(&self) -> bool {
        self.incomplete.load(Relaxed)
    }

    fn last(&self) -> Instant {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(task);
        if let Poll::Ready(frame) = &frame {
            self.progress.record();
            if let Some(Err(_)) = frame {
                self.progress.incomplete.store(true, Relaxed);
            }
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
