//! The gate, which holds requests until it is released.

use std::sync::Arc;

use tokio::sync::watch;

/// A gate that holds requests until it is released or dropped. [`Issuer::hold`](super::Issuer::hold) makes one for token requests,
/// and [`Upstream::hold`](super::Upstream::hold) one for requests to an API.
///
/// With it, a concurrency test does not need to sleep: wait until the requests have arrived, act, then release the gate.
#[derive(Debug)]
#[must_use = "dropping the gate opens it"]
pub struct Gate(Arc<Barrier>);

impl Gate {
    /// Lets all waiting requests continue, and later ones pass.
    pub fn release(self) {}

    /// Waits until at least `n` requests wait at the gate at the same time.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe. Dropping the future loses nothing.
    pub async fn waiting(&self, n: usize) {
        // It cannot fail, because this gate owns the sender.
        let _ = self.0.waiting.subscribe().wait_for(|waiting| *waiting >= n).await;
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.0.open.send_replace(true);
    }
}

/// The issuer's side of a gate. It lives longer than the [`Gate`], and is open after that.
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

    /// Waits until the gate is open. The request is counted as waiting until then, or until this future is dropped.
    pub(super) async fn pass(&self) {
        let mut open = self.open.subscribe();
        if *open.borrow() {
            return;
        }
        let _counted = WaitingGuard::new(&self.waiting);
        let _ = open.wait_for(|open| *open).await;
    }
}

/// Counts one waiting request, until it is dropped.
struct WaitingGuard<'a>(&'a watch::Sender<usize>);

impl<'a> WaitingGuard<'a> {
    fn new(waiting: &'a watch::Sender<usize>) -> Self {
        waiting.send_modify(|waiting| *waiting += 1);
        Self(waiting)
    }
}

impl Drop for WaitingGuard<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|waiting| *waiting -= 1);
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::issuer::Issuer;
    use crate::testing::test_client::{PASSWORD, post_form};

    #[tokio::test(start_paused = true)]
    async fn requests_wait_until_the_release() {
        let issuer = Issuer::new();
        let gate = issuer.hold();
        let requests: Vec<_> = (0..3)
            .map(|_| {
                let issuer = issuer.clone();
                tokio::spawn(async move { post_form(&issuer, "/token", PASSWORD).await.status() })
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
    async fn a_request_cancelled_at_the_gate_is_no_longer_counted() {
        let issuer = Issuer::new();
        let gate = issuer.hold();
        let request = tokio::spawn({
            let issuer = issuer.clone();
            async move { post_form(&issuer, "/token", PASSWORD).await }
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
        assert_eq!(post_form(&issuer, "/token", PASSWORD).await.status(), 200);
    }
}
