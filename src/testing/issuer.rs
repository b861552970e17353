//! The handle to an issuer, and the state that all handles share.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::testing::assertion::UsedIds;
use crate::testing::clock::Clock;
use crate::testing::counts::Counts;
use crate::testing::gate::Barrier;
use crate::testing::key::Key;
use crate::testing::request::TokenRequest;
use crate::testing::script::Script;
use crate::testing::settings::Settings;
use crate::testing::store::Store;

/// The number of token requests that are recorded.
const MAX_RECORDED: usize = 1024;

/// A scripted OAuth 2.0 authorization server for tests. Clones are handles to the same server.
///
/// A command applies to requests that are decided after it. A request that waits at a [`Gate`](super::Gate) or for a delay
/// is decided after the wait.
#[derive(Clone)]
pub struct Issuer(Arc<IssuerInner>);

struct IssuerInner {
    settings: Settings,
    clock: Clock,
    state: Mutex<State>,
}

/// Everything that changes, under one lock that is never held across an await.
pub(super) struct State {
    pub(super) users: HashMap<String, String>,
    pub(super) store: Store,
    pub(super) script: Script,
    pub(super) key: Arc<Key>,
    pub(super) clock_skew: i64,
    pub(super) used_assertions: UsedIds,
    pub(super) same_token: bool,
    pub(super) rejects_before_reading: bool,
    pub(super) counts: Counts,
    recorded: VecDeque<TokenRequest>,
    pub(super) delay: Duration,
    pub(super) gate: Option<Arc<Barrier>>,
}

impl Issuer {
    pub(super) fn start(settings: Settings) -> Self {
        let state = State {
            users: settings.users.iter().cloned().collect(),
            store: Store::default(),
            script: Script::default(),
            key: Arc::new(Key::generate()),
            clock_skew: 0,
            used_assertions: UsedIds::default(),
            same_token: false,
            rejects_before_reading: false,
            counts: Counts::default(),
            recorded: VecDeque::new(),
            delay: Duration::ZERO,
            gate: None,
        };
        Self(Arc::new(IssuerInner { settings, clock: Clock::start(), state: Mutex::new(state) }))
    }

    /// Returns the counters.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.state().counts
    }

    /// Returns the newest 1,024 token requests that arrived, oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<TokenRequest> {
        self.state().recorded.iter().cloned().collect()
    }

    /// Returns the token request that arrived last.
    #[must_use]
    pub fn last_request(&self) -> Option<TokenRequest> {
        self.state().recorded.back().cloned()
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    pub(super) fn clock(&self) -> Clock {
        self.0.clock
    }

    /// Locks the state. After a panic of another thread it continues, because the state stays consistent enough for a test.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count_outcome(&self, issued: bool) {
        let counts = &mut self.state().counts;
        if issued {
            counts.issued += 1;
        } else {
            counts.refused += 1;
        }
    }
}

impl State {
    /// Records a token request. Returns the gate and the delay that it waits for, and the request that made room for it.
    ///
    /// A header value may be user code. So requests are dropped after the lock is released.
    pub(super) fn record(&mut self, request: TokenRequest) -> (Option<Arc<Barrier>>, Duration, Option<TokenRequest>) {
        self.counts.token_requests += 1;
        match request.grant_type() {
            Some("password") => self.counts.password += 1,
            Some("refresh_token") => self.counts.refresh_token += 1,
            Some("client_credentials") => self.counts.client_credentials += 1,
            _ => {}
        }
        let oldest = if self.recorded.len() == MAX_RECORDED { self.recorded.pop_front() } else { None };
        self.recorded.push_back(request);
        (self.gate.clone(), self.delay, oldest)
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer")
            .field("settings", self.settings())
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::test_client::{PASSWORD, post_form};

    #[tokio::test]
    async fn requests_are_recorded_and_counted() {
        let issuer = Issuer::new();
        for _ in 0..=MAX_RECORDED {
            post_form(&issuer, "/token", "grant_type=client_credentials&scope=none").await;
        }
        post_form(&issuer, "/token", PASSWORD).await;
        assert_eq!(issuer.requests().len(), MAX_RECORDED);
        let last = issuer.last_request().unwrap();
        assert_eq!(last.param("password"), Some("user-password"));
        assert!(last.header("authorization").unwrap().starts_with("Basic "));
        let counts = issuer.counts();
        assert_eq!((counts.token_requests, counts.client_credentials), (1026, 1025));
        assert_eq!((counts.password, counts.issued, counts.refused), (1, 1, 1025));
    }

    #[test]
    fn the_issuer_works_after_a_panic_with_its_lock_held() {
        let issuer = Issuer::new();
        let poisoner = issuer.clone();
        std::thread::spawn(move || {
            let _state = poisoner.state();
            panic!("on purpose");
        })
        .join()
        .unwrap_err();
        assert_eq!(issuer.counts().issued, 0);
    }
}
