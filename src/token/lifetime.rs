//! How long a token lives, by what its issuer says and what it says itself.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;

use crate::token::claims;

/// The longest lifetime that is believed: ten years. Larger values are clamped to it.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// How long a token lives from its issue on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Lifetime {
    /// Neither the issuer nor the token says. A cache has a default for this.
    Unknown,
    /// Dead on arrival by its issuer's word (`expires_in` of 0 or less): used by those who wait for it, never kept.
    Once,
    /// This long, at most ten years.
    For(Duration),
}

impl Lifetime {
    /// A lifetime in seconds, as `expires_in` gives it; 0, less, or not a number means once.
    #[must_use]
    pub fn from_secs_f64(seconds: f64) -> Self {
        if seconds > 0.0 {
            Duration::try_from_secs_f64(seconds).map_or(Self::For(LONGEST), Self::from)
        } else {
            Self::Once
        }
    }

    /// The shorter of two, where one that is unknown says nothing.
    #[must_use]
    pub fn or_shorter(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unknown, known) | (known, Self::Unknown) => known,
            (Self::Once, _) | (_, Self::Once) => Self::Once,
            (Self::For(a), Self::For(b)) => Self::For(a.min(b)),
        }
    }
}

impl From<Duration> for Lifetime {
    /// Zero means once; more than ten years is clamped.
    fn from(duration: Duration) -> Self {
        if duration.is_zero() { Self::Once } else { Self::For(duration.min(LONGEST)) }
    }
}

/// The times that a JWT carries (RFC 7519 §4.1.4, §4.1.6), read without verifying it.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct JwtTimes {
    exp: f64,
    iat: Option<f64>,
}

impl JwtTimes {
    /// `None` for an opaque token, which is as good as any (RFC 9068 §6).
    pub(crate) fn read(token: &str) -> Option<Self> {
        claims::read(token)
    }

    /// `exp − iat`: both by the issuer's clock, so that ours may be wrong.
    pub(crate) fn lifetime(&self) -> Lifetime {
        self.iat.map_or(Lifetime::Unknown, |iat| Lifetime::from_secs_f64(self.exp - iat))
    }

    /// `exp − now`, for a token without `iat`. One that is already over by `now` tells of a wrong clock as well as of a
    /// dead token, so it says nothing: the API's 401 will tell.
    pub(crate) fn remaining(&self, now: SystemTime) -> Lifetime {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        match Lifetime::from_secs_f64(self.exp - now) {
            Lifetime::Once => Lifetime::Unknown,
            lifetime => lifetime,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_of_nothing_is_once_and_an_absurd_one_is_clamped() {
        assert_eq!(Lifetime::from_secs_f64(0.0), Lifetime::Once);
        assert_eq!(Lifetime::from_secs_f64(-1.0), Lifetime::Once);
        assert_eq!(Lifetime::from_secs_f64(f64::NAN), Lifetime::Once);
        assert_eq!(Lifetime::from_secs_f64(1e18), Lifetime::For(LONGEST));
        assert_eq!(Lifetime::from_secs_f64(f64::INFINITY), Lifetime::For(LONGEST));
        assert_eq!(Lifetime::from_secs_f64(3600.5), Lifetime::For(Duration::from_millis(3_600_500)));
    }

    #[test]
    fn the_shorter_of_two_lifetimes_wins() {
        let (long, short) = (Lifetime::from_secs_f64(9.0), Lifetime::from_secs_f64(3.0));
        assert_eq!(long.or_shorter(short), short);
        assert_eq!(Lifetime::Unknown.or_shorter(long), long);
        assert_eq!(long.or_shorter(Lifetime::Once), Lifetime::Once);
    }
}
