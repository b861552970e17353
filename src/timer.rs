//! Waits with a deadline, also where no Tokio timer runs.
//!
//! A blocking program drives its runtime only while it waits for a call. Between two calls, nothing that the runtime runs
//! can make progress, so that time must not use up a deadline. And a task may be polled where Tokio's timers cannot be used:
//! outside a runtime, or in one that was built without them.

use std::{
    future::{pending, poll_fn},
    panic::catch_unwind,
    pin::{Pin, pin},
    sync::mpsc,
    task::Poll,
    thread,
    time::Duration,
};

use futures_util::future::{Either, select};
use tokio::{
    runtime::Handle,
    sync::oneshot,
    task::coop::unconstrained,
    time::{self, Instant},
};

/// How many timers, one after another, measure a deadline.
const SLICES: u32 = 32;

/// Tokio's timers cannot measure less.
const SHORTEST_SLICE: Duration = Duration::from_millis(1);

/// A [`sleep`] in a field of a struct.
pub(crate) type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs `future` up to a deadline. Returns `None` if it has not ended by then.
///
/// Only the time counts in which this is driven. Each slice of the deadline has its own timer. If a slice takes longer than
/// two slices, nobody was there to see its timer, and it counts as two. The future is polled before the time is looked at,
/// so an answer that came while nobody polled is not lost.
pub(crate) async fn timeout<F: Future>(deadline: Duration, future: F) -> Option<F::Output> {
    let slice = (deadline / SLICES).max(SHORTEST_SLICE);
    let (mut future, mut left) = (pin!(future), deadline);
    // Asked once, because the answer may print a message.
    let has_timers = has_tokio_timers();
    loop {
        let began = Instant::now();
        let time = slice.min(left);
        let end = pin!(async { if has_timers { sleep(time).await } else { sleep_on_thread(time).await } });
        if let Either::Left((output, _)) = select(future.as_mut(), end).await {
            return Some(output);
        }
        left = left.saturating_sub(began.elapsed().min(2 * slice));
        if left.is_zero() {
            return None;
        }
    }
}

/// Sleeps, on Tokio's timer if there is one. Ends early in a task that has left its runtime since the sleep began, because
/// nobody may drive that runtime's timers.
pub(crate) async fn sleep(duration: Duration) {
    let Some(timer) = tokio_timer(duration) else { return sleep_on_thread(duration).await };
    // Tokio's budget for a task may be used up by what waits for this.
    let mut timer = pin!(unconstrained(timer));
    poll_fn(|task| if Handle::try_current().is_ok() { timer.as_mut().poll(task) } else { Poll::Ready(()) }).await;
}

/// Returns whether the calling task is polled in a runtime that has timers.
pub(crate) fn has_tokio_timers() -> bool {
    tokio_timer(Duration::ZERO).is_some()
}

/// Returns Tokio's timer, or `None` where there is none.
///
/// Tokio cannot be asked whether a runtime has timers. It panics when a timer is made in one that has none. That panic is
/// caught, but the panic hook prints its message, which gives the same advice as our error. A program that aborts on panics
/// ends here.
fn tokio_timer(duration: Duration) -> Option<time::Sleep> {
    Handle::try_current().ok()?;
    catch_unwind(|| time::sleep(duration)).ok()
}

/// Sleeps on a thread that lives as long as the sleep. If no thread can be started, it never ends.
async fn sleep_on_thread(duration: Duration) {
    let (ends, end) = oneshot::channel::<()>();
    let (_is_wanted, wanted) = mpsc::channel::<()>();
    let thread = thread::Builder::new().name("bearer-timer".into()).spawn(move || {
        // Nothing is sent. It ends early when the other half is dropped.
        let _ = wanted.recv_timeout(duration);
        drop(ends);
    });
    if thread.is_err() {
        pending::<()>().await;
    }
    let _ = end.await;
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::{runtime::Builder, task::coop::consume_budget, time::advance};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_is_driven_is_exact() {
        for millis in [0, 1, 7, 100, 9_999, 10_000, 3_600_001] {
            let (deadline, began) = (Duration::from_millis(millis), Instant::now());
            assert!(timeout(deadline, pending::<()>()).await.is_none());
            assert_eq!(began.elapsed(), deadline);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_time_in_which_nobody_polls_counts_as_two_slices() {
        let began = Instant::now();
        let mut waiting = pin!(timeout(Duration::from_secs(32), pending::<()>()));
        for _ in 0..2 {
            assert!(waiting.as_mut().now_or_never().is_none());
            advance(HOUR).await;
        }
        assert!(waiting.await.is_none());
        assert_eq!(began.elapsed(), 2 * HOUR + Duration::from_secs(28));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_came_while_nobody_polled_is_not_lost() {
        let (answers, answer) = oneshot::channel();
        let mut waiting = pin!(timeout(Duration::from_secs(1), answer));
        for _ in 0..100 {
            assert!(waiting.as_mut().now_or_never().is_none());
            advance(Duration::from_millis(10)).await;
        }
        answers.send(7).unwrap();
        assert_eq!(waiting.await, Some(Ok(7)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_without_end_is_no_deadline() {
        assert!(timeout(Duration::MAX, time::sleep(24 * HOUR)).await.is_some());
    }

    #[tokio::test]
    async fn a_future_that_is_always_busy_is_ended_too() {
        let busy = async {
            loop {
                consume_budget().await;
            }
        };
        assert!(timeout(Duration::from_millis(5), busy).await.is_none());
    }

    #[test]
    fn a_deadline_ends_where_no_tokio_timer_runs() {
        let waiting = || timeout(Duration::from_millis(5), pending::<()>());
        assert!(futures::executor::block_on(waiting()).is_none());
        let without_timers = Builder::new_current_thread().build().unwrap();
        assert!(without_timers.block_on(waiting()).is_none());
    }

    #[test]
    fn a_deadline_ends_in_a_task_that_has_left_its_runtime() {
        let idle = Builder::new_current_thread().enable_time().build().unwrap();
        let mut waiting = Box::pin(timeout(Duration::from_millis(5), pending::<()>()));
        assert!(idle.block_on(async { waiting.as_mut().now_or_never() }).is_none());
        assert!(futures::executor::block_on(waiting).is_none());
    }
}
