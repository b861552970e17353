//! Calls to a store that may be down: a deadline for each, and a breaker.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::FutureExt;
use tokio::time::{Instant, timeout};

use crate::{
    events::{self, Shown},
    store::{
        news::NewsReceiver,
        store_error::StoreError,
        store_key::StoreKey,
        store_status::Counters,
        token_store::{BoxTokenStore, Lease, LeaseAnswer, LeaseOwner, Loaded, TokenStore},
    },
};

/// How long the store is not asked after a failure, and at most after several.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// The store did not answer, or is not asked now.
#[derive(Debug)]
pub(super) struct Unavailable;

/// A store with a deadline and a breaker, so that an outage is not paid by each renewal.
pub(super) struct Link {
    store: BoxTokenStore,
    deadline: Duration,
    breaker: Mutex<Breaker>,
    /// 1 if the store answered the last call.
    availability: Shown,
    pub(super) counters: Counters,
}

#[derive(Default)]
struct Breaker {
    failures: u32,
    /// When the next call may be made. It moves on with each call that is made during an outage, so there is one at a time.
    closed_until: Option<Instant>,
}

/// Whether a call is made while the store is down.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Urgency {
    /// Another way is open.
    Usual,
    /// Something would be lost.
    Urgent,
}

impl Link {
    pub(super) fn new(store: BoxTokenStore, name: Option<Arc<str>>, deadline: Duration) -> Self {
        let (breaker, availability) = (Mutex::default(), Shown::default());
        let link = Self { store, deadline, breaker, availability, counters: Counters::new(name) };
        link.show_availability(true);
        link
    }

    /// Returns the name that the user gave the store.
    pub(super) fn name(&self) -> Option<&str> {
        self.counters.name()
    }

    fn show_availability(&self, is_available: bool) {
        self.availability.set(u64::from(is_available));
        if let Some(name) = self.name() {
            self.availability.show(|now| events::show_availability(name, now > 0));
        }
    }

    pub(super) async fn load(&self, key: StoreKey) -> Result<Loaded, Unavailable> {
        self.call(Urgency::Usual, || self.store.load(key)).await
    }

    pub(super) async fn lease(
        &self,
        key: StoreKey,
        owner: LeaseOwner,
        length: Duration,
        urgency: Urgency,
    ) -> Result<LeaseAnswer, Unavailable> {
        self.call(urgency, || self.store.lease(key, owner, length)).await
    }

    pub(super) async fn commit(
        &self,
        key: StoreKey,
        lease: Lease,
        record: Vec<u8>,
        keep: Duration,
    ) -> Result<bool, Unavailable> {
        self.call(Urgency::Urgent, || self.store.commit(key, lease, record, keep)).await
    }

    pub(super) async fn release(&self, key: StoreKey, lease: Lease) {
        // Without it, the lease ends by itself, and others wait for that.
        let _ = self.call(Urgency::Urgent, || self.store.release(key, lease)).await;
    }

    pub(super) fn news(&self) -> NewsReceiver {
        self.store.news()
    }

    /// Returns whether the store answered the last call.
    pub(super) fn is_available(&self) -> bool {
        self.breaker().failures == 0
    }

    async fn call<T, F>(&self, urgency: Urgency, call: impl FnOnce() -> F) -> Result<T, Unavailable>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        if !self.breaker().admits(Instant::now(), self.deadline) && urgency == Urgency::Usual {
            return Err(Unavailable);
        }
        // A store is user code, and a panic in it is a failure of the store.
        let called = AssertUnwindSafe(async { timeout(self.deadline, call()).await }).catch_unwind().await;
        let error = match called {
            Ok(Ok(Ok(answer))) => {
                if self.breaker().succeeded() {
                    events::store_answers(self.name());
                    self.show_availability(true);
                }
                return Ok(answer);
            }
            Ok(Ok(Err(error))) => error,
            Ok(Err(_)) => StoreError::new(format!("no answer within {:?}", self.deadline)),
            Err(_) => StoreError::new("it panicked"),
        };
        self.counters.failures.add();
        if self.breaker().failed(Instant::now()) {
            events::store_failed(self.name(), &error);
            self.show_availability(false);
        }
        Err(Unavailable)
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Breaker {
    /// Returns whether a call may be made now.
    fn admits(&mut self, now: Instant, deadline: Duration) -> bool {
        let Some(closed_until) = self.closed_until else { return true };
        let admits = now >= closed_until;
        if admits {
            self.closed_until = now.checked_add(deadline.saturating_mul(2));
        }
        admits
    }

    /// Notes an answer. Returns whether it ends an outage.
    fn succeeded(&mut self) -> bool {
        let was_down = self.failures > 0;
        *self = Self::default();
        was_down
    }

    /// Notes a failure. Returns whether it begins an outage.
    fn failed(&mut self, now: Instant) -> bool {
        let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(self.failures)).min(LONGEST_PAUSE);
        // Half of it is random, so that the processes of a fleet do not come back at the same moment.
        self.closed_until = now.checked_add(pause.mul_f64(0.5 + fastrand::f64() / 2.0));
        self.failures = self.failures.saturating_add(1);
        self.failures == 1
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    struct Hanging;

    impl TokenStore for Hanging {
        async fn load(&self, _: StoreKey) -> Result<Loaded, StoreError> {
            pending().await
        }

        async fn lease(&self, _: StoreKey, _: LeaseOwner, _: Duration) -> Result<LeaseAnswer, StoreError> {
            panic!("a store is user code");
        }

        async fn commit(&self, _: StoreKey, _: Lease, _: Vec<u8>, _: Duration) -> Result<bool, StoreError> {
            Ok(true)
        }

        async fn release(&self, _: StoreKey, _: Lease) -> Result<(), StoreError> {
            Err(StoreError::new("no"))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_hangs_is_not_asked_for_some_time() {
        let (link, key, began) =
            (Link::new(Hanging.boxed(), None, Duration::from_millis(250)), StoreKey::new([0; 32]), Instant::now());
        assert!(link.is_available());
        for _ in 0..100 {
            assert!(link.load(key).await.is_err());
        }
        assert!(
            began.elapsed() <= Duration::from_millis(252) && !link.is_available(),
            "one deadline: {:?}",
            began.elapsed()
        );
        tokio::time::advance(FIRST_PAUSE).await;
        let (one, other) = tokio::join!(link.load(key), link.load(key));
        assert!(one.is_err() && other.is_err());
        assert_eq!(link.counters.status(false).failures, 2, "one probe at a time");
    }

    #[tokio::test(start_paused = true)]
    async fn an_urgent_call_is_made_in_any_case_and_ends_the_outage() {
        let (link, key) = (Link::new(Hanging.boxed(), None, Duration::from_millis(250)), StoreKey::new([0; 32]));
        let owner = LeaseOwner(1);
        assert!(link.lease(key, owner, FIRST_PAUSE, Urgency::Usual).await.is_err(), "a panic is a failure");
        let lease = Lease { owner, fence: 1 };
        assert!(link.commit(key, lease, vec![], FIRST_PAUSE).await.unwrap());
        assert!(link.is_available());
    }

    #[test]
    fn a_pause_is_between_half_of_its_length_and_all_of_it() {
        let now = Instant::now();
        let mut pauses: Vec<_> = (0..1000)
            .map(|_| {
                let mut breaker = Breaker::default();
                assert!(breaker.failed(now));
                breaker.closed_until.unwrap() - now
            })
            .collect();
        pauses.sort();
        assert!(pauses[0] >= FIRST_PAUSE / 2 && pauses[999] <= FIRST_PAUSE, "{:?} {:?}", pauses[0], pauses[999]);
        assert!(pauses[0] < FIRST_PAUSE * 6 / 10 && pauses[999] > FIRST_PAUSE * 9 / 10, "it is random");
    }

    #[test]
    fn only_an_answer_after_a_failure_ends_an_outage() {
        let mut breaker = Breaker::default();
        assert!(!breaker.succeeded());
        assert!(breaker.failed(Instant::now()) && !breaker.failed(Instant::now()), "the first one begins it");
        assert!(breaker.succeeded() && !breaker.succeeded());
    }
}
