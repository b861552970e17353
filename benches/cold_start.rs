//! Many requests that wait for one renewal. See `README.md`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures::future::join_all;
use peers::{Bare, grant, issuer, request};
use tokio::{runtime::Builder, task::yield_now};
use tower::{Layer, ServiceExt};
use tower_bearer::BearerAuthLayer;

struct Seen {
    token_requests: u64,
    served: usize,
    /// The time from the issuer's response to the last response of the API.
    took: Duration,
}

async fn cold_start(waiters: usize) -> Seen {
    let issuer = issuer();
    let api = BearerAuthLayer::new(grant(&issuer)).layer(Bare::new());
    let gate = issuer.hold();
    let arrived = Arc::new(AtomicUsize::new(0));
    let waiting: Vec<_> = (0..waiters)
        .map(|_| {
            let (arrived, answer) = (Arc::clone(&arrived), api.clone().oneshot(request(2)));
            tokio::spawn(async move {
                arrived.fetch_add(1, Ordering::Relaxed);
                answer.await
            })
        })
        .collect();
    gate.waiting(1).await;
    while arrived.load(Ordering::Relaxed) < waiters {
        yield_now().await;
    }
    let began = Instant::now();
    gate.release();
    let answers = join_all(waiting).await;
    let took = began.elapsed();
    let served = answers.iter().filter(|answer| matches!(answer, Ok(Ok(_)))).count();
    Seen { token_requests: issuer.counts().token_requests, served, took }
}

fn main() {
    println!("{:>9} {:>9} {:>15} {:>12} {:>15}", "waiters", "served", "token requests", "ms", "bytes a waiter");
    for waiters in [1, 10, 100, 1_000, 10_000, 100_000] {
        let mut seen = None;
        // One thread, because the memory is counted per thread.
        let memory = allocation_counter::measure(|| {
            let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
            seen = Some(runtime.block_on(cold_start(waiters)));
        });
        let Seen { token_requests, served, took } = seen.expect("a run");
        let (ms, bytes) = (took.as_secs_f64() * 1e3, memory.bytes_max / waiters as u64);
        println!("{waiters:>9} {served:>9} {token_requests:>15} {ms:>12.2} {bytes:>15}");
        assert_eq!((served, token_requests), (waiters, 1));
    }
}
