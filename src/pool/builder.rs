//! The settings of a pool, one method each.

use std::{fmt, time::Duration};

use crate::{cache::TokenCacheBuilder, error::Error, pool::shown::Shown};

/// Returns the source and the settings of an identity.
pub(super) type Make<K> = Box<dyn Fn(&K) -> Result<TokenCacheBuilder, Error> + Send + Sync>;

/// The settings of a [`TokenPool`](crate::TokenPool). Each method states its default.
#[must_use = "call `build`"]
pub struct TokenPoolBuilder<K> {
    pub(super) make: Make<K>,
    pub(super) max_identities: usize,
    pub(super) idle: Duration,
    pub(super) max_renewals: usize,
    pub(super) name: Option<fn(&K) -> String>,
    pub(super) pool_name: Option<Box<str>>,
}

impl<K> TokenPoolBuilder<K> {
    pub(super) fn new(make: Make<K>) -> Self {
        let (max_identities, idle) = (10_000, Duration::from_secs(3600));
        Self { make, max_identities, idle, max_renewals: 64, name: None, pool_name: None }
    }

    /// Sets the name of the pool in log lines, and in the metrics of the feature `metrics`. Default: none.
    ///
    /// Give each pool of a process another name. It must not be secret. A pool without a name has no gauges; see [what can be
    /// seen](crate::events).
    pub fn name(mut self, name: impl Into<Box<str>>) -> Self {
        self.pool_name = Some(name.into());
        self
    }

    /// Sets how many identities are kept at most. Default: 10,000, which is about 10 MiB beside the tokens.
    ///
    /// When there are more, one that was not used recently is evicted. An identity is kept while it is in use, is being renewed,
    /// or had a failure or a rejection recently, so that its backoff and its budget are not forgotten. For such identities, the
    /// limit is twice this number; above it, the oldest of those that never got a token is evicted. While all are used often, there
    /// are up to an eighth more.
    ///
    /// Identities that never got a token, such as made-up ones, displace those with a token from one eighth of the pool at most.
    pub fn max_identities(mut self, max: usize) -> Self {
        self.max_identities = max;
        self
    }

    /// Sets how long an identity is kept that is not used. Default: 1 h. The least is 1 s.
    ///
    /// Its token is forgotten then, and not revoked. Idle identities are looked for when a token was renewed, at most four times
    /// in this time. No request waits for that.
    pub fn idle(mut self, idle: Duration) -> Self {
        self.idle = idle.max(Duration::from_secs(1));
        self
    }

    /// Sets how many renewals of the pool are in progress at once. Default: 64. Those that requests wait for come first, and
    /// among equal ones the one that was asked for first.
    pub fn max_renewals(mut self, max: usize) -> Self {
        self.max_renewals = max.max(1);
        self
    }
}

impl<K: fmt::Display> TokenPoolBuilder<Shown<K>> {
    /// Names the identity in the span of each renewal, and in the lines of an issued token and of a failed renewal. Default: no key is shown anywhere.
    pub fn show_keys(mut self) -> Self {
        self.name = Some(ToString::to_string);
        self
    }
}

impl<K> fmt::Debug for TokenPoolBuilder<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenPoolBuilder")
            .field("max_identities", &self.max_identities)
            .field("idle", &self.idle)
            .field("max_renewals", &self.max_renewals)
            .finish_non_exhaustive()
    }
}
