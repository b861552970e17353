//! A snapshot for health probes.

use std::time::Duration;

use crate::error::Error;

/// A snapshot of a cache, for a health probe or a log line. It holds no secret.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CacheStatus {
    /// The age of the current token.
    pub age: Age,
    /// The generation of the newest token, counted from 1. It is 0 before the first.
    pub generation: u64,
    /// How long the current token will still be served.
    pub expires_in: Option<Duration>,
    /// Whether a renewal is in progress.
    pub renewing: bool,
    /// How many tokens the source has issued.
    pub renewals: u64,
    /// How many attempts have failed in a row.
    pub failures: u32,
    /// How many renewals have failed since the cache was created. One that was not sent, because a user's own token had expired, is
    /// not counted.
    pub total_failures: u64,
    /// How many answers have rejected the token since the cache was created, with those that
    /// [`invalidate`](crate::TokenCache::invalidate) said of the newest token.
    pub rejections: u64,
    /// How many requests the layer has sent a second time since the cache was created.
    pub second_attempts: u64,
    /// The last failure, until a renewal succeeds.
    pub last_error: Option<Error>,
    /// How long it takes until the source may be asked again after that failure.
    pub retry_in: Option<Duration>,
    /// Whether rejections have used up the [`RejectionBudget`](crate::cache::RejectionBudget), so that 401s are passed on.
    pub rejections_limited: bool,
    /// How long it takes until a rejection may cause a renewal again, while limited.
    pub next_rejection_renewal_in: Option<Duration>,
}

impl CacheStatus {
    /// Returns whether a request made now is sent without waiting for a token.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(self.age, Age::Fresh | Age::Stale)
    }
}

/// The age of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Age {
    /// The cache has no token to serve: none was issued yet, the last one was rejected and is being renewed, or it was
    /// forgotten.
    Missing,
    /// The token is served.
    Fresh,
    /// The token is served, and a new one is requested in the background.
    Stale,
    /// The token has expired and is not served. Requests wait for the next one.
    Expired,
}
