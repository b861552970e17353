//! What a request does, decided by the state of its cache.
//!
//! The decisions are pure: a [`CacheState`] and the [`Conditions`] go in, a [`Decision`] comes out. Nothing here waits, locks
//! or reads a clock.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use crate::{
    cache::{
        client_state::ClientState,
        issuer_state::IssuerState,
        refusals::SharedRefusals,
        served_token::ServedToken,
        state::{CacheState, Standing},
    },
    error::Error,
};

/// What a decision depends on beside the state.
#[derive(Debug)]
pub(crate) struct Conditions {
    pub(crate) now: Instant,
    pub(crate) wall: SystemTime,
    /// Whether a renewal is in progress.
    pub(crate) renewing: bool,
    pub(crate) credentials_version: u64,
    /// The refusals that narrowed caches share.
    pub(crate) refusals: SharedRefusals,
    /// What the identities of a pool know of their client and its issuer, if they share it.
    pub(crate) client: Option<ClientConditions>,
}

/// What may hold back an identity because of its client or its issuer.
#[derive(Debug)]
pub(crate) struct ClientConditions {
    pub(crate) client: ClientState,
    pub(crate) issuer: IssuerState,
    /// How long a probe of the issuer may take.
    pub(crate) patience: Duration,
}

/// What a request is to do.
#[derive(Debug)]
pub(crate) enum Decision {
    /// Use this token, and begin a renewal in the background if `renew` says so.
    Serve { token: Arc<ServedToken>, renew: bool },
    /// Wait for the renewal in progress, or begin one and wait for it.
    Wait,
    /// Pass the rejection on: too many new tokens were rejected.
    BudgetSpent,
    /// Fail with this error: the source is not asked, because of an earlier failure.
    Fail(Error),
}

impl Decision {
    /// Returns whether the caller takes part in a renewal.
    pub(crate) fn joins(&self) -> bool {
        matches!(self, Self::Wait | Self::Serve { renew: true, .. })
    }
}

impl CacheState {
    /// Returns a fresh token, with a new lease where the old one has ended.
    pub(crate) fn lease(&mut self, now: Instant, wall: SystemTime) -> Option<Arc<ServedToken>> {
        let served = self.served().filter(|served| served.is_fresh(now, wall))?;
        if served.needs_lease(now) {
            self.newest = Some(Arc::new(served.leased(now)));
        }
        self.newest.clone()
    }

    /// Decides what a request does that found no fresh token.
    pub(crate) fn decide_lookup(&mut self, at: &Conditions) -> Decision {
        match self.usable(at.now, at.wall) {
            Some(token) => {
                let renew = token.is_stale(at.now) && !at.renewing && self.backing_off(at).is_none();
                Decision::Serve { token: Arc::clone(token), renew }
            }
            None => match self.renew(at) {
                // A rejected token is served again when its renewal cannot begin.
                Decision::Fail(error) => self
                    .usable(at.now, at.wall)
                    .map_or(Decision::Fail(error), |token| Decision::Serve { token: Arc::clone(token), renew: false }),
                decision => decision,
            },
        }
    }

    /// Decides what a request does whose first attempt carried the token of `generation` and was rejected.
    pub(crate) fn decide_rejection(&mut self, generation: u64, at: &Conditions) -> Decision {
        if generation != self.generation() {
            // A late rejection of a token that was replaced since.
            return match self.usable(at.now, at.wall) {
                Some(token) => Decision::Serve { token: Arc::clone(token), renew: false },
                None => self.renew(at),
            };
        }
        let was_limited = self.budget.is_limited();
        // Otherwise this renewal was granted to an earlier rejection, and was dropped with its runtime.
        if !at.renewing && !matches!(self.standing, Standing::Doubted | Standing::Rejected) {
            let accepted = self.served().and_then(|served| served.accepted_at());
            if let Some(error) = self.backing_off(at) {
                self.budget.rejected(accepted, at.now);
                if self.standing == Standing::Good {
                    self.standing = Standing::Kept;
                }
                return Decision::Fail(error);
            }
            if !self.budget.may_renew(accepted, at.now) {
                return Decision::BudgetSpent;
            }
        }
        self.standing = match self.standing {
            Standing::Good if was_limited => Standing::Doubted,
            Standing::Good => Standing::Rejected,
            Standing::Kept => Standing::Doubted,
            Standing::Forgotten { .. } => Standing::Forgotten { rejected: true },
            unchanged @ (Standing::Doubted | Standing::Rejected) => unchanged,
        };
        self.renew(at)
    }

    /// Decides what a request does that needs a new token.
    fn renew(&mut self, at: &Conditions) -> Decision {
        if at.renewing {
            return Decision::Wait;
        }
        let Some(error) = self.backing_off(at) else { return Decision::Wait };
        self.keep_rejected();
        Decision::Fail(error)
    }

    /// Returns the error for a caller that needs the source while it is not asked.
    fn backing_off(&self, at: &Conditions) -> Option<Error> {
        let failing = match &at.client {
            Some(shared) => self.own_failures(shared.issuer.recovery()),
            None => self.failing.as_ref(),
        };
        let own = failing.and_then(|streak| streak.backing_off(at.now, at.credentials_version));
        let own = own.or_else(|| {
            let ClientConditions { client, issuer, patience } = at.client.as_ref()?;
            let last = self.last_renewal(issuer.recovery());
            client.backing_off(at.now).or_else(|| issuer.backing_off(last, *patience, at.now))
        });
        let works = self.works_with(at.credentials_version);
        own.or_else(|| at.refusals.backing_off(works, at.credentials_version, at.now))
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use http::StatusCode;

    use super::*;
    use crate::{
        cache::{settings::Settings, status::Age},
        error::FailureClass,
        source::Reason,
        token::AccessToken,
    };

    const SECOND: Duration = Duration::from_secs(1);
    const HOUR: Duration = Duration::from_secs(3600);

    /// A state, and the clocks that it is asked by.
    struct Played {
        state: CacheState,
        settings: Settings,
        at: Conditions,
    }

    impl Played {
        fn new() -> Self {
            let settings = Settings { stale_jitter: 0.0, ..Settings::default() };
            let at = Conditions {
                now: Instant::now(),
                wall: UNIX_EPOCH,
                renewing: false,
                credentials_version: 0,
                refusals: SharedRefusals::default(),
                client: None,
            };
            Self { state: CacheState::new(&settings), settings, at }
        }

        /// With a token of an hour.
        fn issued() -> Self {
            let mut played = Self::new();
            played.issue("t1");
            played
        }

        fn issue(&mut self, token: &str) -> u64 {
            let token = AccessToken::new(token).unwrap().with_expires_in(HOUR);
            let served = ServedToken::new(token, &self.settings, false, self.at.now, self.at.wall);
            self.state.issued(&served, self.at.credentials_version, self.at.now).generation()
        }

        fn fail(&mut self, error: &Error) {
            self.state.failed(error, self.at.credentials_version, self.at.now, &self.settings);
        }

        fn pass(&mut self, time: Duration) {
            self.at.now += time;
            self.at.wall += time;
        }

        fn lookup(&mut self) -> String {
            name(&self.state.decide_lookup(&self.at))
        }

        fn rejected(&mut self, generation: u64) -> String {
            name(&self.state.decide_rejection(generation, &self.at))
        }
    }

    fn name(decision: &Decision) -> String {
        match decision {
            Decision::Serve { token, renew: true } => format!("serve {}, renew", token.token.secret()),
            Decision::Serve { token, renew: false } => format!("serve {}", token.token.secret()),
            Decision::Wait => "wait".to_owned(),
            Decision::BudgetSpent => "budget spent".to_owned(),
            Decision::Fail(error) => format!("fail {:?}", error.class()),
        }
    }

    fn refused() -> Error {
        Error::refused(StatusCode::BAD_REQUEST, "invalid_grant".into(), None)
    }

    #[test]
    fn a_request_without_a_token_waits_for_one() {
        let mut played = Played::new();
        assert_eq!(played.lookup(), "wait");
        assert!(matches!(played.state.reason(), Reason::First));
        assert_eq!(played.state.generation(), 0);
    }

    #[test]
    fn the_age_of_a_token_decides() {
        let mut played = Played::issued();
        assert_eq!(played.lookup(), "serve t1");
        played.pass(3301 * SECOND);
        assert_eq!(played.lookup(), "serve t1, renew");
        played.at.renewing = true;
        assert_eq!(played.lookup(), "serve t1", "a renewal is in progress");
        played.pass(240 * SECOND);
        assert_eq!(played.lookup(), "wait");
        assert!(matches!(played.state.reason(), Reason::Ageing));
    }

    #[test]
    fn either_clock_ends_a_token() {
        let mut played = Played::issued();
        played.at.wall += HOUR;
        assert_eq!(played.lookup(), "wait");
    }

    #[test]
    fn only_a_fresh_token_is_leased_and_only_when_its_lease_has_ended() {
        let mut played = Played::issued();
        let lease = |played: &mut Played| played.state.lease(played.at.now, played.at.wall);
        let first = lease(&mut played).unwrap();
        assert!(Arc::ptr_eq(&first, &lease(&mut played).unwrap()));
        played.pass(SECOND);
        assert!(!Arc::ptr_eq(&first, &lease(&mut played).unwrap()));
        played.pass(3301 * SECOND);
        assert!(lease(&mut played).is_none(), "it is stale");
    }

    #[test]
    fn a_failure_holds_requests_back_until_its_wait_is_over() {
        let mut played = Played::new();
        played.fail(&refused());
        assert_eq!(played.lookup(), "fail Terminal");
        played.pass(59 * SECOND);
        assert_eq!(played.lookup(), "fail Terminal");
        played.pass(SECOND);
        assert_eq!(played.lookup(), "wait");
    }

    #[test]
    fn new_credentials_end_the_wait_after_a_refusal_but_not_after_an_outage() {
        for (error, after) in
            [(refused(), "wait"), (Error::transient("down").with_retry_after(SECOND), "fail Transient")]
        {
            let mut played = Played::new();
            played.fail(&error);
            played.at.credentials_version = 1;
            assert_eq!(played.lookup(), after);
        }
    }

    #[test]
    fn a_refusal_in_a_narrowed_cache_holds_requests_back_too() {
        let mut played = Played::new();
        played.at.refusals.failed(&refused(), 0, played.at.now, &played.settings);
        assert_eq!(played.lookup(), "fail Terminal");
    }

    #[test]
    fn a_cache_whose_own_last_renewal_succeeded_with_the_same_credentials_tries_for_itself() {
        let mut played = Played::issued();
        played.pass(3600 * SECOND);
        played.at.refusals.failed(&refused(), 0, played.at.now, &played.settings);
        assert_eq!(played.lookup(), "wait");
        played.fail(&refused());
        played.pass(60 * SECOND);
        played.at.refusals.failed(&refused(), 0, played.at.now, &played.settings);
        assert_eq!(played.lookup(), "fail Terminal", "its own was refused too");
    }

    #[test]
    fn failures_of_each_class_are_counted_apart() {
        let mut played = Played::new();
        for error in [refused(), Error::transient("down"), Error::unexplained("403"), refused()] {
            played.fail(&error);
        }
        let status = played.state.status(played.at.now, played.at.wall, false);
        assert_eq!(status.failures, 4);
        assert_eq!(status.last_error.unwrap().class(), FailureClass::Terminal);
        assert_eq!(status.retry_in, Some(120 * SECOND), "the second refusal, whatever came between");
    }

    #[test]
    fn a_rejected_token_is_not_served_while_it_is_renewed() {
        let mut played = Played::issued();
        assert_eq!(played.rejected(1), "wait");
        assert!(played.state.served().is_none());
        assert!(matches!(played.state.reason(), Reason::Rejected { token } if token.secret() == "t1"));
        played.at.renewing = true;
        assert_eq!((played.lookup(), played.rejected(1)), ("wait".into(), "wait".into()), "they join the renewal");
    }

    #[test]
    fn a_late_rejection_gets_the_newer_token() {
        let mut played = Played::issued();
        assert_eq!(played.rejected(1), "wait");
        assert_eq!(played.issue("t2"), 2);
        assert_eq!(played.rejected(1), "serve t2");
        assert!(!played.state.is_rejected());
    }

    #[test]
    fn the_same_token_again_has_the_same_generation() {
        let mut played = Played::issued();
        assert_eq!(played.rejected(1), "wait");
        assert_eq!(played.issue("t1"), 1);
        assert_eq!(played.lookup(), "serve t1");
    }

    #[test]
    fn while_limited_a_rejected_token_is_served_during_its_renewal() {
        let mut played = Played::issued();
        assert_eq!(played.rejected(1), "wait");
        played.issue("t2");
        played.state.retried(2, false, played.at.now);
        assert!(played.state.is_limited());
        assert_eq!(played.rejected(2), "budget spent");
        assert_eq!(played.lookup(), "serve t2");
        played.pass(SECOND);
        assert_eq!(played.rejected(2), "wait");
        assert_eq!(played.lookup(), "serve t2");
        assert!(matches!(played.state.reason(), Reason::Rejected { .. }));
    }

    #[test]
    fn when_its_renewal_fails_a_rejected_token_is_served_again_and_each_rejection_tries_again_after_the_wait() {
        let mut played = Played::issued();
        assert_eq!(played.rejected(1), "wait");
        played.fail(&refused());
        assert_eq!((played.lookup(), played.rejected(1)), ("serve t1".into(), "fail Terminal".into()));
        assert!(matches!(played.state.reason(), Reason::Rejected { .. }));
        played.pass(60 * SECOND);
        assert_eq!(played.lookup(), "serve t1", "only a rejection tries again");
        assert_eq!(played.rejected(1), "wait");
        played.at.renewing = true;
        assert_eq!((played.lookup(), played.rejected(1)), ("serve t1".into(), "wait".into()));
        played.at.renewing = false;
        played.fail(&refused());
        assert_eq!((played.lookup(), played.rejected(1)), ("serve t1".into(), "fail Terminal".into()));
        played.pass(3600 * SECOND);
        assert_eq!(played.lookup(), "wait", "it has expired");
    }

    #[test]
    fn a_token_that_is_rejected_while_the_source_is_not_asked_goes_on_being_served() {
        let mut played = Played::issued();
        played.fail(&refused());
        assert_eq!((played.rejected(1), played.lookup()), ("fail Terminal".into(), "serve t1".into()));
        assert!(played.state.is_watched());
    }

    /// The renewal was dropped with its runtime, and then another cache's refusal holds back all.
    #[test]
    fn a_rejected_token_whose_renewal_was_lost_is_served_while_no_other_can_begin() {
        let mut played = Played::issued();
        assert_eq!(played.rejected(1), "wait");
        let refused = Error::refused(StatusCode::UNAUTHORIZED, "invalid_client".into(), None);
        played.at.refusals.failed(&refused, 0, played.at.now, &played.settings);
        assert_eq!((played.lookup(), played.rejected(1)), ("serve t1".into(), "fail Terminal".into()));
        played.pass(60 * SECOND);
        assert_eq!(played.rejected(1), "wait");
    }

    #[test]
    fn a_forgotten_token_is_not_served_after_a_failure_either() {
        for rejected_before in [false, true] {
            let mut played = Played::issued();
            if rejected_before {
                assert_eq!(played.rejected(1), "wait");
            }
            played.state.forget();
            assert_eq!(played.rejected(1), "wait");
            played.fail(&refused());
            assert_eq!(played.lookup(), "fail Terminal");
        }
    }

    #[test]
    fn rejections_while_the_source_is_not_asked_are_not_a_quiet_time() {
        let mut played = Played::issued();
        assert_eq!(played.rejected(1), "wait");
        played.issue("t2");
        played.state.retried(2, false, played.at.now);
        played.fail(&refused().with_retry_after(600 * SECOND));
        for _ in 0..6 {
            assert_eq!(played.rejected(2), "fail Terminal");
            played.pass(90 * SECOND);
        }
        assert!(played.state.is_limited());
    }

    #[test]
    fn a_reset_forgets_the_token_and_the_failures_but_not_the_generation() {
        let mut played = Played::issued();
        played.fail(&refused());
        played.state.reset(&played.settings);
        assert_eq!(played.lookup(), "wait");
        assert!(matches!(played.state.reason(), Reason::Ageing), "nobody rejected it");
        assert_eq!(played.issue("t2"), 2);
    }

    #[test]
    fn a_rejected_token_that_is_forgotten_stays_rejected() {
        let mut played = Played::issued();
        assert_eq!(played.rejected(1), "wait");
        played.state.forget();
        assert!(matches!(played.state.reason(), Reason::Rejected { .. }), "a source must not return its copy of it");
    }

    #[test]
    fn a_forgotten_token_is_not_served() {
        let mut played = Played::issued();
        played.state.forget();
        assert_eq!(played.lookup(), "wait");
        assert_eq!(played.state.newest().unwrap().secret(), "t1", "it can still be revoked");
        let status = played.state.status(played.at.now, played.at.wall, true);
        assert_eq!((status.age, status.generation, status.renewing), (Age::Missing, 1, true));
    }
}
