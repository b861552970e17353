//! How long to leave the issuer alone after a failure.

use std::time::Duration;

/// A wait that is said to be longer is as good as for ever, and would not fit into an instant.
pub(crate) const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// A wait that doubles with each failure in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    jitter: bool,
}

impl Backoff {
    /// Waits `first`, then twice that, and so on, up to `most`.
    #[must_use]
    pub const fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, jitter: false }
    }

    /// Draws each wait anew between nothing and its full length, so that many machines do not come back at once.
    #[must_use]
    pub const fn with_full_jitter(mut self) -> Self {
        self.jitter = true;
        self
    }

    /// The wait after this many failures in a row, counted from 1.
    pub(crate) fn wait(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let full = self.first.saturating_mul(1 << doublings).min(self.most);
        if self.jitter { full.mul_f64(fastrand::f64()) } else { full }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_wait_doubles_up_to_its_most() {
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
