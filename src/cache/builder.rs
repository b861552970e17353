//! The settings of a cache, one method each.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::{
    cache::{
        backoff::Backoff,
        budget::RejectionBudget,
        cache_core::CacheCore,
        family::{Family, Shared},
        settings::{Margin, Settings, share_within_bounds},
        token_cache::TokenCache,
    },
    clock::WallClock,
    events,
    source::{BoxTokenSource, TokenSource},
};

/// The settings of a [`TokenCache`]. Each method states its default.
#[must_use = "call `build`"]
pub struct TokenCacheBuilder {
    source: BoxTokenSource,
    settings: Settings,
}

impl TokenCache {
    /// Creates a cache over `source`, with the default settings.
    pub fn new(source: impl TokenSource) -> Self {
        Self::builder(source).build()
    }

    /// Creates a builder of a cache over `source`, to change its settings.
    pub fn builder(source: impl TokenSource) -> TokenCacheBuilder {
        TokenCacheBuilder { source: source.boxed(), settings: Settings::default() }
    }
}

impl TokenCacheBuilder {
    /// Sets the name of the cache in log lines, and in the metrics of the feature `metrics`. Default: none.
    ///
    /// Give each cache of a process another name. It must not be secret or say who a user is. A cache without a name has no gauges;
    /// see [what can be seen](crate::events). The identities of a pool have the name of the
    /// [pool](crate::pool::TokenPoolBuilder::name) instead.
    pub fn name(mut self, name: impl AsRef<str>) -> Self {
        self.settings.name = Some(name.as_ref().into());
        self
    }

    /// Sets how long before its expiry a token is renewed in the background: at most `max`, and at most this share of its
    /// lifetime. Default: 5 min, 0.25.
    pub fn stale_before_expiry(mut self, max: Duration, share: f64) -> Self {
        self.settings.stale = Margin::new(max, share);
        self
    }

    /// Makes each token stale later by a random part of the margin of
    /// [`stale_before_expiry`](Self::stale_before_expiry), at most this share of it. This way, the machines of a fleet
    /// do not all renew at the same time. Default: 0.10.
    pub fn stale_jitter(mut self, share: f64) -> Self {
        self.settings.stale_jitter = share_within_bounds(share);
        self
    }

    /// Sets how long before its expiry the cache stops using a token, to allow for clock skew and time in flight: at most `max`,
    /// and at most this share of its lifetime. Default: 60 s, 0.10.
    pub fn expired_before_expiry(mut self, max: Duration, share: f64) -> Self {
        self.settings.expired = Margin::new(max, share);
        self
    }

    /// Sets the lifetime of a token when neither the issuer nor the token states it. Default: 1 h.
    pub fn default_lifetime(mut self, lifetime: Duration) -> Self {
        self.settings.default_lifetime = lifetime;
        self
    }

    /// Sets how often a renewal that requests wait for is tried again after a failure that may be over soon, such as a
    /// refused connection or a 503. Default and maximum: 3 times, within two seconds.
    ///
    /// A `Retry-After` that fits the deadline is waited for. If the renewal before failed too, nothing is tried again: the
    /// waiting requests fail at once. A renewal in the background has the [backoff](Self::transient_backoff) instead.
    pub fn renewal_retries(mut self, times: usize) -> Self {
        self.settings.renewal_retries = times;
        self
    }

    /// Sets how long one renewal may take, with all its attempts. Default: 10 s. Only the time counts in which the runtime is
    /// driven;
    /// see [one renewal at a time](crate::cache#one-renewal-at-a-time).
    pub fn renewal_deadline(mut self, deadline: Duration) -> Self {
        self.settings.renewal_deadline = deadline;
        self
    }

    /// Sets the wait after failures that may be over soon. Default: 250 ms doubling to 30 s, with full jitter.
    pub fn transient_backoff(mut self, backoff: Backoff) -> Self {
        self.settings.transient = backoff;
        self
    }

    /// Sets the wait after refusals without a reason. Default: 5 s doubling to 10 min.
    pub fn unexplained_backoff(mut self, backoff: Backoff) -> Self {
        self.settings.unexplained = backoff;
        self
    }

    /// Sets the wait after refusals with a reason. It is long, because repeating a wrong password locks the account.
    /// Default: 60 s doubling to 10 min.
    pub fn terminal_backoff(mut self, backoff: Backoff) -> Self {
        self.settings.terminal = backoff;
        self
    }

    /// Sets the longest `Retry-After` that is honoured. Default: 10 min.
    pub fn max_retry_after(mut self, max: Duration) -> Self {
        self.settings.max_retry_after = max;
        self
    }

    /// Sets the bound on renewals that rejections cause. Default: [`RejectionBudget::default`].
    pub fn rejection_budget(mut self, budget: RejectionBudget) -> Self {
        self.settings.rejections = Arc::new(budget);
        self
    }

    /// Sets the clock that gives the time of day. With it, the cache notices that a token expired while the machine
    /// slept. Default: the system's clock, read ten times a second.
    ///
    /// A clock that is set here is read for each request. It is for tests, and for hosts with a better clock.
    pub fn wall_clock(mut self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.settings.wall_clock = WallClock::Custom(Arc::new(clock));
        self
    }

    /// Sets how many [narrowed](TokenCache::narrowed) caches are kept at most. Default: 64.
    ///
    /// When there are more, one that was not used recently is dropped. A cache is kept while it is in use, is being renewed, or
    /// had a failure or a rejection recently, so that its backoff and its budget are not forgotten. It is also kept while its
    /// token has not expired, so that [`revoke`](TokenCache::revoke) reaches it. For such caches, the limit is sixteen times
    /// this number.
    pub fn max_narrowed(mut self, max: usize) -> Self {
        self.settings.max_narrowed = max;
        self
    }

    /// Creates the cache. No token is requested before the first request.
    #[must_use]
    pub fn build(self) -> TokenCache {
        let core = CacheCore::new(self.source, Arc::new(self.settings), Family::new(None, None));
        let Some(name) = core.settings.name.clone() else { return TokenCache { core: core.attached() } };
        events::cache_made(&name);
        TokenCache { core: core.with_gauges().attached() }
    }
}

impl TokenCacheBuilder {
    /// Creates the cache of one of several identities. `name` is what logs may show of it.
    pub(crate) fn build_in(self, shared: &Arc<Shared>, name: Option<Box<str>>) -> Arc<CacheCore> {
        let family = Family::new(Some(Arc::clone(shared)), name);
        let settings = Settings { name: None, ..self.settings };
        CacheCore::new(self.source, shared.settings(settings), family).attached()
    }
}

/// The default settings, over this source.
impl<S: TokenSource> From<S> for TokenCacheBuilder {
    fn from(source: S) -> Self {
        TokenCache::builder(source)
    }
}

impl fmt::Debug for TokenCacheBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCacheBuilder").field("settings", &self.settings).finish_non_exhaustive()
    }
}
