//! The narrowed caches of a cache, and which caches must not make room for others.

use std::sync::Arc;

use tokio::time::Instant;

use crate::{
    cache::{
        bounded_map::{BoundedMap, Rules},
        cache_core::CacheCore,
        state::CacheState,
    },
    error::Error,
    source::{Narrowing, TokenSource},
};

impl CacheCore {
    /// Returns the cache of the tokens that are narrowed like this. It is made at its first use.
    ///
    /// # Errors
    /// When the source cannot be narrowed.
    pub(crate) fn narrowed(&self, to: &Narrowing) -> Result<Arc<Self>, Error> {
        if let Some(known) = self.narrowed.get().and_then(|caches| caches.get(to)) {
            return Ok(known);
        }
        let source = self.source.narrowed(to).ok_or_else(|| {
            Error::config("this token source cannot be narrowed: implement `TokenSource::narrowed` for it")
        })?;
        let made = Self::new(source, Arc::clone(&self.settings), Arc::clone(&self.family)).attached();
        let caches = || Box::new(BoundedMap::new(self.settings.max_narrowed, Self::NARROWED_RULES));
        Ok(self.narrowed.get_or_init(caches).add(to.clone(), made))
    }

    /// Which identities of a pool are evicted.
    pub(crate) const IDENTITY_RULES: Rules<Arc<Self>> = Rules {
        growth: 2,
        must_stay: Self::must_stay,
        has_succeeded: |core| core.family.has_succeeded(),
        take_use: |core| core.family.take_use(),
        place: |core| &core.place,
    };

    /// Which narrowed caches are evicted.
    const NARROWED_RULES: Rules<Arc<Self>> = Rules {
        growth: 16,
        must_stay: Self::must_stay_narrowed,
        has_succeeded: |core| core.flight.peek(|state, _| state.newest().is_some()),
        take_use: |core| core.take_use(),
        place: |core| &core.place,
    };

    /// Returns all caches that this one was narrowed to, with those that they were narrowed to, and then this one.
    pub(crate) fn with_narrowed(self: &Arc<Self>) -> Vec<Arc<Self>> {
        let narrowed = self.narrowed.get().into_iter().flat_map(|caches| caches.iter());
        narrowed.flat_map(|(_, narrowed)| narrowed.with_narrowed()).chain([Arc::clone(self)]).collect()
    }

    /// Returns whether this cache of a pool must not make room for another one: it is in use, it is being renewed, or what
    /// would be lost with it protects the issuer. The same of its narrowed caches.
    ///
    /// It is called under the lock of a map, so it drops nothing and calls no user code.
    pub(crate) fn must_stay(self: &Arc<Self>) -> bool {
        self.is_needed(|_, _| false) || self.narrowed.get().is_some_and(|caches| caches.any(Self::must_stay))
    }

    /// Returns the same of a narrowed cache, which must stay as well while it has a token that may be revoked.
    pub(crate) fn must_stay_narrowed(self: &Arc<Self>) -> bool {
        self.is_needed(CacheState::holds_live_token)
            || self.narrowed.get().is_some_and(|caches| caches.any(Self::must_stay_narrowed))
    }

    fn is_needed(self: &Arc<Self>, also: impl Fn(&CacheState, Instant) -> bool) -> bool {
        // Its own map has one reference.
        Arc::strong_count(self) > 1
            || self.flight.peek(|state, renewing| {
                let now = Instant::now();
                renewing || state.protects_issuer(now) || also(state, now)
            })
    }
}
