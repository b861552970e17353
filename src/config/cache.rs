//! The settings of a cache.

use serde::Deserialize;

use crate::{
    cache::TokenCache,
    cache::{Backoff, RejectionBudget, TokenCacheBuilder},
    config::units::{Name, Share, Span, TimeLimit},
    source::TokenSource,
};

/// The settings of a [`TokenCache`]. What is not set has the default of its method in [`TokenCacheBuilder`].
///
/// ```toml
/// stale_before_expiry = { max = "5m", share = 0.25 }
/// stale_jitter = 0.1
/// expired_before_expiry = { max = "60s", share = 0.1 }
/// default_lifetime = "1h"
/// renewal_retries = 3
/// renewal_deadline = "10s"
/// transient_backoff = { first = "250ms", max = "30s", jitter = true }
/// unexplained_backoff = { first = "5s", max = "10m" }
/// terminal_backoff = { first = "60s", max = "10m" }
/// max_retry_after = "10m"
/// rejection_budget = { free = 1, first = "1s", max = "150s", detect_revocation_after = "1s" }
/// max_narrowed = 64
/// ```
///
/// These are the defaults. `name = "billing"` is the name of the cache in log lines and metrics. Without it, there is none; the identities
/// of a pool have [that of the pool](crate::config::PoolConfig). Each key has the name of the method. A backoff has no `jitter` unless it is set.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheConfig {
    name: Option<Name>,
    stale_before_expiry: Option<MarginConfig>,
    stale_jitter: Option<Share>,
    expired_before_expiry: Option<MarginConfig>,
    default_lifetime: Option<Span>,
    renewal_retries: Option<usize>,
    renewal_deadline: Option<TimeLimit>,
    transient_backoff: Option<BackoffConfig>,
    unexplained_backoff: Option<BackoffConfig>,
    terminal_backoff: Option<BackoffConfig>,
    max_retry_after: Option<Span>,
    rejection_budget: Option<BudgetConfig>,
    max_narrowed: Option<usize>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MarginConfig {
    max: Span,
    share: Share,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BackoffConfig {
    first: Span,
    max: Span,
    #[serde(default)]
    jitter: bool,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BudgetConfig {
    free: u32,
    first: Span,
    max: Span,
    detect_revocation_after: Option<Span>,
}

impl CacheConfig {
    /// Returns a builder of a cache over `source`, with these settings.
    pub fn builder(&self, source: impl TokenSource) -> TokenCacheBuilder {
        self.apply(TokenCache::builder(source))
    }

    /// Returns the builder with these settings, such as that of each user's cache in a
    /// [`UserPool`](crate::pool::UserPoolBuilder::cache).
    pub fn apply(&self, mut builder: TokenCacheBuilder) -> TokenCacheBuilder {
        if let Some(Name(name)) = &self.name {
            builder = builder.name(name);
        }
        if let Some(MarginConfig { max, share }) = self.stale_before_expiry {
            builder = builder.stale_before_expiry(max.0, share.0);
        }
        if let Some(share) = self.stale_jitter {
            builder = builder.stale_jitter(share.0);
        }
        if let Some(MarginConfig { max, share }) = self.expired_before_expiry {
            builder = builder.expired_before_expiry(max.0, share.0);
        }
        if let Some(lifetime) = self.default_lifetime {
            builder = builder.default_lifetime(lifetime.0);
        }
        if let Some(times) = self.renewal_retries {
            builder = builder.renewal_retries(times);
        }
        if let Some(deadline) = self.renewal_deadline {
            builder = builder.renewal_deadline(deadline.0);
        }
        if let Some(backoff) = self.transient_backoff {
            builder = builder.transient_backoff(backoff.into());
        }
        if let Some(backoff) = self.unexplained_backoff {
            builder = builder.unexplained_backoff(backoff.into());
        }
        if let Some(backoff) = self.terminal_backoff {
            builder = builder.terminal_backoff(backoff.into());
        }
        if let Some(max) = self.max_retry_after {
            builder = builder.max_retry_after(max.0);
        }
        if let Some(budget) = self.rejection_budget {
            builder = builder.rejection_budget(budget.into());
        }
        if let Some(max) = self.max_narrowed {
            builder = builder.max_narrowed(max);
        }
        builder
    }
}

impl From<BackoffConfig> for Backoff {
    fn from(config: BackoffConfig) -> Self {
        let backoff = Self::new(config.first.0, config.max.0);
        if config.jitter { backoff.with_full_jitter() } else { backoff }
    }
}

impl From<BudgetConfig> for RejectionBudget {
    fn from(config: BudgetConfig) -> Self {
        let budget = Self::new(config.free, config.first.0, config.max.0);
        match config.detect_revocation_after {
            Some(silence) => budget.detect_revocation_after(silence.0),
            None => budget,
        }
    }
}
