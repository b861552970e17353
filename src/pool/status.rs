//! A snapshot of a pool, for health probes.

use std::sync::atomic::Ordering::Relaxed;

use crate::cache::{CacheStatus, Totals};

/// A snapshot of a [`TokenPool`](crate::TokenPool), for a health probe or a log line. It holds no key and no secret.
///
/// An identity is counted by its own token, without its narrowed ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStatus {
    /// How many identities there are.
    pub identities: usize,
    /// How many of them have a token that is served.
    pub ready: usize,
    /// How many of them failed to get a token the last time. It includes users whose own token expired or was refused.
    pub failing: usize,
    /// How many of them have used up their [`RejectionBudget`](crate::cache::RejectionBudget), so that 401s are passed on.
    pub limited: usize,
    /// How many of them are being renewed, or wait for that.
    pub renewing: usize,
    /// How many identities were evicted since the pool was made: to make room, or because they were idle.
    pub evicted: u64,
    /// How many tokens were issued since the pool was made, for identities that are gone too. This and what follows includes narrowed
    /// tokens.
    pub renewals: u64,
    /// How many renewals have failed since then.
    pub total_failures: u64,
    /// How many answers have rejected a token since then.
    pub rejections: u64,
    /// How many requests the layer has sent a second time since then.
    pub second_attempts: u64,
}

impl PoolStatus {
    /// Returns the status of a pool without identities.
    pub(super) fn new(evicted: u64, totals: &Totals) -> Self {
        Self {
            evicted,
            renewals: totals.renewals.load(Relaxed),
            total_failures: totals.failures.load(Relaxed),
            rejections: totals.rejections.load(Relaxed),
            second_attempts: totals.second_attempts.load(Relaxed),
            ..Self::default()
        }
    }

    /// Adds an identity.
    pub(super) fn count(&mut self, status: &CacheStatus) {
        self.identities += 1;
        self.ready += usize::from(status.is_ready());
        self.failing += usize::from(status.failures > 0);
        self.limited += usize::from(status.rejections_limited);
        self.renewing += usize::from(status.renewing);
    }
}
