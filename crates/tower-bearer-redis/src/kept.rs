//! Something that takes time to make, that all callers share, and that is made again when it was discarded.

use std::{
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::future::{BoxFuture, FutureExt, Shared};
use tokio::{
    runtime::Handle,
    time::{Instant, timeout},
};

use crate::{
    error::{Kind, RedisStoreError},
    status::Health,
};

/// A slot for a value, such as a connection.
///
/// The value is made in a task of its own, within a limit. So nobody who waits for it can cancel it, and all who wait share one attempt. An
/// attempt that failed is made again at the next call.
pub(crate) struct Kept<T> {
    state: Mutex<State<T>>,
    /// Counts the values that replace discarded ones.
    health: Option<Arc<Health>>,
    was_made: Arc<AtomicBool>,
    limit: Duration,
}

struct State<T> {
    attempt: Option<Attempt<T>>,
    attempts: u64,
}

struct Attempt<T> {
    number: u64,
    began: Instant,
    result: Pending<T>,
}

impl<T: Clone + Send + Sync + 'static> Kept<T> {
    pub(crate) fn new(limit: Duration, health: Option<Arc<Health>>) -> Self {
        Self { state: Mutex::new(State { attempt: None, attempts: 0 }), health, was_made: Arc::default(), limit }
    }

    /// Returns the value and its number, after it was made if there is none.
    pub(crate) async fn get<F>(&self, make: impl FnOnce() -> F) -> Result<(u64, T), RedisStoreError>
    where
        F: Future<Output = Result<T, RedisStoreError>> + Send + 'static,
    {
        let (number, result) = self.begin(make)?;
        Ok((number, result.await?))
    }

    /// Starts to make the value if there is none, and does not wait for it.
    pub(crate) fn begin<F>(&self, make: impl FnOnce() -> F) -> Result<(u64, Pending<T>), RedisStoreError>
    where
        F: Future<Output = Result<T, RedisStoreError>> + Send + 'static,
    {
        let mut state = self.lock();
        if let Some(attempt) = state.attempt.as_ref().filter(|attempt| !self.is_over(attempt)) {
            return Ok((attempt.number, attempt.result.clone()));
        }
        let runtime = Handle::try_current().map_err(|_| Kind::NoRuntime)?;
        let (limit, health, was_made) = (self.limit, self.health.clone(), Arc::clone(&self.was_made));
        let value = timeout(limit, make());
        let task = runtime.spawn(async move {
            let result = value.await.unwrap_or_else(|_| Err(Kind::TimedOut(limit).into()));
            if let (Ok(_), Some(health)) = (&result, health)
                && was_made.swap(true, Relaxed)
            {
                health.reconnected();
            }
            result
        });
        let result = async move { task.await.unwrap_or_else(|_| Err(Kind::NoRuntime.into())) }.boxed().shared();
        state.attempts += 1;
        let number = state.attempts;
        state.attempt = Some(Attempt { number, began: Instant::now(), result: result.clone() });
        Ok((number, result))
    }

    /// Forgets the value with this number. A newer one stays.
    pub(crate) fn discard(&self, number: u64) {
        let mut state = self.lock();
        let discarded = state.attempt.take_if(|attempt| attempt.number == number);
        drop(state);
        drop(discarded);
    }

    /// Returns whether an attempt has failed, or belongs to a runtime that does not run it: its own limit would have ended it.
    fn is_over(&self, attempt: &Attempt<T>) -> bool {
        match attempt.result.clone().now_or_never() {
            Some(result) => result.is_err(),
            None => attempt.began.elapsed() > self.limit * 2,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A value that is being made.
pub(crate) type Pending<T> = Shared<BoxFuture<'static, Result<T, RedisStoreError>>>;

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use tokio::time::sleep;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn all_callers_share_one_attempt_and_a_failed_one_is_made_again() {
        let (kept, count) = (Kept::new(LIMIT, None), Arc::new(AtomicU32::new(0)));
        let make = || {
            let count = Arc::clone(&count);
            async move {
                sleep(LIMIT / 2).await;
                match count.fetch_add(1, Relaxed) {
                    0 => Err(Kind::Login.into()),
                    number => Ok(number),
                }
            }
        };
        let (first, second) = tokio::join!(kept.get(make), kept.get(make));
        assert_eq!((first, second), (Err(Kind::Login.into()), Err(Kind::Login.into())));
        let (first, second) = tokio::join!(kept.get(make), kept.get(make));
        assert_eq!((first, second), (Ok((2, 1)), Ok((2, 1))));
        kept.discard(1);
        assert_eq!(kept.get(make).await, Ok((2, 1)), "an older number discarded the value");
        kept.discard(2);
        assert_eq!(kept.get(make).await, Ok((3, 2)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_ends_at_its_limit_also_when_nobody_waits_for_it() {
        let kept = Kept::<u32>::new(LIMIT, None);
        let forever = || std::future::pending();
        assert!(timeout(LIMIT / 2, kept.get(forever)).await.is_err());
        sleep(LIMIT).await;
        assert_eq!(kept.get(async || Ok(7)).await, Ok((2, 7)));
        kept.discard(2);
        assert_eq!(kept.get(forever).await, Err(Kind::TimedOut(LIMIT).into()));
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_of_a_runtime_that_does_not_run_is_given_up() {
        let kept = Arc::new(Kept::<u32>::new(LIMIT, None));
        let other = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let guard = other.enter();
        drop(kept.begin(async || Ok(1)).unwrap());
        drop(guard);
        assert!(timeout(LIMIT, kept.get(async || Ok(2))).await.is_err());
        sleep(LIMIT * 2).await;
        assert_eq!(kept.get(async || Ok(2)).await, Ok((2, 2)));
        other.shutdown_background();
    }

    #[test]
    fn without_a_runtime_it_is_an_error() {
        let kept = Kept::<u32>::new(LIMIT, None);
        let got = kept.get(async || Ok(7)).now_or_never();
        assert_eq!(got, Some(Err(Kind::NoRuntime.into())));
    }
}
