//! The identities of a pool and their renewals.

use crate::events::{
    cache::cache_made,
    metrics::{POOL_EVICTIONS, POOL_IDENTITIES, POOL_RENEWALS},
    recorder,
    shown::Shown,
};

/// How many renewals of a pool wait, and how many are in progress.
#[derive(Debug, Default)]
pub(crate) struct PoolRenewals {
    pool: Option<Box<str>>,
    waiting: Shown,
    in_progress: Shown,
}

/// A renewal that waits. It is counted until this is dropped.
pub(crate) struct Waiting<'a> {
    of: &'a PoolRenewals,
    has_begun: bool,
}

impl PoolRenewals {
    pub(crate) fn new(pool: Option<Box<str>>) -> Self {
        Self { pool, ..Self::default() }
    }

    /// Returns the name of the pool.
    pub(crate) fn pool(&self) -> Option<&str> {
        self.pool.as_deref()
    }

    /// Counts a renewal that waits.
    pub(crate) fn wait(&self) -> Waiting<'_> {
        self.waiting.add();
        self.show();
        Waiting { of: self, has_begun: false }
    }

    fn show(&self) {
        if let Some(pool) = &self.pool {
            self.waiting.show(|now| set(pool, "waiting", now));
            self.in_progress.show(|now| set(pool, "in_progress", now));
        }
    }
}

impl Waiting<'_> {
    /// Counts the renewal as one that is in progress.
    pub(crate) fn begin(&mut self) {
        self.of.in_progress.add();
        self.of.waiting.subtract();
        self.has_begun = true;
        self.of.show();
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.has_begun { &self.of.in_progress } else { &self.of.waiting }.subtract();
        self.of.show();
    }
}

fn set(pool: &str, state: &str, now: u64) {
    recorder::set(&POOL_RENEWALS, &[pool, state], count(now));
}

/// Shows the counters of a new pool with a name, so that the first failure is an increase.
pub(crate) fn pool_made(pool: &str) {
    cache_made(pool);
    pool_evicted(Some(pool), 0);
}

/// Shows how many identities a pool has.
pub(crate) fn show_identities(pool: &str, now: u64) {
    recorder::set(&POOL_IDENTITIES, &[pool], count(now));
}

/// Notes that so many identities were evicted from a pool.
pub(crate) fn pool_evicted(pool: Option<&str>, identities: u64) {
    recorder::count(&POOL_EVICTIONS, &[pool.unwrap_or_default()], identities);
}

fn count(now: u64) -> f64 {
    f64::from(u32::try_from(now).unwrap_or(u32::MAX))
}
