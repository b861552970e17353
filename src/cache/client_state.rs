//! What the identities of a pool know together of a client and its issuer: whether the client was refused, and whether the
//! issuer has an outage.
//!
//! A client that was not accepted yet is tried by one identity at a time, and the others wait for the outcome. So a wrong
//! client secret is sent once, however many identities there are. An answer about something else, such as a wrong password,
//! shows that the client itself was accepted.
//!
//! When the renewals of several identities fail in a row because the issuer is down, the outage is known. Then one identity at
//! a time asks, after a backoff, and the others fail at once. A failure that may be a wrong password is not counted,
//! whatever it looks like ([`Error::is_outage`]).

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    cache::{backoff::LONGEST, failure_streak::FailureStreak, refusals::Admission, settings::Settings},
    error::Error,
};

/// How many identities must fail in a row. A server may say of a locked account that it is busy.
const OUTAGE: usize = 3;

/// How many tries of a client may end without saying whether it was accepted. After them, nothing is learned by waiting.
const MAX_INCONCLUSIVE: u32 = 3;

/// What a request is told to wait during another one's probe.
const PROBING: Duration = Duration::from_secs(1);

/// What is known of a client.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClientState {
    refused: Option<FailureStreak>,
    is_accepted: bool,
    inconclusive: u32,
    /// The identities whose renewals failed since the issuer answered last.
    failing: [Option<usize>; OUTAGE],
    /// When the first of them failed.
    failing_since: Option<Instant>,
    outage: Option<Outage>,
    /// The last outage that ended: when it began and ended.
    recovered: Option<(Instant, Instant)>,
    /// When the last try began.
    try_began: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Outage {
    error: Error,
    probes: u32,
    until: Instant,
}

/// A failed renewal.
pub(crate) struct Failed<'a> {
    pub(crate) error: &'a Error,
    pub(crate) identity: usize,
    /// When its last request was sent.
    pub(crate) asked: Instant,
    /// Whether it was the one try in progress.
    pub(crate) is_try: bool,
}

impl ClientState {
    /// Returns the error for an identity that needs the source while it is held back. `is_trying` says whether a try is in
    /// progress, and `patience` how long one may take.
    pub(crate) fn backing_off(&self, is_trying: bool, patience: Duration, now: Instant) -> Option<Error> {
        if let Some(refused) = &self.refused {
            return refused.backing_off(now, 0);
        }
        let outage = self.outage.as_ref()?;
        let is_probed =
            is_trying && self.try_began.is_some_and(|began| now.saturating_duration_since(began) < patience);
        let wait = match outage.until.saturating_duration_since(now) {
            Duration::ZERO if is_probed => PROBING,
            Duration::ZERO => return None,
            wait => wait,
        };
        Some(Error::backing_off(&outage.error, wait))
    }

    /// Decides whether an identity may ask the issuer.
    pub(crate) fn admit(&mut self, is_trying: bool, patience: Duration, now: Instant) -> Admission {
        match self.backing_off(is_trying, patience, now) {
            Some(error) => Admission::Refuse(error),
            None if self.outage.is_none() && (self.is_accepted || self.inconclusive >= MAX_INCONCLUSIVE) => {
                Admission::Ask
            }
            None if is_trying => Admission::Try { began: self.try_began.unwrap_or(now) },
            None => Admission::Try { began: *self.try_began.insert(now) },
        }
    }

    /// Returns whether the issuer is probably down, so that a renewal is not tried several times.
    pub(crate) fn is_outage_likely(&self) -> bool {
        let failing = self.failing.iter().flatten().count();
        self.outage.is_some() || failing > usize::from(self.is_accepted)
    }

    /// Returns whether a failure of an identity no longer holds that identity back: the client's state says all of it.
    pub(crate) fn overrides(&self, streak: &FailureStreak) -> bool {
        let is_of_outage = |(began, ended)| (began..=ended).contains(&streak.noted());
        streak.error.refuses_client() || (streak.error.is_outage() && self.recovered.is_some_and(is_of_outage))
    }

    /// Notes that an identity got a token.
    pub(crate) fn succeeded(&mut self, now: Instant) {
        self.answered(now);
        (self.refused, self.is_accepted) = (None, true);
    }

    /// Notes a failure.
    pub(crate) fn failed(&mut self, failed: &Failed<'_>, now: Instant, settings: &Settings) {
        let Failed { error, asked, .. } = *failed;
        if error.refuses_client() {
            self.answered(now);
            (self.is_accepted, self.inconclusive) = (false, 0);
            // Those that were sent before the first refusal came say nothing new.
            if self.refused.as_ref().is_none_or(|refused| asked > refused.noted()) {
                self.refused = Some(FailureStreak::after(self.refused.take(), error, 0, now, settings));
            }
        } else if error.is_outage() {
            self.unreachable(failed, now, settings);
        } else if error.shows_authenticated_client() {
            self.succeeded(now);
        } else if failed.is_try {
            self.inconclusive = self.inconclusive.saturating_add(1);
            if let Some(outage) = &mut self.outage {
                outage.probed(None, now, settings);
            }
        }
    }

    fn unreachable(&mut self, failed: &Failed<'_>, now: Instant, settings: &Settings) {
        if let Some(outage) = &mut self.outage {
            // Those that were in progress when the outage became known say nothing new.
            if failed.is_try {
                outage.probed(Some(failed.error), now, settings);
            }
            return;
        }
        self.failing_since.get_or_insert(now);
        if !self.failing.contains(&Some(failed.identity))
            && let Some(free) = self.failing.iter_mut().find(|identity| identity.is_none())
        {
            *free = Some(failed.identity);
        }
        if self.failing.iter().all(Option::is_some) {
            let outage = Outage { error: failed.error.clone(), probes: 0, until: now };
            self.outage.insert(outage).probed(Some(failed.error), now, settings);
        }
    }

    /// Notes that the issuer answers.
    fn answered(&mut self, now: Instant) {
        if self.outage.take().is_some() {
            self.recovered = self.failing_since.map(|began| (began, now));
        }
        (self.failing, self.failing_since, self.inconclusive) = ([None; OUTAGE], None, 0);
    }
}

impl Outage {
    /// Begins the next wait. A `Retry-After` lengthens it up to the longest backoff only: one that a locked account
    /// brought must not hold back the others for longer.
    fn probed(&mut self, error: Option<&Error>, now: Instant, settings: &Settings) {
        if let Some(error) = error {
            self.error = error.clone();
        }
        self.probes = self.probes.saturating_add(1);
        let requested = settings.requested_wait(&self.error).min(settings.transient.longest());
        self.until = now + settings.transient.wait(self.probes).max(requested).min(LONGEST);
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::cache::backoff::Backoff;

    const SECOND: Duration = Duration::from_secs(1);
    const PATIENCE: Duration = Duration::from_secs(11);

    struct Played {
        state: ClientState,
        now: Instant,
        settings: Settings,
    }

    impl Played {
        fn new() -> Self {
            let transient = Backoff::new(SECOND, 30 * SECOND);
            let settings = Settings { transient, ..Settings::default() };
            Self { state: ClientState::default(), now: Instant::now(), settings }
        }

        fn accepted() -> Self {
            let mut played = Self::new();
            played.state.succeeded(played.now);
            played
        }

        fn fail(&mut self, identity: usize, error: &Error, is_try: bool) {
            self.fail_asked(self.now, identity, error, is_try);
        }

        fn fail_asked(&mut self, asked: Instant, identity: usize, error: &Error, is_try: bool) {
            self.now += Duration::from_millis(1);
            self.state.failed(&Failed { error, identity, asked, is_try }, self.now, &self.settings);
        }

        fn outage() -> Self {
            let mut played = Self::accepted();
            (0..3).for_each(|identity| played.fail(identity, &busy(), false));
            assert!(played.state.outage.is_some());
            played
        }

        fn admit(&mut self, is_trying: bool) -> &'static str {
            match self.state.admit(is_trying, PATIENCE, self.now) {
                Admission::Ask => "ask",
                Admission::Try { .. } => "try",
                Admission::Refuse(_) => "refuse",
            }
        }
    }

    fn busy() -> Error {
        Error::unexplained_status(StatusCode::SERVICE_UNAVAILABLE)
    }

    fn refused(code: &str) -> Error {
        Error::refused(StatusCode::BAD_REQUEST, code.into(), None)
    }

    #[test]
    fn a_client_is_tried_until_it_was_accepted_or_nothing_can_be_learned() {
        for (answers, then) in [
            (vec![refused("invalid_grant")], "ask"),
            (vec![refused("invalid_scope")], "ask"),
            (vec![refused("invalid_client")], "refuse"),
            (vec![refused("invalid_request")], "try"),
            (vec![Error::connect("closed")], "try"),
            (vec![refused("invalid_request"); 3], "ask"),
        ] {
            let mut played = Played::new();
            assert_eq!(played.admit(false), "try");
            assert_eq!(played.admit(true), "try", "others wait");
            for answer in &answers {
                played.fail(1, answer, true);
            }
            assert_eq!(played.admit(false), then, "{answers:?}");
        }
    }

    #[test]
    fn refusals_that_come_at_once_count_as_one() {
        let mut played = Played::accepted();
        let asked = played.now;
        (0..64).for_each(|identity| played.fail_asked(asked, identity, &refused("invalid_client"), false));
        assert_eq!(played.admit(false), "refuse");
        played.now += 61 * SECOND;
        assert_eq!(played.admit(false), "try");
        played.fail(1, &refused("invalid_client"), true);
        played.now += 61 * SECOND;
        assert_eq!(played.admit(false), "refuse", "the next wait is twice as long");
    }

    #[test]
    fn several_identities_that_fail_in_a_row_are_an_outage_and_one_is_not() {
        let mut played = Played::accepted();
        (0..100).for_each(|_| played.fail(1, &busy(), false));
        played.fail(2, &busy(), false);
        assert_eq!(played.admit(false), "ask");
        played.state.succeeded(played.now);
        played.fail(3, &busy(), false);
        assert_eq!(played.admit(false), "ask", "an answer came between");
        played.fail(1, &busy(), false);
        played.fail(2, &busy(), false);
        assert_eq!(played.admit(false), "refuse");
    }

    #[test]
    fn what_may_be_a_wrong_password_is_not_an_outage() {
        let closed =
            || Error::request_failed(std::io::Error::from(std::io::ErrorKind::ConnectionReset)).of_credentials();
        let unread = || Error::provider("no such user in the vault".into());
        for error in [closed(), unread(), Error::unexplained("no"), Error::unusable_token("it is old"), refused("x")] {
            let mut played = Played::accepted();
            (0..10).for_each(|identity| played.fail(identity, &error, false));
            assert_eq!(played.admit(false), "ask", "{error}");
        }
    }

    #[test]
    fn an_outage_is_probed_by_one_at_a_time_at_growing_intervals() {
        let mut played = Played::outage();
        for wait in [1, 2, 4, 8, 16, 30, 30] {
            assert_eq!(played.admit(false), "refuse");
            played.now += Duration::from_millis(1000 * wait - 1);
            assert_eq!(played.admit(false), "refuse", "{wait}");
            played.now += Duration::from_millis(1);
            assert_eq!(played.admit(false), "try", "{wait}");
            assert_eq!(played.admit(true), "refuse", "one at a time");
            (4..70).for_each(|identity| played.fail(identity, &busy(), false));
            played.fail(70, &busy(), true);
        }
        played.state.succeeded(played.now);
        assert_eq!(played.admit(false), "ask");
    }

    #[test]
    fn any_answer_of_the_issuer_ends_an_outage() {
        for (answer, then) in [("invalid_grant", "ask"), ("invalid_client", "refuse")] {
            let mut played = Played::outage();
            played.fail(1, &refused(answer), true);
            assert!(played.state.outage.is_none());
            assert_eq!(played.admit(false), then);
        }
    }

    #[test]
    fn a_probe_that_nobody_drives_is_taken_over() {
        let mut played = Played::outage();
        played.now += SECOND;
        assert_eq!(played.admit(false), "try");
        played.now += PATIENCE;
        assert_eq!(played.admit(true), "try");
    }

    #[test]
    fn a_deadline_without_end_is_no_deadline_for_a_probe() {
        let mut played = Played::outage();
        played.now += SECOND;
        assert_eq!(played.admit(false), "try");
        assert!(played.state.backing_off(true, Duration::MAX, played.now).is_some());
    }

    #[test]
    fn a_retry_after_holds_back_the_others_for_the_longest_backoff_at_most() {
        let mut played = Played::outage();
        played.fail(1, &busy().with_retry_after(600 * SECOND), true);
        played.now += 29 * SECOND;
        assert_eq!(played.admit(false), "refuse");
        played.now += SECOND;
        assert_eq!(played.admit(false), "try");
    }

    #[test]
    fn the_end_of_an_outage_ends_the_backoffs_that_it_caused() {
        let mut played = Played::accepted();
        let before = FailureStreak::after(None, &busy(), 0, played.now, &played.settings);
        (0..3).for_each(|identity| played.fail(identity, &busy(), false));
        let during = FailureStreak::after(None, &busy(), 0, played.now, &played.settings);
        let password = FailureStreak::after(None, &refused("invalid_grant"), 0, played.now, &played.settings);
        assert!(!played.state.overrides(&during));
        played.state.succeeded(played.now + SECOND);
        assert!(played.state.overrides(&during));
        assert!(!played.state.overrides(&before) && !played.state.overrides(&password));
    }
}
