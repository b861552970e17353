//! What the hot path reads.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use http::HeaderValue;
use tokio::time::Instant;

use crate::{cache::settings::Settings, clock::WallClock, per_core::PerCore, token::AccessToken};

/// For so long a fresh token is served without another look at the wall clock.
const LEASE: Duration = Duration::from_millis(100);

/// The token that is being served. Immutable but for the note of its last acceptance; its clones are one and the same.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) token: AccessToken,
    authorization: Arc<PerCore<HeaderValue>>,
    leased_until: Instant,
    stale_at: Instant,
    expires_at: Instant,
    /// The same on the wall clock, which goes on while the machine sleeps.
    expires_wall: SystemTime,
    /// Nanoseconds from the token's issue to its last acceptance, plus one; 0 is never.
    accepted: Arc<AtomicU64>,
}

impl Entry {
    pub(crate) fn new(token: AccessToken, settings: &Settings, wall: SystemTime) -> Self {
        let ages = settings.ages(&token);
        let (now, issued_at) = (Instant::now(), token.issued_at());
        let expires_at = issued_at + ages.expired;
        let entry = Self {
            authorization: Arc::new(PerCore::new(|| token.header_copy())),
            leased_until: now,
            stale_at: issued_at + ages.stale,
            expires_at,
            expires_wall: wall + expires_at.saturating_duration_since(now),
            accepted: Arc::default(),
            token,
        };
        entry.leased(now)
    }

    /// The same, after a look at both clocks.
    pub(crate) fn leased(&self, now: Instant) -> Self {
        Self { leased_until: (now + LEASE).min(self.stale_at).min(self.expires_at), ..self.clone() }
    }

    /// Whether it can be served as it is: asked for each request, so it is one comparison with the one clock that is read.
    /// A clock of somebody's own is asked as well.
    #[inline]
    pub(crate) fn is_leased(&self, now: Instant, clock: &WallClock) -> bool {
        now < self.leased_until && (matches!(clock, WallClock::System) || clock.now() < self.expires_wall)
    }

    /// The value of the `Authorization` header, to be sent from the running thread.
    #[inline]
    pub(crate) fn authorization(&self) -> HeaderValue {
        self.authorization.local().clone()
    }

    pub(crate) fn is_stale(&self, now: Instant) -> bool {
        now >= self.stale_at
    }

    /// By either clock: the monotonic one stops while the machine sleeps.
    pub(crate) fn is_expired(&self, now: Instant, wall: SystemTime) -> bool {
        now >= self.expires_at || wall >= self.expires_wall
    }

    pub(crate) fn expires_in(&self, now: Instant, wall: SystemTime) -> Duration {
        let by_wall = self.expires_wall.duration_since(wall).unwrap_or_default();
        self.expires_at.saturating_duration_since(now).min(by_wall)
    }

    pub(crate) fn note_accepted(&self, now: Instant) {
        let nanos = now.saturating_duration_since(self.token.issued_at()).as_nanos();
        self.accepted.store(u64::try_from(nanos).unwrap_or(u64::MAX).saturating_add(1), Ordering::Relaxed);
    }

    pub(crate) fn accepted_at(&self) -> Option<Instant> {
        let nanos = self.accepted.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.token.issued_at() + Duration::from_nanos(nanos))
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn entry() -> Entry {
        let token = AccessToken::new("t").unwrap().with_expires_in(HOUR);
        Entry::new(token, &Settings::default(), UNIX_EPOCH)
    }

    /// 22, by the system's clock: after a sleep, a token is served for no longer than a lease.
    #[test]
    fn a_token_is_served_for_a_tenth_of_a_second_without_a_look_at_the_wall_clock() {
        let (entry, now) = (entry(), Instant::now());
        assert!(entry.is_leased(now, &WallClock::System) && !entry.is_leased(now + LEASE, &WallClock::System));
        assert!(entry.is_expired(now + LEASE, UNIX_EPOCH + HOUR));
        let leased = entry.leased(now + HOUR / 2);
        assert!(leased.is_leased(now + HOUR / 2, &WallClock::System));
    }

    #[test]
    fn no_lease_outlives_the_freshness_of_its_token() {
        let (entry, now) = (entry(), Instant::now());
        assert!(!entry.leased(now + HOUR).is_leased(now + HOUR, &WallClock::System));
    }

    /// 22
    #[test]
    fn a_clock_of_somebodys_own_is_asked_each_time() {
        let (entry, now) = (entry(), Instant::now());
        let at = |wall| WallClock::Custom(Arc::new(move || wall));
        assert!(entry.is_leased(now, &at(UNIX_EPOCH)) && !entry.is_leased(now, &at(UNIX_EPOCH + HOUR)));
    }
}
