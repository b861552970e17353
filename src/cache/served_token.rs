//! The token that requests are sent with.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use http::HeaderValue;
use tokio::time::Instant;

use crate::{cache::settings::Settings, clock::WallClock, per_core::PerCore, token::AccessToken};

/// How long a fresh token is served between wall-clock checks.
pub(crate) const LEASE: Duration = Duration::from_millis(100);

/// A token, with what the hot path needs of it. Only the note of its last acceptance changes, and its clones share that.
#[derive(Clone, Debug)]
pub(crate) struct ServedToken {
    pub(crate) token: AccessToken,
    authorization: Arc<PerCore<HeaderValue>>,
    leased_until: Instant,
    stale_at: Instant,
    expires_at: Instant,
    /// The expiry on the wall clock, which goes on while the machine sleeps.
    expires_wall: SystemTime,
    /// Nanoseconds from the token's issue to its last acceptance, plus one. 0 means never.
    accepted: Arc<AtomicU64>,
}

impl ServedToken {
    /// Creates the token of a cache. `is_one_of_many` says that there are so many caches that the header value is not copied
    /// for each core.
    pub(crate) fn new(
        token: AccessToken,
        settings: &Settings,
        is_one_of_many: bool,
        now: Instant,
        wall: SystemTime,
    ) -> Self {
        let ages = settings.ages(&token);
        let issued_at = token.issued_at();
        let expires_at = issued_at + ages.expired;
        let served = Self {
            authorization: Arc::new(if is_one_of_many {
                PerCore::one(token.header_value())
            } else {
                PerCore::new(|| token.header_copy())
            }),
            leased_until: now,
            stale_at: issued_at + ages.stale,
            expires_at,
            // A custom clock at the end of its range: the token expires at once.
            expires_wall: wall.checked_add(expires_at.saturating_duration_since(now)).unwrap_or(wall),
            accepted: Arc::default(),
            token,
        };
        served.leased(now)
    }

    pub(crate) fn with_generation(self, generation: u64) -> Self {
        Self { token: self.token.with_generation(generation), ..self }
    }

    /// Returns the same token with a lease from `now` on. Both clocks have been checked.
    pub(crate) fn leased(&self, now: Instant) -> Self {
        Self { leased_until: (now + LEASE).min(self.stale_at).min(self.expires_at), ..self.clone() }
    }

    /// Returns whether the lease has ended.
    pub(crate) fn needs_lease(&self, now: Instant) -> bool {
        now >= self.leased_until
    }

    /// Returns whether the token can be served as it is. Each request asks this, so it is one comparison with the one clock
    /// that is read. A custom wall clock is asked as well.
    #[inline]
    pub(crate) fn is_leased(&self, now: Instant, clock: &WallClock) -> bool {
        !self.needs_lease(now) && (matches!(clock, WallClock::System) || clock.now() < self.expires_wall)
    }

    /// Returns the value of the `Authorization` header, to be sent from the running thread.
    #[inline]
    pub(crate) fn authorization(&self) -> HeaderValue {
        self.authorization.local().clone()
    }

    /// Returns whether it is neither stale nor expired.
    pub(crate) fn is_fresh(&self, now: Instant, wall: SystemTime) -> bool {
        !self.is_stale(now) && !self.is_expired(now, wall)
    }

    pub(crate) fn is_stale(&self, now: Instant) -> bool {
        now >= self.stale_at
    }

    /// Returns whether it has expired by either clock: the monotonic one stops while the machine sleeps.
    pub(crate) fn is_expired(&self, now: Instant, wall: SystemTime) -> bool {
        now >= self.expires_at || wall >= self.expires_wall
    }

    /// Returns when it expires on the wall clock.
    pub(crate) fn expires_wall(&self) -> SystemTime {
        self.expires_wall
    }

    pub(crate) fn expires_in(&self, now: Instant, wall: SystemTime) -> Duration {
        let by_wall = self.expires_wall.duration_since(wall).unwrap_or_default();
        self.expires_at.saturating_duration_since(now).min(by_wall)
    }

    /// Notes that an API accepted the token, and returns whether that is the first time that is noted.
    pub(crate) fn note_accepted(&self, now: Instant) -> bool {
        let nanos = now.saturating_duration_since(self.token.issued_at()).as_nanos();
        self.accepted.swap(u64::try_from(nanos).unwrap_or(u64::MAX).saturating_add(1), Relaxed) == 0
    }

    /// Returns when an API last accepted the token, if that was noted.
    pub(crate) fn accepted_at(&self) -> Option<Instant> {
        let nanos = self.accepted.load(Relaxed).checked_sub(1)?;
        Some(self.token.issued_at() + Duration::from_nanos(nanos))
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn served() -> ServedToken {
        let token = AccessToken::new("t").unwrap().with_expires_in(HOUR);
        ServedToken::new(token, &Settings::default(), false, Instant::now(), UNIX_EPOCH)
    }

    #[test]
    fn a_token_is_served_for_a_tenth_of_a_second_between_wall_clock_checks() {
        let (served, now) = (served(), Instant::now());
        assert!(served.is_leased(now, &WallClock::System) && !served.is_leased(now + LEASE, &WallClock::System));
        assert!(served.is_expired(now + LEASE, UNIX_EPOCH + HOUR));
        let leased = served.leased(now + HOUR / 2);
        assert!(leased.is_leased(now + HOUR / 2, &WallClock::System));
    }

    #[test]
    fn no_lease_outlives_the_freshness_of_its_token() {
        let (served, now) = (served(), Instant::now());
        assert!(!served.leased(now + HOUR).is_leased(now + HOUR, &WallClock::System));
    }

    #[test]
    fn a_custom_wall_clock_is_asked_each_time() {
        let (served, now) = (served(), Instant::now());
        let at = |wall| WallClock::Custom(Arc::new(move || wall));
        assert!(served.is_leased(now, &at(UNIX_EPOCH)) && !served.is_leased(now, &at(UNIX_EPOCH + HOUR)));
    }
}
