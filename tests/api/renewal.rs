//! Renewal: one at a time, whichever callers come and go.

use std::{future::pending, sync::Arc};

use tokio::time::Instant;
use tower_bearer::{AccessToken, Error, FixedToken, TokenCache, cache::Backoff, source::from_fn};

use crate::support::{Asked, MINUTE, SECOND, gated, grant, issuer, scripted, token, waiting};

/// Returns a cache whose first renewal is `first`, and whose later renewals return tokens. It waits one second after a
/// failure.
fn failing<Fut>(first: impl Fn() -> Fut + Send + Sync + 'static) -> (TokenCache, Asked)
where
    Fut: Future<Output = Result<AccessToken, Error>> + Send + 'static,
{
    let first = Arc::new(first);
    let (source, asked) = scripted(move |n| {
        let first = Arc::clone(&first);
        async move { if n == 1 { first().await } else { Ok(token(n)) } }
    });
    let steady = Backoff::new(SECOND, MINUTE);
    (TokenCache::builder(source).transient_backoff(steady).renewal_retries(0).build(), asked)
}

#[tokio::test(start_paused = true)]
async fn a_thousand_cold_callers_cost_one_request() {
    let issuer = issuer();
    let cache = TokenCache::new(grant(issuer.service()));
    let gate = issuer.hold();
    let callers = waiting(1000, || cache.token());
    gate.waiting(1).await;
    gate.release();
    let first = cache.token().await.unwrap();
    for caller in callers {
        assert_eq!(caller.await.unwrap().secret(), first.secret());
    }
    assert_eq!(issuer.counts().token_requests, 1);
}

#[test]
fn cold_callers_on_many_threads_cost_one_request() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    for _ in 0..50 {
        let (cache, asked, gate) = gated();
        let calls = (0..100).map(|_| {
            let cache = cache.clone();
            runtime.spawn(async move { cache.token().await.unwrap().generation() })
        });
        let calls: Vec<_> = calls.collect();
        gate.add_permits(100);
        for call in calls {
            assert_eq!(runtime.block_on(call).unwrap(), 1);
        }
        assert_eq!(asked.times(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_the_caller_that_began_a_renewal_does_not_cancel_it_for_others() {
    let (cache, asked, gate) = gated();
    let mut callers = waiting(3, || cache.token());
    drop(callers.remove(0));
    gate.add_permits(1);
    for caller in callers {
        assert_eq!(caller.await.unwrap().secret(), "t1");
    }
    assert_eq!(asked.times(), 1);
}

#[tokio::test(start_paused = true)]
async fn dropping_all_callers_does_not_end_the_renewal() {
    let (cache, asked, gate) = gated();
    drop(waiting(3, || cache.token()));
    assert!(cache.status().renewing);
    gate.add_permits(1);
    assert_eq!(cache.token().await.unwrap().secret(), "t1");
    assert_eq!(asked.times(), 1);
}

#[tokio::test(start_paused = true)]
async fn all_waiters_get_the_failure_and_after_the_backoff_the_next_call_tries_again() {
    let (cache, asked) = failing(async || Err(Error::transient("down")));
    for caller in waiting(100, || cache.token()) {
        let error = caller.await.unwrap_err();
        assert!(error.is_transient() && !error.is_backing_off());
    }
    assert!(cache.token().await.unwrap_err().is_backing_off());
    tokio::time::advance(SECOND).await;
    assert_eq!(cache.token().await.unwrap().secret(), "t2");
    assert_eq!(asked.times(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_panicking_source_is_an_error_and_the_next_call_works() {
    let (cache, asked) = failing(async || panic!("on purpose"));
    for caller in waiting(100, || cache.token()) {
        assert!(caller.await.unwrap_err().is_panic());
    }
    tokio::time::advance(SECOND).await;
    assert_eq!(cache.token().await.unwrap().secret(), "t2");
    assert_eq!(asked.times(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_panics_before_its_future_is_an_error_too() {
    let source = from_fn(|_| -> std::future::Ready<Result<AccessToken, Error>> { panic!("on purpose") });
    assert!(TokenCache::new(source).token().await.unwrap_err().is_panic());
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_never_ends_is_ended_by_its_deadline() {
    let (cache, asked) = failing(pending);
    let start = Instant::now();
    for caller in waiting(100, || cache.token()) {
        assert!(caller.await.unwrap_err().is_timeout());
    }
    assert_eq!(start.elapsed(), 10 * SECOND);
    tokio::time::advance(SECOND).await;
    assert_eq!(cache.token().await.unwrap().secret(), "t2");
    assert_eq!(asked.times(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_during_a_renewal_uses_its_token_and_does_not_start_another() {
    let (cache, asked, gate) = gated();
    gate.add_permits(1);
    let old = cache.token().await.unwrap();
    tokio::time::advance(3539 * SECOND).await;
    assert_eq!(cache.token().await.unwrap().secret(), "t1", "stale: served, and its renewal begins");
    assert!(cache.status().renewing && cache.invalidate(&old));
    let callers = waiting(10, || cache.token());
    gate.add_permits(100);
    for caller in callers {
        assert_eq!(caller.await.unwrap().secret(), "t2");
    }
    assert!(!cache.invalidate(&old), "a late rejection of the old token changes nothing");
    assert_eq!(cache.token().await.unwrap().secret(), "t2");
    assert_eq!(asked.times(), 2);
}

#[tokio::test(start_paused = true)]
async fn invalidating_another_caches_token_changes_nothing() {
    let (cache, asked, gate) = gated();
    gate.add_permits(100);
    assert!(!cache.invalidate(&token(1)) && !cache.status().renewing, "there is none yet");
    cache.token().await.unwrap();
    let foreign = TokenCache::new(FixedToken::new("foreign").unwrap()).token().await.unwrap();
    assert_eq!(foreign.generation(), cache.status().generation);
    assert!(!cache.invalidate(&foreign));
    assert_eq!(cache.token().await.unwrap().secret(), "t1");
    assert_eq!(asked.times(), 1);
}
