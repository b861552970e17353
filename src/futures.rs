//! Combinators of futures: one catches panics, one waits for several futures.

use std::{
    any::Any,
    future::poll_fn,
    panic::{self, AssertUnwindSafe},
    pin::pin,
    task::Poll,
};

/// Runs a future of user code. A panic in it becomes an error, and the future is not polled again.
pub(crate) async fn catch_unwind<F: Future>(future: F) -> Result<F::Output, Box<dyn Any + Send>> {
    let mut future = pin!(future);
    poll_fn(|task| match panic::catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(task))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

/// Runs futures at the same time. Returns their outputs in the order of the futures.
pub(crate) async fn join_all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    poll_fn(|task| {
        for (future, output) in running.iter_mut().filter(|(_, output)| output.is_none()) {
            if let Poll::Ready(ready) = future.as_mut().poll(task) {
                *output = Some(ready);
            }
        }
        if running.iter().all(|(_, output)| output.is_some()) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    running.into_iter().filter_map(|(_, output)| output).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, sleep};

    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_before_and_after_the_first_wait() {
        assert_eq!(catch_unwind(async { 7 }).await.ok(), Some(7));
        assert!(catch_unwind(async { panic!("at once") }).await.is_err());
        let later = async {
            tokio::task::yield_now().await;
            panic!("later")
        };
        assert!(catch_unwind(later).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn joined_futures_run_at_the_same_time_and_keep_their_order() {
        let began = Instant::now();
        let after = |seconds| async move {
            sleep(Duration::from_secs(seconds)).await;
            seconds
        };
        assert_eq!(join_all([3, 1, 2].map(after)).await, [3, 1, 2]);
        assert_eq!(began.elapsed(), Duration::from_secs(3));
        assert_eq!(join_all(Vec::<std::future::Ready<()>>::new()).await, []);
    }
}
