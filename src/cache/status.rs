//! A snapshot for health probes.

use std::time::Duration;

use crate::error::Error;

/// How a cache is, at one moment: for a health probe or a log line. Holds no secret.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CacheStatus {
    /// The age of the token at hand.
    pub age: Age,
    /// Which token it is, counted from 1; 0 before the first.
    pub generation: u64,
    /// How long it will still be served.
    pub expires_in: Option<Duration>,
    /// Whether a renewal is under way.
    pub renewing: bool,
    /// How many tokens the source has given.
    pub renewals: u64,
    /// How many attempts have failed in a row.
    pub failures: u32,
    /// The last failure, until a renewal succeeds.
    pub last_error: Option<Error>,
    /// How long the source is left alone because of it.
    pub retry_in: Option<Duration>,
    /// Whether rejections have used up the [`RejectionBudget`](crate::cache::RejectionBudget): 401s pass through.
    pub rejections_limited: bool,
    /// How long until a rejection may cause a renewal again, while limited.
    pub next_rejection_renewal_in: Option<Duration>,
}

impl CacheStatus {
    /// Whether a request made now would be sent with a token without having to wait for one.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(self.age, Age::Fresh | Age::Stale)
    }
}

/// The three ages of a token, and none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Age {
    /// There is none: not asked for yet, or rejected.
    Missing,
    /// Served.
    Fresh,
    /// Served, while a new one is fetched in the background.
    Stale,
    /// No longer served: requests wait for the next one.
    Expired,
}
