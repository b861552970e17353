//! The settings of a layer, which its services and their requests share.

use std::{fmt, ops::Deref, sync::Arc};

use crate::{
    cache::{CacheCore, TokenCache},
    destination::Destinations,
    per_core::{CachePadded, PerCore},
    pool::ChooseCache,
    token_header::TokenHeader,
    verdict::VerdictRule,
};

/// What the services of a layer and their requests need to know.
pub(crate) struct LayerConfig<R> {
    /// The cache of the requests that do not have their own. Requests get it from their [`RequestContext`].
    cache: TokenCache,
    /// Chooses the cache of each request. `None` means that all have the cache of the layer.
    pub(crate) identities: Option<Arc<dyn ChooseCache>>,
    /// Whether the caller's `Authorization` is a user's, and is never passed on.
    pub(crate) on_behalf_of: bool,
    pub(crate) replay: R,
    pub(crate) rule: VerdictRule,
    pub(crate) keep_existing: bool,
    pub(crate) destinations: Destinations,
    pub(crate) check_scopes: bool,
    /// `None` means `Authorization: Bearer`.
    pub(crate) own_header: Option<TokenHeader>,
}

/// The copy of the settings that a request holds. Each core has its own.
pub(crate) type SharedConfig<R> = Arc<CachePadded<LayerConfig<R>>>;

/// What a request holds: the settings, and the cache of its token.
///
/// The cache is that of the layer, unless the request has its own. So a usual request changes only the reference count of its
/// core's copy of the settings.
pub(crate) struct RequestContext<R> {
    config: SharedConfig<R>,
    own_cache: Option<Arc<CacheCore>>,
}

/// The copies of the settings for all cores.
pub(crate) type PerCoreConfig<R> = Arc<PerCore<SharedConfig<R>>>;

impl<R> LayerConfig<R> {
    /// Returns the default settings, over `cache`.
    pub(crate) fn new(cache: TokenCache, replay: R) -> Self {
        let (rule, destinations) = (VerdictRule::Standard, Destinations::default());
        Self {
            cache,
            identities: None,
            on_behalf_of: false,
            replay,
            rule,
            keep_existing: false,
            destinations,
            check_scopes: false,
            own_header: None,
        }
    }

    /// Returns the cache of the layer. A request may have another one.
    pub(crate) fn layer_cache(&self) -> &TokenCache {
        &self.cache
    }

    /// Returns the same settings with another way to keep bodies.
    pub(crate) fn with_replay<N>(self, replay: N) -> LayerConfig<N> {
        let Self {
            cache, identities, on_behalf_of, rule, keep_existing, destinations, check_scopes, own_header, ..
        } = self;
        LayerConfig {
            cache,
            identities,
            on_behalf_of,
            replay,
            rule,
            keep_existing,
            destinations,
            check_scopes,
            own_header,
        }
    }
}

impl<R: Clone> LayerConfig<R> {
    /// Copies the settings, one copy for each core.
    pub(crate) fn per_core(&self) -> PerCoreConfig<R> {
        Arc::new(PerCore::new(|| Arc::new(CachePadded(self.clone()))))
    }
}

impl<R> RequestContext<R> {
    #[inline]
    pub(crate) fn new(config: SharedConfig<R>, own_cache: Option<Arc<CacheCore>>) -> Self {
        Self { config, own_cache }
    }

    /// Returns the cache of the request's token.
    #[inline]
    pub(crate) fn core(&self) -> &Arc<CacheCore> {
        self.own_cache.as_ref().unwrap_or(&self.config.cache.core)
    }
}

impl<R> Deref for RequestContext<R> {
    type Target = LayerConfig<R>;

    #[inline]
    fn deref(&self) -> &LayerConfig<R> {
        &self.config
    }
}

impl<R: Clone> Clone for LayerConfig<R> {
    fn clone(&self) -> Self {
        Self {
            cache: self.cache.clone(),
            identities: self.identities.clone(),
            on_behalf_of: self.on_behalf_of,
            replay: self.replay.clone(),
            rule: self.rule.clone(),
            keep_existing: self.keep_existing,
            destinations: self.destinations.clone(),
            check_scopes: self.check_scopes,
            own_header: self.own_header.clone(),
        }
    }
}

impl<R: fmt::Debug> fmt::Debug for LayerConfig<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LayerConfig")
            .field("cache", &self.cache)
            .field("has_pool", &self.identities.is_some())
            .field("replay", &self.replay)
            .field("rule", &self.rule)
            .field("keep_existing", &self.keep_existing)
            .field("destinations", &self.destinations)
            .field("check_scopes", &self.check_scopes)
            .field("own_header", &self.own_header)
            .finish_non_exhaustive()
    }
}
