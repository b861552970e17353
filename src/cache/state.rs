//! What a cache remembers under its lock: everything that the hot path does not need.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    cache::{backoff::LONGEST, budget::Account, settings::Settings},
    error::{Error, FailureClass},
    source::Reason,
    token::AccessToken,
};

#[derive(Debug)]
pub(crate) struct State {
    /// The newest token, rejected or not.
    pub(crate) newest: Option<AccessToken>,
    /// Whether `newest` was rejected, and a renewal because of that is wanted.
    pub(crate) rejected: bool,
    pub(crate) failing: Option<Failing>,
    pub(crate) budget: Account,
    pub(crate) renewals: u64,
    pub(crate) refusal: Refusal,
}

/// The last refusal of credentials that several caches share, so that each wrong password is tried once, not once a cache.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refusal(Arc<Mutex<Option<Failing>>>);

/// Failures in a row.
#[derive(Clone, Debug)]
pub(crate) struct Failing {
    pub(crate) error: Error,
    /// By class: an outage between two refusals is no reason to ask sooner after the second.
    times: [u32; 3],
    until: Instant,
    credentials_version: u64,
}

impl State {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            newest: None,
            rejected: false,
            failing: None,
            budget: Account::new(settings.rejections),
            renewals: 0,
            refusal: settings.refusal.clone(),
        }
    }

    pub(crate) fn generation(&self) -> u64 {
        self.newest.as_ref().map_or(0, AccessToken::generation)
    }

    /// Why the next token is wanted.
    pub(crate) fn reason(&self) -> Reason {
        match &self.newest {
            None => Reason::First,
            Some(token) if self.rejected => Reason::Rejected(token.clone()),
            Some(_) => Reason::Ageing,
        }
    }

    /// The error for a caller who needs the source while it is left alone.
    pub(crate) fn blocked(&self, now: Instant, credentials_version: u64) -> Option<Error> {
        let own = self.failing.as_ref().and_then(|failing| failing.blocks(now, credentials_version));
        own.or_else(|| self.refusal.get()?.blocks(now, credentials_version))
    }

    /// Notes a new token, which is returned with its generation.
    pub(crate) fn issued(&mut self, token: AccessToken, now: Instant) -> AccessToken {
        let same = self.newest.as_ref().is_some_and(|newest| newest.secret() == token.secret());
        let token = token.with_generation(self.generation() + u64::from(!same));
        self.budget.issued(self.rejected, now);
        self.newest = Some(token.clone());
        self.rejected = false;
        self.failing = None;
        self.refusal.set(None);
        self.renewals += 1;
        token
    }

    /// Notes a failure, and for how long the source is left alone after it.
    pub(crate) fn failed(
        &mut self,
        error: &Error,
        credentials_version: u64,
        now: Instant,
        settings: &Settings,
    ) -> Duration {
        let mut times = self
            .failing
            .take()
            // Other credentials begin anew.
            .filter(|failing| failing.credentials_version == credentials_version)
            .map_or([0; 3], |failing| failing.times);
        let of_class = &mut times[error.class() as usize];
        *of_class = of_class.saturating_add(1);
        let asked = error.retry_in().unwrap_or_default().min(settings.retry_after_most);
        let wait = settings.backoff(error.class()).wait(*of_class).max(asked).min(LONGEST);
        let failing = Failing { error: error.clone(), times, until: now + wait, credentials_version };
        // A scope or a resource that is refused says nothing of another one.
        if error.class() != FailureClass::Transient
            && !matches!(error.oauth_code(), Some("invalid_scope" | "invalid_target"))
        {
            self.refusal.set(Some(failing.clone()));
        }
        self.failing = Some(failing);
        wait
    }
}

impl Refusal {
    fn get(&self) -> Option<Failing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set(&self, failing: Option<Failing>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = failing;
    }
}

impl Failing {
    /// The error for a caller, while the source is left alone.
    fn blocks(&self, now: Instant, credentials_version: u64) -> Option<Error> {
        let wait = self.wait(now)?;
        // Only refusals are worth looking at the credentials for: an outage does not end with a new password.
        let renewed_credentials =
            self.error.class() != FailureClass::Transient && credentials_version != self.credentials_version;
        (!renewed_credentials).then(|| Error::backing_off(&self.error, wait))
    }

    pub(crate) fn times(&self) -> u32 {
        self.times.iter().fold(0, |sum, times| sum.saturating_add(*times))
    }

    /// How long the source is still left alone.
    pub(crate) fn wait(&self, now: Instant) -> Option<Duration> {
        (now < self.until).then(|| self.until - now)
    }
}
