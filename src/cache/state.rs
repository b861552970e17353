//! What a cache remembers under its lock, and how events change it. What follows from it for a request is in `decision`.

use std::{sync::Arc, time::SystemTime};

use tokio::time::Instant;

use crate::{
    cache::{
        budget::BudgetState,
        failure_streak::FailureStreak,
        issuer_state::{LastRenewal, Recovery},
        refusals::Refused,
        served_token::ServedToken,
        settings::Settings,
        status::{Age, CacheStatus},
    },
    error::Error,
    source::Reason,
    token::AccessToken,
};

/// The state of a cache.
#[derive(Clone, Debug)]
pub(crate) struct CacheState {
    /// The newest token, even after it was rejected.
    pub(super) newest: Option<Arc<ServedToken>>,
    pub(super) standing: Standing,
    pub(super) failing: Option<FailureStreak>,
    pub(super) budget: BudgetState,
    renewals: u64,
    /// When its renewal was seen in the queue of its pool.
    queued: Option<Instant>,
    /// The version of the credentials that the last renewal succeeded with.
    works_with: Option<u64>,
}

/// What became of the newest token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is served until it expires.
    Good,
    /// It was rejected, and is served during its renewal, because other endpoints may accept it: the budget is limited, or
    /// an earlier renewal failed.
    Doubted,
    /// It was rejected, and is not served during its renewal.
    Rejected,
    /// It was rejected, and no renewal is possible or the last one failed. It is served until there is a newer one.
    Kept,
    /// It was forgotten by a reset or a revocation, and is never served again.
    Forgotten { rejected: bool },
}

impl CacheState {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            newest: None,
            standing: Standing::Good,
            failing: None,
            budget: BudgetState::new(Arc::clone(&settings.rejections)),
            renewals: 0,
            queued: None,
            works_with: None,
        }
    }

    /// Returns the token that is served, whatever its age.
    pub(crate) fn served(&self) -> Option<&Arc<ServedToken>> {
        self.newest.as_ref().filter(|_| matches!(self.standing, Standing::Good | Standing::Doubted | Standing::Kept))
    }

    /// Returns the token that is served, unless it has expired.
    pub(crate) fn usable(&self, now: Instant, wall: SystemTime) -> Option<&Arc<ServedToken>> {
        self.served().filter(|served| !served.is_expired(now, wall))
    }

    /// Returns whether rejections are held back.
    pub(crate) fn is_limited(&self) -> bool {
        self.budget.is_limited()
    }

    /// Returns whether the answers to requests have to be watched: acceptances are noted, and a rejected token may be served.
    pub(crate) fn is_watched(&self) -> bool {
        self.is_limited() || self.is_rejected() || self.budget.wants_proof()
    }

    /// Returns the newest token, even after it was rejected.
    pub(crate) fn newest(&self) -> Option<&AccessToken> {
        self.newest.as_ref().map(|newest| &newest.token)
    }

    /// Returns the generation of the newest token, or 0 before the first.
    pub(crate) fn generation(&self) -> u64 {
        self.newest().map_or(0, AccessToken::generation)
    }

    /// Returns why the next token is wanted.
    pub(crate) fn reason(&self) -> Reason {
        match (self.newest(), self.is_rejected()) {
            (None, _) => Reason::First,
            (Some(token), true) => Reason::rejected(token.clone()),
            (Some(_), false) => Reason::Ageing,
        }
    }

    /// Notes the answer to a second attempt that carried the token of `generation`.
    pub(crate) fn retried(&mut self, generation: u64, accepted: bool, now: Instant) {
        if generation == self.generation() {
            self.budget.retried(accepted, now);
        }
    }

    /// Notes the first acceptance of the token of `generation` that was watched.
    pub(crate) fn accepted(&mut self, generation: u64) {
        if generation == self.generation() {
            self.budget.accepted();
        }
    }

    /// Notes a new token, and returns it with its generation.
    pub(crate) fn issued(&mut self, issued: &ServedToken, credentials_version: u64, now: Instant) -> AccessToken {
        let is_same = self.newest().is_some_and(|newest| newest.secret() == issued.token.secret());
        let issued = issued.clone().with_generation(self.generation() + u64::from(!is_same));
        let token = issued.token.clone();
        self.budget.issued(self.is_rejected(), now);
        if is_same && self.is_rejected() {
            // Nothing is sent a second time with it.
            self.budget.retried(false, now);
        }
        self.newest = Some(Arc::new(issued));
        self.standing = Standing::Good;
        self.failing = None;
        self.renewals += 1;
        self.works_with = Some(credentials_version);
        token
    }

    /// Notes a failure to get a token, and returns the streak that it belongs to.
    pub(crate) fn failed(
        &mut self,
        error: &Error,
        credentials_version: u64,
        now: Instant,
        settings: &Settings,
    ) -> &FailureStreak {
        self.keep_rejected();
        if Refused::by(error) != Refused::Nothing {
            self.works_with = None;
        }
        let streak = FailureStreak::after(self.failing.take(), error, credentials_version, now, settings);
        self.failing.insert(streak)
    }

    /// Notes that the renewal waits in the queue of its pool, and is driven.
    pub(crate) fn note_queued(&mut self, now: Instant) {
        self.queued = Some(now);
    }

    /// Returns whether the renewal was in the queue of its pool since then.
    pub(crate) fn was_queued_since(&self, then: Instant) -> bool {
        self.queued.is_some_and(|queued| queued >= then)
    }

    /// Serves a rejected token again: its renewal failed, so it is the best one.
    pub(crate) fn keep_rejected(&mut self) {
        if matches!(self.standing, Standing::Doubted | Standing::Rejected) {
            self.standing = Standing::Kept;
        }
    }

    /// Returns whether the last renewal failed.
    pub(crate) fn is_failing(&self) -> bool {
        self.failing.is_some()
    }

    /// Returns the failures of this cache, unless its client's or its issuer's state says all of them.
    pub(super) fn own_failures(&self, recovery: Option<Recovery>) -> Option<&FailureStreak> {
        let is_shared = |streak: &FailureStreak| {
            streak.error.refuses_client() || recovery.is_some_and(|recovery| recovery.ends(streak))
        };
        self.failing.as_ref().filter(|streak| !is_shared(streak))
    }

    /// Returns how the last renewal ended, for its issuer.
    pub(crate) fn last_renewal(&self, recovery: Option<Recovery>) -> LastRenewal {
        match self.own_failures(recovery) {
            Some(_) => LastRenewal::Failed,
            None if self.renewals > 0 => LastRenewal::Succeeded,
            None => LastRenewal::None,
        }
    }

    /// Forgets the failures that an outage caused which has ended, so that the next one does not continue them.
    pub(crate) fn forget_outage(&mut self, recovery: Option<Recovery>) {
        self.failing.take_if(|streak| recovery.is_some_and(|recovery| recovery.ends(streak)));
    }

    /// Returns whether the last renewal succeeded with these credentials, or failed only because the issuer did not answer.
    pub(crate) fn works_with(&self, credentials_version: u64) -> bool {
        self.works_with == Some(credentials_version)
    }

    /// Returns whether something would be lost with this cache that protects the issuer: a backoff, or what rejections cost so far.
    pub(crate) fn protects_issuer(&self, now: Instant) -> bool {
        let is_refusal_recent = |streak: &FailureStreak| streak.is_recent(now) && !streak.error.is_unsent();
        self.failing.as_ref().is_some_and(is_refusal_recent) || self.budget.remembers_rejection(now)
    }

    /// Returns whether the newest token may still be accepted somewhere, so that there is something to revoke. Only the clock
    /// that is not a user's is asked.
    pub(crate) fn holds_live_token(&self, now: Instant) -> bool {
        self.newest.as_ref().is_some_and(|newest| !newest.is_expired(now, SystemTime::UNIX_EPOCH))
    }

    /// Forgets the token. Its generation is kept, so that the next token has another one. A rejected token stays rejected, so
    /// that a source does not return its copy of it.
    pub(crate) fn forget(&mut self) {
        self.standing = Standing::Forgotten { rejected: self.is_rejected() };
    }

    /// Forgets this token as if it was rejected, if it is the newest one. Returns whether it is.
    pub(crate) fn withdraw(&mut self, token: &AccessToken) -> bool {
        let is_newest = self.newest().is_some_and(|newest| newest.secret() == token.secret());
        if is_newest {
            self.standing = Standing::Forgotten { rejected: true };
        }
        is_newest
    }

    /// Forgets the token and every failure.
    pub(crate) fn reset(&mut self, settings: &Settings) {
        let (newest, renewals) = (self.newest.take(), self.renewals);
        *self = Self { newest, renewals, standing: Standing::Forgotten { rejected: false }, ..Self::new(settings) };
    }

    /// Returns a snapshot for health probes.
    pub(crate) fn status(&self, now: Instant, wall: SystemTime, renewing: bool) -> CacheStatus {
        let served = self.served();
        let age = match served {
            None => Age::Missing,
            Some(served) if served.is_expired(now, wall) => Age::Expired,
            Some(served) if served.is_stale(now) => Age::Stale,
            Some(_) => Age::Fresh,
        };
        let failing = self.failing.as_ref();
        CacheStatus {
            age,
            generation: self.generation(),
            expires_in: served.map(|served| served.expires_in(now, wall)),
            renewing,
            renewals: self.renewals,
            failures: failing.map_or(0, FailureStreak::total),
            total_failures: 0,
            rejections: 0,
            second_attempts: 0,
            last_error: failing.map(|failing| failing.error.clone()),
            retry_in: failing.and_then(|failing| failing.wait(now)),
            rejections_limited: self.is_limited(),
            next_rejection_renewal_in: self.budget.next_renewal(now),
        }
    }

    pub(super) fn is_rejected(&self) -> bool {
        match self.standing {
            Standing::Good => false,
            Standing::Doubted | Standing::Rejected | Standing::Kept => true,
            Standing::Forgotten { rejected } => rejected,
        }
    }
}
