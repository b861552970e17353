//! The settings of a cache, and the ages that follow from them.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    cache::{backoff::Backoff, budget::RejectionBudget},
    clock::WallClock,
    error::{Error, FailureClass},
    token::{AccessToken, Lifetime},
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// The end of a token's lifetime: a share of it, with an upper bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Margin {
    pub(crate) max: Duration,
    pub(crate) share: f64,
}

impl Margin {
    pub(crate) fn new(max: Duration, share: f64) -> Self {
        Self { max, share: share_within_bounds(share) }
    }

    fn of(self, lifetime: Duration) -> Duration {
        self.max.min(lifetime.mul_f64(self.share))
    }
}

/// Returns a share between 0 and 1, whatever was set. NaN becomes 0.
pub(crate) fn share_within_bounds(share: f64) -> f64 {
    if share > 0.0 { share.min(1.0) } else { 0.0 }
}

/// What can be set about a cache. Plain data.
#[derive(Clone, PartialEq)]
pub(crate) struct Settings {
    /// The name of the cache in log lines and metrics.
    pub(crate) name: Option<Arc<str>>,
    pub(crate) stale: Margin,
    pub(crate) stale_jitter: f64,
    pub(crate) expired: Margin,
    pub(crate) default_lifetime: Duration,
    pub(crate) renewal_deadline: Duration,
    pub(crate) renewal_retries: usize,
    pub(crate) transient: Backoff,
    pub(crate) unexplained: Backoff,
    pub(crate) terminal: Backoff,
    pub(crate) max_retry_after: Duration,
    pub(crate) rejections: Arc<RejectionBudget>,
    pub(crate) wall_clock: WallClock,
    pub(crate) max_narrowed: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: None,
            stale: Margin { max: 5 * MINUTE, share: 0.25 },
            stale_jitter: 0.10,
            expired: Margin { max: MINUTE, share: 0.10 },
            default_lifetime: 60 * MINUTE,
            renewal_deadline: 10 * SECOND,
            renewal_retries: 3,
            transient: Backoff::new(SECOND / 4, 30 * SECOND).with_full_jitter(),
            unexplained: Backoff::new(5 * SECOND, 10 * MINUTE),
            terminal: Backoff::new(MINUTE, 10 * MINUTE),
            max_retry_after: 10 * MINUTE,
            rejections: Arc::default(),
            wall_clock: WallClock::System,
            max_narrowed: 64,
        }
    }
}

/// The ages at which a token becomes stale and expired, from its issue on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ages {
    pub(crate) stale: Duration,
    pub(crate) expired: Duration,
}

/// The waits before a renewal is tried again while requests wait for it.
const RETRY_WAITS: [Duration; 3] = [Duration::from_millis(250), Duration::from_millis(500), SECOND];

impl Settings {
    /// Returns the wait before each further attempt of a renewal that requests wait for.
    pub(crate) fn retry_waits(&self) -> &'static [Duration] {
        &RETRY_WAITS[..self.renewal_retries.min(RETRY_WAITS.len())]
    }

    /// Returns the wait that the issuer asks for in a failure (`Retry-After`), as far as it is honoured.
    pub(crate) fn requested_wait(&self, error: &Error) -> Duration {
        error.retry_in().unwrap_or_default().min(self.max_retry_after)
    }

    /// Returns the ages of a token. The jitter is drawn here, once a token.
    pub(crate) fn ages(&self, token: &AccessToken) -> Ages {
        // Clamped as an issuer's lifetime is.
        let default = Lifetime::from(self.default_lifetime);
        let known = if token.lifetime() == Lifetime::Unknown { default } else { token.lifetime() };
        let lifetime = if let Lifetime::For(lifetime) = known { lifetime } else { Duration::ZERO };
        let margin = if token.is_used_to_its_end() { Duration::ZERO } else { self.expired.of(lifetime) };
        let expired = lifetime.saturating_sub(margin);
        let jitter = 1.0 - self.stale_jitter * fastrand::f64();
        let stale =
            token.refresh_in().unwrap_or_else(|| lifetime.saturating_sub(self.stale.of(lifetime).mul_f64(jitter)));
        Ages { stale: stale.min(expired), expired }
    }

    pub(crate) fn backoff(&self, class: FailureClass) -> Backoff {
        match class {
            FailureClass::Transient => self.transient,
            FailureClass::Unexplained => self.unexplained,
            FailureClass::Terminal => self.terminal,
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("name", &self.name)
            .field("stale", &self.stale)
            .field("expired", &self.expired)
            .field("default_lifetime", &self.default_lifetime)
            .field("renewal_deadline", &self.renewal_deadline)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ages(lifetime: u64) -> Ages {
        let settings = Settings { stale_jitter: 0.0, ..Settings::default() };
        settings.ages(&AccessToken::new("t").unwrap().with_expires_in(Duration::from_secs(lifetime)))
    }

    fn seconds(stale: f64, expired: f64) -> Ages {
        Ages { stale: Duration::from_secs_f64(stale), expired: Duration::from_secs_f64(expired) }
    }

    #[test]
    fn margins_are_capped_for_long_tokens_and_shares_of_short_ones() {
        assert_eq!(ages(172_800), seconds(172_500.0, 172_740.0));
        assert_eq!(ages(600), seconds(450.0, 540.0));
        assert_eq!(ages(1), seconds(0.75, 0.9));
        assert_eq!(ages(0), seconds(0.0, 0.0));
    }

    #[test]
    fn jitter_delays_staleness_by_up_to_a_tenth_of_its_margin() {
        let token = AccessToken::new("t").unwrap().with_expires_in(Duration::from_secs(172_800));
        for _ in 0..1000 {
            let stale = Settings::default().ages(&token).stale.as_secs_f64();
            assert!((172_500.0..=172_530.0).contains(&stale), "{stale}");
        }
    }

    #[test]
    fn the_issuers_refresh_in_sets_the_stale_age_within_the_token_s_life() {
        let token = AccessToken::new("t").unwrap().with_expires_in(Duration::from_secs(600));
        let settings = Settings::default();
        assert_eq!(settings.ages(&token.clone().with_refresh_in(Duration::from_secs(60))), seconds(60.0, 540.0));
        assert_eq!(settings.ages(&token.with_refresh_in(Duration::from_secs(900))), seconds(540.0, 540.0));
    }
}
