//! The token that is being served, with the instants at which its ages end.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use crate::{cache::settings::Settings, token::AccessToken};

/// The token that is being served. Immutable but for the note of its last acceptance.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) token: AccessToken,
    stale_at: Instant,
    expires_at: Instant,
    /// The same on the wall clock, which goes on while the machine sleeps.
    expires_wall: SystemTime,
    /// Nanoseconds from the token's issue to its last acceptance, plus one; 0 is never.
    accepted: AtomicU64,
}

impl Entry {
    pub(crate) fn new(token: AccessToken, settings: &Settings, wall: SystemTime) -> Self {
        let ages = settings.ages(&token);
        let issued_at = token.issued_at();
        let left = (issued_at + ages.expired).saturating_duration_since(Instant::now());
        Self {
            stale_at: issued_at + ages.stale,
            expires_at: issued_at + ages.expired,
            expires_wall: wall + left,
            accepted: AtomicU64::new(0),
            token,
        }
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
