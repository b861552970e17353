//! When a user's token ends. No token that was exchanged for it is used after that.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    clock,
    error::Error,
    grant::on_behalf_of::subject::Subject,
    token::{AccessToken, JwtTimes, Lifetime},
};

/// The end of a user's token, as far as the token says it (`exp`, RFC 7519 §4.1.4). The token is not verified.
///
/// The local clock decides, as for a [stored](AccessToken::stored) token, because the token was issued some time ago. If the clock
/// is slow, the token lives no longer than `exp − iat` from its first use on. If the clock is corrected later, that counts from then
/// on.
#[derive(Clone, Copy)]
pub(crate) struct SubjectEnd {
    times: Option<JwtTimes>,
    /// The end by the monotonic clock, if it was ahead at the first use.
    at: Option<Instant>,
}

impl SubjectEnd {
    pub(crate) fn of(subject: &Subject) -> Self {
        let times = JwtTimes::read(subject.token.expose());
        let left = times.and_then(|times| times.left(clock::wall_now())).filter(|left| !left.is_zero());
        Self { times, at: left.map(|left| Instant::now() + left) }
    }

    /// Returns how long the token is still valid, or `None` if it does not say.
    ///
    /// # Errors
    /// When it has ended.
    fn left(&self) -> Result<Option<Duration>, Error> {
        let by_wall_clock = self.times.and_then(|times| times.left(clock::wall_now()));
        let by_monotonic_clock = self.at.map(|at| at.saturating_duration_since(Instant::now()));
        let left = match (by_wall_clock, by_monotonic_clock) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        if left == Some(Duration::ZERO) { Err(Error::subject_expired()) } else { Ok(left) }
    }

    /// Checks that the user's token has not ended.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.left().map(drop)
    }

    /// Shortens the life of a token that came for the user's token. It then ends together with that, and is not renewed before:
    /// the next one would end at the same time.
    pub(crate) fn cap(&self, token: AccessToken) -> Result<AccessToken, Error> {
        let Some(left) = self.left()? else { return Ok(token) };
        let end = Lifetime::from(left);
        if token.lifetime().or_shorter(end) != end {
            return Ok(token);
        }
        Ok(token.with_expires_in(end).with_refresh_in(left).used_to_its_end())
    }
}
