//! The gate: hold token requests until told otherwise.

use std::sync::Arc;

use tokio::sync::watch;

/// Holds token requests at the issuer until released or dropped; made by [`Issuer::hold`](super::Issuer::hold).
///
/// With it, a test of concurrency needs no sleeps: wait until the requests are *there*, act, release.
#[derive(Debug)]
#[must_use = "dropping the gate opens it"]
pub struct Gate(Arc<Barrier>);

impl Gate {
    /// Lets every waiting request go on, and every later one pass.
    pub fn release(self) {}

    /// Resolves once at least `n` token requests wait here at the same time.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when this future is dropped.
    pub async fn waiting(&self, n: usize) {
        // An error would mean that the sender is gone, which this gate owns.
        let _ = self.0.waiting.subscribe().wait_for(|waiting| *waiting >= n).await;
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.0.open.send_replace(true);
    }
}

/// The issuer's side of a gate. It outlives the [`Gate`], then open for good.
#[derive(Debug)]
pub(super) struct Barrier {
    open: watch::Sender<bool>,
    waiting: watch::Sender<usize>,
}

impl Barrier {
    pub(super) fn closed() -> (Gate, Arc<Self>) {
        let barrier = Arc::new(Self { open: watch::Sender::new(false), waiting: watch::Sender::new(0) });
        (Gate(Arc::clone(&barrier)), barrier)
    }

    /// Waits until the gate is open, counted while it waits, cancelled or not.
    pub(super) async fn pass(&self) {
        let mut open = self.open.subscribe();
        if *open.borrow() {
            return;
        }
        let _here = Here::new(&self.waiting);
        let _ = open.wait_for(|open| *open).await;
    }
}

struct Here<'a>(&'a watch::Sender<usize>);

impl<'a> Here<'a> {
    fn new(waiting: &'a watch::Sender<usize>) -> Self {
        waiting.send_modify(|waiting| *waiting += 1);
        Self(waiting)
    }
}

impl Drop for Here<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|waiting| *waiting -= 1);
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Issuer;
    use crate::testing::ask::{PASSWORD, ask};

    #[tokio::test(start_paused = true)]
    async fn requests_wait_until_the_release() {
        let issuer = Issuer::new();
        let gate = issuer.hold();
        let requests: Vec<_> = (0..3)
            .map(|_| {
                let issuer = issuer.clone();
                tokio::spawn(async move { ask(&issuer, "/token", PASSWORD).await.status() })
            })
            .collect();

        gate.waiting(3).await;
        assert_eq!((issuer.counts().token_requests, issuer.counts().issued), (3, 0));
        gate.release();
        for request in requests {
            assert_eq!(request.await.unwrap(), 200);
        }
        assert_eq!(issuer.counts().issued, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_given_up_at_the_gate_no_longer_waits() {
        let issuer = Issuer::new();
        let gate = issuer.hold();
        let request = tokio::spawn({
            let issuer = issuer.clone();
            async move { ask(&issuer, "/token", PASSWORD).await }
        });
        gate.waiting(1).await;
        request.abort();
        assert!(request.await.unwrap_err().is_cancelled());
        assert_eq!(*gate.0.waiting.borrow(), 0);
        assert_eq!(issuer.counts().issued, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_gate_is_open() {
        let issuer = Issuer::new();
        drop(issuer.hold());
        assert_eq!(ask(&issuer, "/token", PASSWORD).await.status(), 200);
    }
}
