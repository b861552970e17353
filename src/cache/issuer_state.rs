//! What the identities of a pool know together of an issuer: whether it has an outage.
//!
//! An issuer may fail for some identities alone: it says of a locked account that it is busy, or breaks at a token that somebody
//! made up. So what counts is whose renewal failed:
//!
//! - An identity whose renewal before succeeded is good evidence. Three of these in a row, without an answer of the issuer
//!   between, are an outage.
//! - One without a renewal before is weak evidence. It counts if the issuer has answered nobody for [`QUIET`].
//! - One whose renewal before failed too does not count. It may fail alone.
//!
//! During an outage one identity of each of these kinds asks at a time, each kind after its own backoff, and the others fail at
//! once. So those that fail alone do not keep the others from asking. Each answer of the issuer ends the outage.
//!
//! A failure that may be a wrong password is not counted, whatever it looks like ([`Error::is_outage`]).

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    cache::{backoff::LONGEST, failure_streak::FailureStreak, settings::Settings},
    error::Error,
};

/// How many identities must fail in a row.
const OUTAGE: usize = 3;

/// How long an issuer has answered nobody, so that the failures of identities which it has never answered count.
const QUIET: Duration = Duration::from_secs(30);

/// What a request is told to wait during another one's probe.
const PROBING: Duration = Duration::from_secs(1);

/// What is known of an issuer.
#[derive(Clone, Debug, Default)]
pub(crate) struct IssuerState {
    failing: Failing,
    /// When the issuer answered last.
    answered: Option<Instant>,
    outage: Option<Outage>,
    /// The last outage that ended.
    recovery: Option<Recovery>,
}

/// The identities that failed since the issuer answered last, as far as they are evidence.
#[derive(Clone, Debug, Default)]
struct Failing {
    /// Those whose renewal before succeeded.
    good: [Option<usize>; OUTAGE],
    /// Those without a renewal before.
    weak: [Option<usize>; OUTAGE],
    /// When the first of them asked.
    since: Option<Instant>,
    error: Option<Error>,
}

#[derive(Clone, Debug)]
struct Outage {
    error: Error,
    /// Of each kind of identity.
    probes: [Probes; 3],
}

#[derive(Clone, Debug)]
struct Probes {
    failed: u32,
    until: Instant,
    prober: Weak<()>,
    began: Instant,
}

/// The one that probes an issuer, until it is dropped.
pub(crate) type Prober = Arc<()>;

/// How an identity's renewal before ended. Those that an outage made fail do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LastRenewal {
    None,
    Succeeded,
    Failed,
}

/// The time of an outage that has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recovery {
    began: Instant,
    ended: Instant,
}

/// A failed renewal.
pub(crate) struct Failed<'a> {
    pub(crate) error: &'a Error,
    pub(crate) identity: usize,
    pub(crate) last: LastRenewal,
    /// When its last request was sent.
    pub(crate) asked: Instant,
    /// Set if it was a probe.
    pub(crate) prober: Option<&'a Prober>,
}

impl Recovery {
    /// Returns whether an outage made these renewals fail, so that its end is the end of their backoff. Those that failed before
    /// it as well have their own reason.
    pub(crate) fn ends(&self, streak: &FailureStreak) -> bool {
        let outage = self.began..=self.ended;
        streak.error.is_outage() && outage.contains(&streak.began()) && outage.contains(&streak.noted())
    }
}

impl IssuerState {
    /// Returns the last outage that ended.
    pub(crate) fn recovery(&self) -> Option<Recovery> {
        self.recovery
    }

    /// Returns whether the issuer is probably down, so that a renewal is not tried several times.
    pub(crate) fn is_outage_likely(&self) -> bool {
        self.outage.is_some() || self.failing.count() > usize::from(self.answered.is_some())
    }

    /// Returns the error for an identity that needs the source while it is held back. `patience` says how long a probe may
    /// take.
    pub(crate) fn backing_off(&self, last: LastRenewal, patience: Duration, now: Instant) -> Option<Error> {
        let outage = self.outage.as_ref()?;
        let probes = &outage.probes[last as usize];
        let is_probed = probes.prober.strong_count() > 0 && now.saturating_duration_since(probes.began) < patience;
        let wait = match probes.until.saturating_duration_since(now) {
            Duration::ZERO if is_probed => PROBING,
            Duration::ZERO => return None,
            wait => wait,
        };
        Some(Error::backing_off(&outage.error, wait))
    }

    /// Decides whether an identity may ask the issuer. During an outage it is a prober.
    ///
    /// # Errors
    /// When it is held back.
    pub(crate) fn admit(
        &mut self,
        last: LastRenewal,
        patience: Duration,
        now: Instant,
    ) -> Result<Option<Prober>, Error> {
        if self.outage.is_none()
            && let Some(error) = self.failing.error.clone().filter(|_| self.is_down(now))
        {
            self.outage = Some(Outage::new(error, now));
        }
        if let Some(error) = self.backing_off(last, patience, now) {
            return Err(error);
        }
        Ok(self.outage.as_mut().map(|outage| {
            let new = Prober::default();
            let probes = &mut outage.probes[last as usize];
            (probes.prober, probes.began) = (Arc::downgrade(&new), now);
            new
        }))
    }

    /// Returns whether this one was not taken over, and the issuer's outage goes on.
    pub(crate) fn is_probed_by(&self, prober: &Prober) -> bool {
        let mut probers = self.outage.iter().flat_map(|outage| &outage.probes).map(|probes| &probes.prober);
        probers.any(|known| std::ptr::eq(known.as_ptr(), Arc::as_ptr(prober)))
    }

    /// Notes that the issuer answers.
    pub(crate) fn answered(&mut self, now: Instant) {
        if self.outage.take().is_some() {
            self.recovery = self.failing.since.map(|began| Recovery { began, ended: now });
        }
        (self.failing, self.answered) = (Failing::default(), Some(now));
    }

    /// Notes a failure.
    pub(crate) fn failed(&mut self, failed: &Failed<'_>, now: Instant, settings: &Settings) {
        if failed.error.is_outage() {
            self.unreachable(failed, now, settings);
        } else if failed.error.refuses_client() || failed.error.shows_authenticated_client() {
            self.answered(now);
        } else if let Some((outage, kind)) = failed.prober.and_then(|prober| self.outage_probed_by(prober)) {
            outage.probed(kind, None, now, settings);
        }
    }

    fn unreachable(&mut self, failed: &Failed<'_>, now: Instant, settings: &Settings) {
        if self.outage.is_some() {
            // Those that were in progress when the outage became known say nothing new.
            if let Some((outage, kind)) = failed.prober.and_then(|prober| self.outage_probed_by(prober)) {
                outage.probed(kind, Some(failed.error), now, settings);
            }
            return;
        }
        self.failing.add(failed);
        if failed.last != LastRenewal::Failed && self.is_down(now) {
            let mut outage = Outage::new(failed.error.clone(), now);
            outage.probed(failed.last as usize, Some(failed.error), now, settings);
            self.outage = Some(outage);
        }
    }

    fn is_down(&self, now: Instant) -> bool {
        let is_quiet = self.answered.is_none_or(|answered| now.saturating_duration_since(answered) >= QUIET);
        self.failing.good.iter().all(Option::is_some) || (is_quiet && self.failing.count() >= OUTAGE)
    }

    fn outage_probed_by(&mut self, prober: &Prober) -> Option<(&mut Outage, usize)> {
        let outage = self.outage.as_mut()?;
        let is_by = |probes: &Probes| std::ptr::eq(probes.prober.as_ptr(), Arc::as_ptr(prober));
        let kind = outage.probes.iter().position(is_by)?;
        Some((outage, kind))
    }
}

impl Failing {
    fn add(&mut self, failed: &Failed<'_>) {
        let identities = match failed.last {
            LastRenewal::Succeeded => &mut self.good,
            LastRenewal::None => &mut self.weak,
            LastRenewal::Failed => return,
        };
        if !identities.contains(&Some(failed.identity))
            && let Some(free) = identities.iter_mut().find(|identity| identity.is_none())
        {
            *free = Some(failed.identity);
        }
        self.since.get_or_insert(failed.asked);
        self.error = Some(failed.error.clone());
    }

    fn count(&self) -> usize {
        self.good.iter().chain(&self.weak).flatten().count()
    }
}

impl Outage {
    fn new(error: Error, now: Instant) -> Self {
        let probes = || Probes { failed: 0, until: now, prober: Weak::new(), began: now };
        Self { error, probes: std::array::from_fn(|_| probes()) }
    }

    /// Begins the next wait of a kind of identity. A `Retry-After` lengthens it up to the longest backoff only: one that a locked
    /// account brought must not hold back the others for longer.
    fn probed(&mut self, kind: usize, error: Option<&Error>, now: Instant, settings: &Settings) {
        if let Some(error) = error {
            self.error = error.clone();
        }
        let probes = &mut self.probes[kind];
        probes.failed = probes.failed.saturating_add(1);
        let requested = settings.requested_wait(&self.error).min(settings.transient.longest());
        probes.until = now + settings.transient.wait(probes.failed).max(requested).min(LONGEST);
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::{LastRenewal as Last, *};
    use crate::cache::backoff::Backoff;

    const SECOND: Duration = Duration::from_secs(1);
    const PATIENCE: Duration = Duration::from_secs(11);

    struct Played {
        state: IssuerState,
        now: Instant,
        settings: Settings,
    }

    impl Played {
        fn new() -> Self {
            let transient = Backoff::new(SECOND, 30 * SECOND);
            let settings = Settings { transient, ..Settings::default() };
            Self { state: IssuerState::default(), now: Instant::now(), settings }
        }

        fn answered() -> Self {
            let mut played = Self::new();
            played.state.answered(played.now);
            played
        }

        /// Three identities that had a token have failed.
        fn outage() -> Self {
            let mut played = Self::answered();
            (0..3).for_each(|identity| played.fail(identity, Last::Succeeded, None));
            assert!(played.state.outage.is_some());
            played
        }

        fn fail(&mut self, identity: usize, last: Last, prober: Option<&Prober>) {
            self.fail_with(&busy(), identity, last, prober);
        }

        fn fail_with(&mut self, error: &Error, identity: usize, last: Last, prober: Option<&Prober>) {
            let asked = self.now;
            self.now += Duration::from_millis(1);
            self.state.failed(&Failed { error, identity, last, asked, prober }, self.now, &self.settings);
        }

        fn admit(&mut self, last: Last) -> Result<Option<Prober>, Error> {
            self.state.admit(last, PATIENCE, self.now)
        }

        fn asks(&mut self, last: Last) -> bool {
            matches!(self.admit(last), Ok(None))
        }

        fn probe(&mut self, last: Last) -> Prober {
            self.admit(last).unwrap().expect("an outage is known")
        }
    }

    fn busy() -> Error {
        Error::unexplained_status(StatusCode::SERVICE_UNAVAILABLE)
    }

    fn refused(code: &str) -> Error {
        Error::refused(StatusCode::BAD_REQUEST, code.into(), None)
    }

    #[test]
    fn several_good_identities_that_fail_in_a_row_are_an_outage_and_one_is_not() {
        let mut played = Played::answered();
        (0..100).for_each(|_| played.fail(1, Last::Succeeded, None));
        played.fail(2, Last::Succeeded, None);
        assert!(played.asks(Last::Succeeded));
        played.state.answered(played.now);
        played.fail(3, Last::Succeeded, None);
        assert!(played.asks(Last::Succeeded), "an answer came between");
        played.fail(1, Last::Succeeded, None);
        played.fail(2, Last::Succeeded, None);
        assert!(played.admit(Last::Succeeded).is_err());
    }

    #[test]
    fn identities_that_go_on_failing_are_not_evidence() {
        let mut played = Played::new();
        for identity in 0..1_000 {
            played.now += SECOND;
            played.fail(identity, Last::Failed, None);
        }
        assert!(played.asks(Last::None) && !played.state.is_outage_likely());
    }

    #[test]
    fn identities_that_are_new_are_evidence_only_if_the_issuer_answers_nobody() {
        let mut played = Played::answered();
        for identity in 0..1_000 {
            played.fail(identity, Last::None, None);
        }
        assert!(played.asks(Last::None));
        played.now += QUIET;
        let prober = played.probe(Last::None);
        assert!(played.admit(Last::None).is_err());
        played.fail(1, Last::None, Some(&prober));
        assert!(played.admit(Last::None).is_err());
        let mut cold = Played::new();
        (0..3).for_each(|identity| cold.fail(identity, Last::None, None));
        assert!(cold.admit(Last::None).is_err(), "it has never answered");
    }

    #[test]
    fn each_kind_of_identity_probes_at_its_own_intervals() {
        let mut played = Played::outage();
        for wait in [1, 2, 4, 8, 16, 30, 30] {
            assert!(played.admit(Last::Succeeded).is_err());
            played.now += Duration::from_millis(1000 * wait - 1);
            assert!(played.admit(Last::Succeeded).is_err(), "{wait}");
            played.now += Duration::from_millis(1);
            let prober = played.probe(Last::Succeeded);
            assert!(played.admit(Last::Succeeded).is_err(), "one at a time");
            (4..70).for_each(|identity| played.fail(identity, Last::Succeeded, None));
            played.fail(70, Last::Succeeded, Some(&prober));
        }
        for last in [Last::None, Last::Failed] {
            let prober = played.probe(last);
            assert!(played.admit(last).is_err());
            played.fail(80, last, Some(&prober));
            assert!(played.admit(last).is_err());
        }
        played.state.answered(played.now);
        assert!(played.asks(Last::Succeeded) && played.asks(Last::Failed));
    }

    #[test]
    fn what_may_be_a_wrong_password_is_not_an_outage() {
        let closed =
            || Error::request_failed(std::io::Error::from(std::io::ErrorKind::ConnectionReset)).of_credentials();
        let unread = || Error::provider("no such user in the vault".into());
        for error in [closed(), unread(), Error::unexplained("no"), Error::unusable_token("it is old"), refused("x")] {
            let mut played = Played::answered();
            (0..10).for_each(|identity| played.fail_with(&error, identity, Last::Succeeded, None));
            assert!(played.asks(Last::Succeeded), "{error}");
        }
    }

    #[test]
    fn any_answer_of_the_issuer_ends_an_outage() {
        for answer in ["invalid_grant", "invalid_client"] {
            let mut played = Played::outage();
            played.fail_with(&refused(answer), 1, Last::Failed, None);
            assert!(played.asks(Last::Succeeded));
        }
    }

    #[test]
    fn a_failure_that_says_nothing_goes_on_with_the_outage() {
        let mut played = Played::outage();
        played.now += SECOND;
        let prober = played.probe(Last::Succeeded);
        played.fail_with(&refused("x"), 1, Last::Succeeded, Some(&prober));
        assert!(played.admit(Last::Succeeded).is_err());
    }

    #[test]
    fn a_probe_that_nobody_drives_is_taken_over_and_one_that_was_dropped_at_once() {
        let mut played = Played::outage();
        played.now += SECOND;
        let first = played.probe(Last::Succeeded);
        played.now += PATIENCE;
        let second = played.probe(Last::Succeeded);
        assert!(!played.state.is_probed_by(&first) && played.state.is_probed_by(&second));
        drop(second);
        played.probe(Last::Succeeded);
    }

    #[test]
    fn a_deadline_without_end_is_no_deadline_for_a_probe() {
        let mut played = Played::outage();
        played.now += SECOND;
        let _prober = played.probe(Last::Succeeded);
        assert!(played.state.backing_off(Last::Succeeded, Duration::MAX, played.now).is_some());
    }

    #[test]
    fn a_retry_after_holds_back_the_others_for_the_longest_backoff_at_most() {
        let mut played = Played::outage();
        played.now += SECOND;
        let prober = played.probe(Last::Succeeded);
        played.fail_with(&busy().with_retry_after(600 * SECOND), 1, Last::Succeeded, Some(&prober));
        played.now += 29 * SECOND;
        assert!(played.admit(Last::Succeeded).is_err());
        played.now += SECOND;
        played.probe(Last::Succeeded);
    }

    #[test]
    fn the_end_of_an_outage_ends_the_backoffs_that_it_caused() {
        let streak = |played: &Played, error: &Error, before| {
            FailureStreak::after(before, error, 0, played.now, &played.settings)
        };
        let mut played = Played::answered();
        let before = streak(&played, &busy(), None);
        played.now += SECOND;
        (0..3).for_each(|identity| played.fail(identity, Last::Succeeded, None));
        let during = streak(&played, &busy(), None);
        let goes_on = streak(&played, &busy(), Some(before.clone()));
        let password = streak(&played, &Error::terminal("a wrong password"), None);
        assert!(played.state.recovery().is_none());
        played.state.answered(played.now + SECOND);
        let recovery = played.state.recovery().unwrap();
        assert!(recovery.ends(&during));
        assert!([before, goes_on, password].iter().all(|streak| !recovery.ends(streak)));
    }
}
