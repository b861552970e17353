//! A request's body on its way, and whether it moves: a long upload is no slow upstream.

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

/// A body that notes when it was last read.
pub struct Upload {
    body: Incoming,
    progress: Arc<Progress>,
}

pub struct Progress {
    /// When something last moved.
    last: Mutex<Instant>,
    broke_off: AtomicBool,
}

/// Nothing moved for too long.
pub struct Stalled;

impl Upload {
    pub fn new(body: Incoming) -> (Self, Arc<Progress>) {
        let progress = Arc::new(Progress { last: Mutex::new(Instant::now()), broke_off: AtomicBool::new(false) });
        (Self { body, progress: Arc::clone(&progress) }, progress)
    }
}

impl Progress {
    /// Waits for `answer`, for at most `bound` since the body last moved.
    pub async fn bound<F: Future>(&self, bound: Duration, answer: F) -> Result<F::Output, Stalled> {
        let mut answer = pin!(answer);
        loop {
            let deadline = self.last() + bound;
            match timeout_at(deadline, answer.as_mut()).await {
                Ok(answer) => return Ok(answer),
                Err(_) if self.last() + bound > deadline => {}
                Err(_) => return Err(Stalled),
            }
        }
    }

    /// Whether it is the user who did not finish.
    pub fn broke_off(&self) -> bool {
        self.broke_off.load(Relaxed)
    }

    fn last(&self) -> Instant {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self) {
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
            self.progress.note();
            if let Some(Err(_)) = frame {
                self.progress.broke_off.store(true, Relaxed);
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
