//! The handle to an issuer, and all that it shares.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::assertion::Seen;
use super::clock::Clock;
use super::gate::Barrier;
use super::key::Key;
use super::script::Script;
use super::store::Store;
use super::{Counts, IssuerBuilder, TokenRequest};

/// The number of token requests that are kept.
const KEPT_REQUESTS: usize = 1024;

/// A scripted OAuth 2.0 authorization server for tests. Clones are handles to the same one.
///
/// Commands take effect for requests that are decided later; one that waits at a [`Gate`](super::Gate) or a delay is decided after it.
#[derive(Clone)]
pub struct Issuer(Arc<Shared>);

struct Shared {
    settings: IssuerBuilder,
    clock: Clock,
    state: Mutex<State>,
}

/// All that changes, under one lock that is never held over an await.
pub(super) struct State {
    pub(super) users: HashMap<String, String>,
    pub(super) store: Store,
    pub(super) script: Script,
    pub(super) key: Arc<Key>,
    pub(super) clock_skew: i64,
    pub(super) assertions: Seen,
    pub(super) same_token: bool,
    pub(super) counts: Counts,
    requests: VecDeque<TokenRequest>,
    pub(super) delay: Duration,
    pub(super) gate: Option<Arc<Barrier>>,
}

impl Issuer {
    /// An issuer with the defaults that [`IssuerBuilder`] states.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// An issuer with other settings.
    pub fn builder() -> IssuerBuilder {
        IssuerBuilder::new()
    }

    pub(super) fn start(settings: IssuerBuilder) -> Self {
        let state = State {
            users: settings.users.iter().cloned().collect(),
            store: Store::default(),
            script: Script::default(),
            key: Arc::new(Key::generate()),
            clock_skew: 0,
            assertions: Seen::default(),
            same_token: false,
            counts: Counts::default(),
            requests: VecDeque::new(),
            delay: Duration::ZERO,
            gate: None,
        };
        Self(Arc::new(Shared { settings, clock: Clock::start(), state: Mutex::new(state) }))
    }

    /// What has happened so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.state().counts
    }

    /// The token requests that arrived, oldest first: the newest 1,024.
    #[must_use]
    pub fn requests(&self) -> Vec<TokenRequest> {
        self.state().requests.iter().cloned().collect()
    }

    /// The token request that arrived last.
    #[must_use]
    pub fn last_request(&self) -> Option<TokenRequest> {
        self.state().requests.back().cloned()
    }

    pub(super) fn settings(&self) -> &IssuerBuilder {
        &self.0.settings
    }

    pub(super) fn clock(&self) -> Clock {
        self.0.clock
    }

    /// A panic elsewhere leaves nothing half done that matters to a test.
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
    /// Records a token request; it then waits at the gate and for the delay.
    pub(super) fn arrived(&mut self, request: TokenRequest) -> (Option<Arc<Barrier>>, Duration) {
        self.counts.token_requests += 1;
        match request.grant_type() {
            Some("password") => self.counts.password += 1,
            Some("refresh_token") => self.counts.refresh_token += 1,
            Some("client_credentials") => self.counts.client_credentials += 1,
            _ => {}
        }
        if self.requests.len() == KEPT_REQUESTS {
            self.requests.pop_front();
        }
        self.requests.push_back(request);
        (self.gate.clone(), self.delay)
    }
}

impl Default for Issuer {
    fn default() -> Self {
        Self::new()
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
    use crate::testing::ask::{PASSWORD, ask};

    #[tokio::test]
    async fn requests_are_recorded_and_counted() {
        let issuer = Issuer::new();
        for _ in 0..=KEPT_REQUESTS {
            ask(&issuer, "/token", "grant_type=client_credentials&scope=none").await;
        }
        ask(&issuer, "/token", PASSWORD).await;
        assert_eq!(issuer.requests().len(), KEPT_REQUESTS);
        let last = issuer.last_request().unwrap();
        assert_eq!(last.param("password"), Some("user-password"));
        assert!(last.header("authorization").unwrap().starts_with("Basic "));
        let counts = issuer.counts();
        assert_eq!((counts.token_requests, counts.client_credentials), (1026, 1025));
        assert_eq!((counts.password, counts.issued, counts.refused), (1, 1, 1025));
    }

    #[test]
    fn a_poisoned_lock_is_recovered() {
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
