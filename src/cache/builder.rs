//! Settings, one call each.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::{
    cache::{
        backoff::Backoff,
        budget::RejectionBudget,
        settings::{Margin, Settings, proper_share},
        token_cache::TokenCache,
    },
    clock::WallClock,
    source::TokenSource,
};

/// Settings of a [`TokenCache`]; each method states its default.
#[must_use = "call `build`"]
pub struct TokenCacheBuilder<T> {
    source: T,
    settings: Settings,
}

impl<T: TokenSource> TokenCacheBuilder<T> {
    pub(crate) fn new(source: T) -> Self {
        Self { source, settings: Settings::default() }
    }

    /// How long before its expiry a token is renewed in the background: at most `most`, and at most this share of its
    /// lifetime. Default: 5 min, 0.25.
    pub fn stale_before_expiry(mut self, most: Duration, share: f64) -> Self {
        self.settings.stale = Margin::new(most, share);
        self
    }

    /// The share of that margin by which staleness is delayed at most, drawn once a token, so that a fleet does not
    /// renew in step. Default: 0.10.
    pub fn stale_jitter(mut self, share: f64) -> Self {
        self.settings.stale_jitter = proper_share(share);
        self
    }

    /// How long before its expiry a token is no longer used, for clock skew and time in flight: at most `most`, and at
    /// most this share of its lifetime. Default: 60 s, 0.10.
    pub fn expired_before_expiry(mut self, most: Duration, share: f64) -> Self {
        self.settings.expired = Margin::new(most, share);
        self
    }

    /// The lifetime of a token when neither the issuer nor the token says. Default: 1 h.
    pub fn default_lifetime(mut self, lifetime: Duration) -> Self {
        self.settings.default_lifetime = lifetime;
        self
    }

    /// How long one attempt to get a token may take. Default: 10 s.
    pub fn renewal_deadline(mut self, deadline: Duration) -> Self {
        self.settings.renewal_deadline = deadline;
        self
    }

    /// The wait after failures that may be over soon. Default: 250 ms doubling to 30 s, full jitter.
    pub fn transient_backoff(mut self, backoff: Backoff) -> Self {
        self.settings.transient = backoff;
        self
    }

    /// The wait after refusals without a reason. Default: 5 s doubling to 10 min.
    pub fn unexplained_backoff(mut self, backoff: Backoff) -> Self {
        self.settings.unexplained = backoff;
        self
    }

    /// The wait after refusals with a reason: they latch, because repeating a wrong password locks the account.
    /// Default: 60 s doubling to 10 min.
    pub fn terminal_backoff(mut self, backoff: Backoff) -> Self {
        self.settings.terminal = backoff;
        self
    }

    /// The longest `Retry-After` that is honoured. Default: 10 min.
    pub fn longest_retry_after(mut self, most: Duration) -> Self {
        self.settings.retry_after_most = most;
        self
    }

    /// The bound on renewals that rejections cause. Default: [`RejectionBudget::default`].
    pub fn rejection_budget(mut self, budget: RejectionBudget) -> Self {
        self.settings.rejections = budget;
        self
    }

    /// Where the time of day comes from, which ends a token that expired while the machine slept. Default: the
    /// system's clock, read ten times a second; one that is set here is read for each request. For tests, and for hosts with
    /// a better clock.
    pub fn wall_clock(mut self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.settings.wall_clock = WallClock::Custom(Arc::new(clock));
        self
    }

    /// How many [narrowed](TokenCache::narrowed) tokens are kept at most, each with a cache of its own; the one that was unused
    /// for longest makes room. Default: 64.
    pub fn most_narrowed(mut self, most: usize) -> Self {
        self.settings.most_narrowed = most;
        self
    }

    /// Makes the cache. Nothing is asked for before the first request.
    pub fn build(self) -> TokenCache<T> {
        TokenCache::with_settings(self.source, self.settings)
    }
}

impl<T> fmt::Debug for TokenCacheBuilder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCacheBuilder").field("settings", &self.settings).finish_non_exhaustive()
    }
}
