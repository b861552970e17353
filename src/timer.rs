//! Waits with a deadline, also where no Tokio timer runs.
//!
//! A blocking program drives its runtime only while it waits for a call. Between two calls, nothing that the runtime runs
//! can make progress, so that time must not use up a deadline. And a task may be polled where Tokio's timers cannot be used:
//! outside a runtime, or in one that was built without them.

use std::{
    future::{pending, poll_fn},
    panic::catch_unwind,
    pin::pin,
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
    time::{self, Instant, Sleep},
};

/// How many timers, one after another, measure a deadline.
const SLICES: u32 = 32;

/// Tokio's timers cannot measure less.
const SHORTEST_SLICE: Duration = Duration::from_millis(1);

/// Runs `future` up to a deadline. Returns `None` if it has not ended by then.
///
/// Only the time counts in which this is driven. Each slice of the deadline has its own timer. If a slice takes longer than
/// two slices, nobody was there to see its timer, and it counts as two. The future is polled before the time is looked at,
/// so an answer that came while nobody polled is not lost.
pub(crate) async fn timeout<F: Future>(deadline: Duration, future: F) -> Option<F::Output> {
    let slice = (deadline / SLICES).max(SHORTEST_SLICE);
    let (mut future, mut left) = (pin!(future), deadline);
    loop {
        let began = Instant::now();
        let end = pin!(sleep(slice.min(left)));
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
    // It ends also in a task whose other part uses up Tokio's budget at each poll.
    let mut timer = pin!(unconstrained(timer));
    poll_fn(|task| if Handle::try_current().is_ok() { timer.as_mut().poll(task) } else { Poll::Ready(()) }).await;
}

/// Returns whether the calling task is polled in a runtime that has timers.
pub(crate) fn has_tokio_timers() -> bool {
    tokio_timer(Duration::ZERO).is_some()
}

/// Returns Tokio's timer, or `None` where there is none.
///
/// A runtime cannot be asked whether it has timers. It panics when one is made that it cannot run. That panic is caught, but
/// the panic hook prints its message, which gives the same advice as our error. A program that aborts on panics ends here.
fn tokio_timer(duration: Duration) -> Option<Sleep> {
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
