//! Whether a request makes progress. The timeout starts again with each chunk, so a long upload is not mistaken for a slow
//! upstream.

use std::{
    pin::pin,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::{Instant, timeout_at};

pub struct Progress {
    /// When a part of the body was last read.
    last: Mutex<Instant>,
    incomplete: AtomicBool,
    waits_for_user: AtomicBool,
}

/// There was no response and no progress for too long.
pub struct Stalled;

impl Progress {
    pub fn new() -> Self {
        Self {
            last: Mutex::new(Instant::now()),
            incomplete: AtomicBool::new(false),
            waits_for_user: AtomicBool::new(false),
        }
    }

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

    /// Records that the user did not finish the request.
    pub fn break_off(&self) {
        self.incomplete.store(true, Relaxed);
    }

    /// Returns whether the user is to send the next part of the body.
    pub fn waits_for_user(&self) -> bool {
        self.waits_for_user.load(Relaxed)
    }

    /// Records that the user is to send the next part of the body.
    pub fn wait_for_user(&self) {
        self.waits_for_user.store(true, Relaxed);
    }

    /// Records that a part of the body was read.
    pub fn record(&self) {
        self.waits_for_user.store(false, Relaxed);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn last(&self) -> Instant {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
