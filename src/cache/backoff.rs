//! How long to wait after a failure.

use std::time::Duration;

/// The longest wait. A longer one may not fit into an instant.
pub(crate) const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// A wait that doubles with each failure in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    jitter: bool,
}

impl Backoff {
    /// Creates a wait of `first`, then twice that, and so on, up to `max`.
    #[must_use]
    pub const fn new(first: Duration, max: Duration) -> Self {
        Self { first, max, jitter: false }
    }

    /// Makes each wait random, between zero and its full length, so that many machines do not try again at the same
    /// time.
    #[must_use]
    pub const fn with_full_jitter(mut self) -> Self {
        self.jitter = true;
        self
    }

    /// Returns a backoff that begins where this one ends, and ends where `longer` does.
    pub(crate) fn up_to(&self, longer: Self) -> Self {
        Self { first: self.max, max: longer.max.max(self.max), jitter: self.jitter }
    }

    /// Returns the longest wait.
    pub(crate) fn longest(&self) -> Duration {
        self.max
    }

    /// Returns the wait after this many failures in a row, counted from 1.
    pub(crate) fn wait(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let full = self.first.saturating_mul(1 << doublings).min(self.max);
        if self.jitter { full.mul_f64(fastrand::f64()) } else { full }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_wait_doubles_up_to_its_maximum() {
        let backoff = Backoff::new(SECOND, 5 * SECOND);
        let waits: Vec<_> = [1, 2, 3, 4, u32::MAX].map(|n| backoff.wait(n).as_secs()).into();
        assert_eq!(waits, [1, 2, 4, 5, 5]);
    }

    #[test]
    fn full_jitter_draws_below_the_wait() {
        let backoff = Backoff::new(SECOND, 9 * SECOND).with_full_jitter();
        let waits: Vec<_> = (0..1000).map(|_| backoff.wait(3)).collect();
        assert!(waits.iter().all(|wait| *wait < 4 * SECOND));
        assert!(waits.iter().any(|wait| *wait > 2 * SECOND) && waits.iter().any(|wait| *wait < 2 * SECOND));
    }
}
