//! Failures in a row, and how long the source is not asked because of them.

use std::{ops::Deref, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    cache::{backoff::LONGEST, settings::Settings},
    error::{Error, FailureClass},
};

/// How long after its wait a streak still matters, because the next failure would continue it.
const RECENT: Duration = Duration::from_secs(600);

/// How many transient answers in a row may be an outage. Some servers lock an account and say so with a transient status, and
/// the lock lasts for as long as the client goes on asking.
const LONG_SERIES: u32 = 24;

/// Failures in a row, up to the last one. One pointer, because most caches have none.
#[derive(Clone, Debug)]
pub(crate) struct FailureStreak(Arc<Streak>);

#[derive(Debug)]
pub(crate) struct Streak {
    pub(crate) error: Error,
    counts: FailureCounts,
    began: Instant,
    noted: Instant,
    until: Instant,
    credentials_version: u64,
}

/// How many failures of each class there were. An outage between two refusals does not shorten the wait after the second.
#[derive(Clone, Copy, Debug, Default)]
struct FailureCounts {
    transient: u32,
    /// How many of them were answers, so that the server has seen the credentials.
    answered: u32,
    unexplained: u32,
    terminal: u32,
}

impl Deref for FailureStreak {
    type Target = Streak;

    fn deref(&self) -> &Streak {
        &self.0
    }
}

impl FailureStreak {
    /// Returns the streak that `error` continues or begins. Other credentials begin a new one.
    pub(crate) fn after(
        before: Option<Self>,
        error: &Error,
        credentials_version: u64,
        now: Instant,
        settings: &Settings,
    ) -> Self {
        let before = before.filter(|streak| streak.credentials_version == credentials_version);
        let began = before.as_ref().map_or(now, |streak| streak.began);
        let mut counts = before.map_or_else(FailureCounts::default, |streak| streak.counts);
        let failures = counts.add(error);
        let wait = match counts.answered.checked_sub(LONG_SERIES) {
            Some(longer @ 1..) if error.class() == FailureClass::Transient => {
                settings.transient.up_to(settings.terminal).wait(longer + 1)
            }
            _ => settings.backoff(error.class()).wait(failures),
        };
        let wait = wait.max(settings.requested_wait(error)).min(LONGEST);
        Self(Arc::new(Streak {
            error: error.clone(),
            counts,
            began,
            noted: now,
            until: now + wait,
            credentials_version,
        }))
    }

    /// Returns the error for a caller that comes during the wait.
    pub(crate) fn backing_off(&self, now: Instant, credentials_version: u64) -> Option<Error> {
        let wait = self.wait(now)?;
        // New credentials end the wait after a refusal, but not after an outage.
        let has_new_credentials = self.is_refusal() && credentials_version != self.credentials_version;
        (!has_new_credentials).then(|| Error::backing_off(&self.error, wait))
    }

    /// Returns when the first failure was noted.
    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    /// Returns when the last failure was noted.
    pub(crate) fn noted(&self) -> Instant {
        self.noted
    }

    /// Returns how long the source is still not asked.
    pub(crate) fn wait(&self, now: Instant) -> Option<Duration> {
        (now < self.until).then(|| self.until - now)
    }

    /// Returns how many failures there were in a row.
    pub(crate) fn total(&self) -> u32 {
        let FailureCounts { transient, unexplained, terminal, .. } = self.counts;
        transient.saturating_add(unexplained).saturating_add(terminal)
    }

    /// Returns whether this streak may still matter: its wait is not over, or was over a short time ago.
    pub(crate) fn is_recent(&self, now: Instant) -> bool {
        now < self.until + RECENT
    }

    fn is_refusal(&self) -> bool {
        self.error.class() != FailureClass::Transient
    }
}

impl FailureCounts {
    /// Counts a failure, and returns how many of its class there were.
    fn add(&mut self, error: &Error) -> u32 {
        self.answered = self.answered.saturating_add(u32::from(error.is_transient_answer()));
        let count = match error.class() {
            FailureClass::Transient => &mut self.transient,
            FailureClass::Unexplained => &mut self.unexplained,
            FailureClass::Terminal => &mut self.terminal,
        };
        *count = count.saturating_add(1);
        *count
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::cache::backoff::Backoff;

    /// Returns the waits after this many failures in a row.
    fn waits(error: &Error, failures: u32) -> Vec<u64> {
        let steady = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
        let (settings, now) = (Settings { transient: steady, ..Settings::default() }, Instant::now());
        let mut streak = None;
        let next = |_| {
            let after = FailureStreak::after(streak.take(), error, 0, now, &settings);
            streak.insert(after).wait(now).unwrap_or_default().as_secs()
        };
        (0..failures).map(next).collect()
    }

    #[test]
    fn a_long_series_of_transient_answers_goes_on_to_the_longest_wait_of_refusals() {
        let waits = waits(&Error::unexplained_status(StatusCode::SERVICE_UNAVAILABLE), 30);
        assert_eq!(waits[..8], [1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(waits[22..], [30, 30, 60, 120, 240, 480, 600, 600]);
    }

    #[test]
    fn an_outage_without_an_answer_keeps_its_longest_wait() {
        assert_eq!(waits(&Error::connect("refused"), 60)[5..], [30; 55]);
    }

    #[test]
    fn a_long_series_of_transient_answers_does_not_lengthen_the_wait_after_another_failure() {
        let (settings, now) = (Settings::default(), Instant::now());
        let after = |before, error: &Error| FailureStreak::after(before, error, 0, now, &settings);
        let busy = Error::unexplained_status(StatusCode::SERVICE_UNAVAILABLE);
        let long = (0..LONG_SERIES + 5).fold(None, |before, _| Some(after(before, &busy)));
        let refused = Error::refused(StatusCode::BAD_REQUEST, "invalid_grant".into(), None);
        assert_eq!(after(long, &refused).wait(now), after(None, &refused).wait(now));
    }

    #[test]
    fn a_streak_is_recent_for_ten_minutes_after_its_wait() {
        let now = Instant::now();
        let streak = FailureStreak::after(None, &Error::connect("refused"), 0, now, &Settings::default());
        let end = now + streak.wait(now).unwrap() + RECENT;
        assert!(streak.is_recent(end - Duration::from_millis(1)) && !streak.is_recent(end));
    }
}
