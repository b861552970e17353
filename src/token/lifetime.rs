//! How long a token lives, according to its issuer and to the token itself.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer};
use serde_json::Value;

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

/// Times from this one on are in milliseconds: in seconds, it is the year 33658. They say nothing.
const IN_MILLISECONDS: f64 = 1e12;

/// The times in a JWT (RFC 7519 §4.1.4, §4.1.6), read without verifying it. A time that cannot be right is left out.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct JwtTimes {
    /// It may be 0 or negative.
    #[serde(default, deserialize_with = "time_in_seconds")]
    exp: Option<f64>,
    #[serde(default, deserialize_with = "plausible_time")]
    iat: Option<f64>,
}

impl JwtTimes {
    /// Reads the times. Returns `None` for an opaque token, which is as valid as a JWT (RFC 9068 §6).
    pub(crate) fn read(token: &str) -> Option<Self> {
        jwt::claims(token)
    }

    /// Returns the smaller of `exp − iat` and `exp − date`, where `date` is the issuer's time at the answer. Both are by the
    /// issuer's clock, so the local clock may be wrong.
    ///
    /// An `iat` that is not before `exp`, or is ahead of `date`, says nothing. Neither does an `exp` that is past by `date`: an
    /// issuer does not issue an expired token, but a proxy may have a wrong clock.
    pub(crate) fn lifetime(&self, date: Option<SystemTime>) -> Lifetime {
        let by_date = date.map_or(Lifetime::Unknown, |date| self.remaining(date));
        let is_ahead = |iat| date.is_some_and(|date| iat > seconds(date));
        let iat = self.iat.filter(|iat| !is_ahead(*iat));
        self.between(iat).or_shorter(by_date)
    }

    /// Returns `exp − now`. An `exp` before `now` may come from an expired token or from a wrong clock, so the result is
    /// unknown then: a 401 of the API will show it.
    pub(crate) fn remaining(&self, now: SystemTime) -> Lifetime {
        self.between(Some(seconds(now)))
    }

    /// Returns how old a stored token is by the local clock. It is zero if the `iat` says nothing.
    pub(crate) fn age(&self, now: SystemTime) -> Duration {
        let age = self.iat_before_exp().and_then(|iat| Duration::try_from_secs_f64(seconds(now) - iat).ok());
        age.unwrap_or_default()
    }

    /// Returns the lifetime of a stored token: `exp − iat`, or `exp − now` if there is no `iat`. The token may have expired.
    pub(crate) fn stored_lifetime(&self, now: SystemTime) -> Lifetime {
        match (self.plausible_exp(), self.iat) {
            (Some(exp), None) => Lifetime::from_secs_f64(exp - seconds(now)),
            _ => self.between(self.iat),
        }
    }

    /// Returns how long the holder of a token may still use it: `exp − now`, but at most `exp − iat`, because the local clock may
    /// be slow. It is zero if `exp` is past, and `None` if there is no `exp`.
    #[cfg(feature = "on-behalf-of")]
    pub(crate) fn left(&self, now: SystemTime) -> Option<Duration> {
        let from = self.iat_before_exp().map_or(seconds(now), |iat| iat.max(seconds(now)));
        Some(match Lifetime::from_secs_f64(self.exp? - from) {
            Lifetime::For(left) => left,
            _ => Duration::ZERO,
        })
    }

    fn iat_before_exp(&self) -> Option<f64> {
        self.iat.filter(|iat| self.plausible_exp().is_none_or(|exp| *iat < exp))
    }

    fn plausible_exp(&self) -> Option<f64> {
        self.exp.filter(|exp| *exp >= 1.0)
    }

    /// Returns the time from `start` to `exp`, if `exp` is later.
    fn between(&self, start: Option<f64>) -> Lifetime {
        match self.exp.zip(start) {
            Some((exp, start)) if exp > start => Lifetime::from_secs_f64(exp - start),
            _ => Lifetime::Unknown,
        }
    }
}

/// Reads a time in seconds since 1970, which is not 0 or negative.
fn plausible_time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    time_in_seconds(from).map(|time| time.filter(|time| *time >= 1.0))
}

/// Reads a time in seconds. Anything else counts as absent, so that it does not hide the other time.
fn time_in_seconds<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    let time = Value::deserialize(from)?.as_f64();
    Ok(time.filter(|time| *time < IN_MILLISECONDS))
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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

    fn times(claims: &Value) -> JwtTimes {
        serde_json::from_value(claims.clone()).unwrap()
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_time_that_cannot_be_right_says_nothing() {
        let day = Lifetime::from_secs_f64(86_400.0);
        for (claims, date, lifetime) in [
            (json!({ "iat": 5000, "exp": 5000 }), None, Lifetime::Unknown),
            (json!({ "iat": 5000, "exp": 4000 }), None, Lifetime::Unknown),
            (json!({ "iat": 5000, "exp": 0 }), Some(5000), Lifetime::Unknown),
            (json!({ "iat": 5000, "exp": -1 }), Some(5000), Lifetime::Unknown),
            (json!({ "iat": 0, "exp": 86_400 }), None, Lifetime::Unknown),
            (json!({ "iat": "4000", "exp": 86_400 }), None, Lifetime::Unknown),
            (json!({ "iat": 1_700_000_000_000_i64, "exp": 1_700_086_400 }), Some(1_700_000_000), day),
            (
                json!({ "iat": 1_700_000_000_000_i64, "exp": 1_700_086_400_000_i64 }),
                Some(1_700_000_000),
                Lifetime::Unknown,
            ),
            (json!({ "iat": null, "exp": 91_400 }), Some(5000), day),
            (json!({ "iat": 90_000, "exp": 91_400 }), Some(5000), day),
            (json!({ "iat": 9000, "exp": 8000 }), Some(5000), Lifetime::from_secs_f64(3000.0)),
        ] {
            assert_eq!(times(&claims).lifetime(date.map(at)), lifetime, "{claims}");
        }
    }

    #[test]
    fn the_date_of_the_answer_shortens_a_lifetime_and_never_ends_it() {
        let claims = json!({ "iat": 1000, "exp": 2000 });
        for (date, seconds) in [(1000, 1000.0), (1990, 10.0), (2000, 1000.0), (9000, 1000.0)] {
            assert_eq!(times(&claims).lifetime(Some(at(date))), Lifetime::from_secs_f64(seconds), "{date}");
        }
    }

    #[cfg(feature = "on-behalf-of")]
    #[test]
    fn a_slow_clock_does_not_make_a_token_live_longer_than_its_issuer_said() {
        for (claims, now, left) in [
            (json!({ "iat": 1000, "exp": 2000 }), 1500, Some(500)),
            (json!({ "iat": 1000, "exp": 2000 }), 400, Some(1000)),
            (json!({ "iat": 1000, "exp": 2000 }), 2000, Some(0)),
            (json!({ "iat": 1000, "exp": 2000 }), 9000, Some(0)),
            (json!({ "iat": 2000, "exp": 2000 }), 1500, Some(500)),
            (json!({ "exp": 2000 }), 1500, Some(500)),
            (json!({ "exp": 0 }), 1500, Some(0)),
            (json!({ "exp": -1 }), 1500, Some(0)),
            (json!({ "exp": "0" }), 1500, None),
            (json!({ "iat": 1000 }), 1500, None),
        ] {
            assert_eq!(times(&claims).left(at(now)), left.map(Duration::from_secs), "{claims} at {now}");
        }
    }

    #[test]
    fn the_shorter_of_two_lifetimes_wins() {
        let (long, short) = (Lifetime::from_secs_f64(9.0), Lifetime::from_secs_f64(3.0));
        assert_eq!(long.or_shorter(short), short);
        assert_eq!(Lifetime::Unknown.or_shorter(long), long);
        assert_eq!(long.or_shorter(Lifetime::AlreadyExpired), Lifetime::AlreadyExpired);
    }
}
