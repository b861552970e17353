//! Failures in a row, and how long the source is not asked because of them.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    cache::{backoff::LONGEST, settings::Settings},
    error::{Error, FailureClass},
};

/// How long after its wait a streak still matters, because the next failure would continue it.
const RECENT: Duration = Duration::from_secs(600);

/// Failures in a row, up to the last one.
#[derive(Clone, Debug)]
pub(crate) struct FailureStreak {
    pub(crate) error: Error,
    counts: FailureCounts,
    until: Instant,
    credentials_version: u64,
}

/// How many failures of each class there were. An outage between two refusals does not shorten the wait after the second.
#[derive(Clone, Copy, Debug, Default)]
struct FailureCounts {
    transient: u32,
    unexplained: u32,
    terminal: u32,
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
        let mut counts = before
            .filter(|streak| streak.credentials_version == credentials_version)
            .map_or_else(FailureCounts::default, |streak| streak.counts);
        let failures = counts.add(error.class());
        let requested = error.retry_in().unwrap_or_default().min(settings.max_retry_after);
        let wait = settings.backoff(error.class()).wait(failures).max(requested).min(LONGEST);
        Self { error: error.clone(), counts, until: now + wait, credentials_version }
    }

    /// Returns the error for a caller that comes during the wait.
    pub(crate) fn backing_off(&self, now: Instant, credentials_version: u64) -> Option<Error> {
        let wait = self.wait(now)?;
        // New credentials end the wait after a refusal, but not after an outage.
        let has_new_credentials = self.is_refusal() && credentials_version != self.credentials_version;
        (!has_new_credentials).then(|| Error::backing_off(&self.error, wait))
    }

    /// Returns how long the source is still not asked.
    pub(crate) fn wait(&self, now: Instant) -> Option<Duration> {
        (now < self.until).then(|| self.until - now)
    }

    /// Returns how many failures there were in a row.
    pub(crate) fn total(&self) -> u32 {
        let FailureCounts { transient, unexplained, terminal } = self.counts;
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
    fn add(&mut self, class: FailureClass) -> u32 {
        let count = match class {
            FailureClass::Transient => &mut self.transient,
            FailureClass::Unexplained => &mut self.unexplained,
            FailureClass::Terminal => &mut self.terminal,
        };
        *count = count.saturating_add(1);
        *count
    }
}
