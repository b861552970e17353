//! The issuer's clock: the wall clock at its start, then tokio's time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;
use tokio::time::Instant;

/// The last second that an HTTP date can express: 9999-12-31T23:59:59Z.
const LAST_HTTP_SECOND: i64 = 253_402_300_799;

/// A clock that starts at the wall clock's time and then follows tokio's, so that tests can pause and advance it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    wall: Duration,
    started: Instant,
}

impl Clock {
    #[allow(clippy::disallowed_methods, reason = "the only read of the wall clock")]
    pub(super) fn start() -> Self {
        Self { wall: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(), started: Instant::now() }
    }

    /// Returns the time since the issuer's start. It decides whether a token has expired.
    pub(super) fn elapsed(self) -> Duration {
        self.started.elapsed()
    }

    /// Returns the time that the issuer *reports*, in seconds since 1970.
    pub(super) fn unix(self, skew: i64) -> i64 {
        seconds(self.wall.saturating_add(self.elapsed())).saturating_add(skew)
    }

    /// Returns the reported time as a `Date` header (RFC 9110 §5.6.7).
    pub(super) fn http_date(self, skew: i64) -> HeaderValue {
        let unix = self.unix(skew).clamp(0, LAST_HTTP_SECOND).unsigned_abs();
        let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(unix));
        HeaderValue::from_str(&date).expect("an HTTP date is visible ASCII")
    }
}

/// Returns whole seconds, signed as in a `NumericDate` (RFC 7519 §2).
pub(super) fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn advancing_tokio_time_advances_the_issuer() {
        let clock = Clock::start();
        let before = clock.unix(0);
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(clock.unix(0), before + 90);
    }

    #[test]
    fn an_absurd_skew_still_makes_a_date() {
        let clock = Clock::start();
        assert_eq!(clock.http_date(i64::MAX), "Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(clock.http_date(i64::MIN), "Thu, 01 Jan 1970 00:00:00 GMT");
    }
}
