//! What is counted of the use of a store.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::events::{self, StoreMetric};

/// How a [`SharedStore`](crate::store::SharedStore) was used since it was created, in this process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreStatus {
    /// Whether the store answered the last call. It is `true` before the first call.
    pub is_available: bool,
    /// Tokens that another process had stored, or this one before its restart.
    pub hits: u64,
    /// Readings that found no record.
    pub absent: u64,
    /// Readings of a record without a token, or with one that ends too soon.
    pub expired: u64,
    /// Readings of a token that was rejected or revoked.
    pub rejected: u64,
    /// Readings of the token that this process wanted to renew.
    pub unchanged: u64,
    /// Readings of something that is not a record, has another format, or was sealed by an unknown key.
    pub unreadable: u64,
    /// Failures of other processes that were passed on, without a token request.
    pub passed_on: u64,
    /// How often this process waited while another one had the lease.
    pub waits: u64,
    /// How often it got the lease after it had waited.
    pub takeovers: u64,
    /// Token requests under a lease.
    pub exchanges: u64,
    /// Leases that ended during a token request.
    pub lost_leases: u64,
    /// Token requests without the store, because it did not answer.
    pub alone: u64,
    /// Calls that the store did not answer in time, or answered with an error.
    pub failures: u64,
    /// Tokens that were withdrawn from a cache, because another process had rejected or revoked them.
    pub withdrawn: u64,
}

/// Counts what [`StoreStatus`] shows.
pub(super) struct Counters {
    name: Option<Arc<str>>,
    pub(super) hits: Counter,
    pub(super) absent: Counter,
    pub(super) expired: Counter,
    pub(super) rejected: Counter,
    pub(super) unchanged: Counter,
    pub(super) unreadable: Counter,
    pub(super) passed_on: Counter,
    pub(super) waits: Counter,
    pub(super) takeovers: Counter,
    pub(super) exchanges: Counter,
    pub(super) lost_leases: Counter,
    pub(super) alone: Counter,
    pub(super) failures: Counter,
    pub(super) withdrawn: Counter,
}

pub(super) struct Counter {
    count: AtomicU64,
    metric: StoreMetric,
    store: Option<Arc<str>>,
}

impl Counter {
    /// Counts one. A recorder of metrics is user code, so no lock is held.
    pub(super) fn add(&self) {
        self.count.fetch_add(1, Relaxed);
        events::store_counted(self.store.as_deref(), self.metric, 1);
    }

    fn get(&self) -> u64 {
        self.count.load(Relaxed)
    }
}

impl Counters {
    /// Creates the counters of a store with this name.
    pub(super) fn new(name: Option<Arc<str>>) -> Self {
        let counter = |metric| {
            if name.is_some() {
                // So that the first one is an increase.
                events::store_counted(name.as_deref(), metric, 0);
            }
            Counter { count: AtomicU64::new(0), metric, store: name.clone() }
        };
        Self {
            hits: counter(StoreMetric::Read("hit")),
            absent: counter(StoreMetric::Read("absent")),
            expired: counter(StoreMetric::Read("expired")),
            rejected: counter(StoreMetric::Read("rejected")),
            unchanged: counter(StoreMetric::Read("unchanged")),
            unreadable: counter(StoreMetric::Read("unreadable")),
            passed_on: counter(StoreMetric::Read("passed_on")),
            waits: counter(StoreMetric::Waits),
            takeovers: counter(StoreMetric::Takeovers),
            exchanges: counter(StoreMetric::Exchanges),
            lost_leases: counter(StoreMetric::LostLeases),
            alone: counter(StoreMetric::Alone),
            failures: counter(StoreMetric::Failures),
            withdrawn: counter(StoreMetric::Withdrawn),
            name,
        }
    }

    pub(super) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    pub(super) fn status(&self, is_available: bool) -> StoreStatus {
        StoreStatus {
            is_available,
            hits: self.hits.get(),
            absent: self.absent.get(),
            expired: self.expired.get(),
            rejected: self.rejected.get(),
            unchanged: self.unchanged.get(),
            unreadable: self.unreadable.get(),
            passed_on: self.passed_on.get(),
            waits: self.waits.get(),
            takeovers: self.takeovers.get(),
            exchanges: self.exchanges.get(),
            lost_leases: self.lost_leases.get(),
            alone: self.alone.get(),
            failures: self.failures.get(),
            withdrawn: self.withdrawn.get(),
        }
    }
}
