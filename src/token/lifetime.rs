//! How long a token lives, according to its issuer and to the token itself.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;

use crate::token::jwt;

/// The longest lifetime that is accepted: ten years. Larger values are reduced to it.
const MAX_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// How long a token lives, counted from its issue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Lifetime {
    /// Neither the issuer nor the token says it. A cache has a default for this case.
    Unknown,
    /// The token is expired when it is received, according to its issuer (`expires_in` of 0 or less). The requests that wait
    /// for it use it once, and a cache does not keep it.
    AlreadyExpired,
    /// This duration, at most ten years.
    For(Duration),
}

impl Lifetime {
    /// Creates a lifetime from seconds, as in `expires_in`. 0, a negative number and NaN mean
    /// [`AlreadyExpired`](Self::AlreadyExpired).
    #[must_use]
    pub fn from_secs_f64(seconds: f64) -> Self {
        if seconds > 0.0 {
            Duration::try_from_secs_f64(seconds).map_or(Self::For(MAX_LIFETIME), Self::from)
        } else {
            Self::AlreadyExpired
        }
    }

    /// Returns the shorter of two lifetimes. An unknown one is ignored.
    #[must_use]
    pub fn or_shorter(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unknown, known) | (known, Self::Unknown) => known,
            (Self::AlreadyExpired, _) | (_, Self::AlreadyExpired) => Self::AlreadyExpired,
            (Self::For(a), Self::For(b)) => Self::For(a.min(b)),
        }
    }
}

impl From<Duration> for Lifetime {
    /// Zero means [`AlreadyExpired`](Self::AlreadyExpired). More than ten years is reduced to ten years.
    fn from(duration: Duration) -> Self {
        if duration.is_zero() { Self::AlreadyExpired } else { Self::For(duration.min(MAX_LIFETIME)) }
    }
}

/// The times in a JWT (RFC 7519 §4.1.4, §4.1.6), read without verifying it.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct JwtTimes {
    exp: f64,
    iat: Option<f64>,
}

impl JwtTimes {
    /// Reads the times. Returns `None` for an opaque token, which is as valid as a JWT (RFC 9068 §6).
    pub(crate) fn read(token: &str) -> Option<Self> {
        jwt::claims(token)
    }

    /// Returns `exp − iat`. Both are by the issuer's clock, so the local clock may be wrong.
    pub(crate) fn lifetime(&self) -> Lifetime {
        self.iat.map_or(Lifetime::Unknown, |iat| Lifetime::from_secs_f64(self.exp - iat))
    }

    /// Returns `exp − now`, for a token without `iat`. An `exp` before `now` may come from an expired token or from a wrong
    /// clock, so the result is unknown then: a 401 of the API will show it.
    pub(crate) fn remaining(&self, now: SystemTime) -> Lifetime {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        match Lifetime::from_secs_f64(self.exp - now) {
            Lifetime::AlreadyExpired => Lifetime::Unknown,
            lifetime => lifetime,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_of_zero_is_already_expired_and_an_absurd_one_is_reduced() {
        assert_eq!(Lifetime::from_secs_f64(0.0), Lifetime::AlreadyExpired);
        assert_eq!(Lifetime::from_secs_f64(-1.0), Lifetime::AlreadyExpired);
        assert_eq!(Lifetime::from_secs_f64(f64::NAN), Lifetime::AlreadyExpired);
        assert_eq!(Lifetime::from_secs_f64(1e18), Lifetime::For(MAX_LIFETIME));
        assert_eq!(Lifetime::from_secs_f64(f64::INFINITY), Lifetime::For(MAX_LIFETIME));
        assert_eq!(Lifetime::from_secs_f64(3600.5), Lifetime::For(Duration::from_millis(3_600_500)));
    }

    #[test]
    fn the_shorter_of_two_lifetimes_wins() {
        let (long, short) = (Lifetime::from_secs_f64(9.0), Lifetime::from_secs_f64(3.0));
        assert_eq!(long.or_shorter(short), short);
        assert_eq!(Lifetime::Unknown.or_shorter(long), long);
        assert_eq!(long.or_shorter(Lifetime::AlreadyExpired), Lifetime::AlreadyExpired);
    }
}
