//! What is counted of a cache and of a pool since it was created.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::cache::status::CacheStatus;

/// Counts what is rare. A hit is not counted.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) renewals: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) rejections: AtomicU64,
    pub(crate) second_attempts: AtomicU64,
}

impl Totals {
    pub(super) fn show(&self, status: CacheStatus) -> CacheStatus {
        CacheStatus {
            total_failures: self.failures.load(Relaxed),
            rejections: self.rejections.load(Relaxed),
            second_attempts: self.second_attempts.load(Relaxed),
            ..status
        }
    }
}
