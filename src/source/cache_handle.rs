//! What a source may do with the cache of its tokens.

use std::{fmt, sync::Weak};

use crate::token::AccessToken;

/// A weak reference to the cache that keeps the tokens of a source.
///
/// A source that learns by itself that a token ended, for example from another process, withdraws it here.
#[derive(Clone)]
pub struct CacheHandle(Weak<dyn KeepsToken>);

/// What a cache offers.
pub(crate) trait KeepsToken: Send + Sync {
    fn served(&self) -> Option<AccessToken>;
    fn withdraw(&self, token: &AccessToken) -> bool;
}

impl CacheHandle {
    pub(crate) fn new(cache: Weak<dyn KeepsToken>) -> Self {
        Self(cache)
    }

    /// Returns the token that the cache serves now, whatever its age.
    #[must_use]
    pub fn served(&self) -> Option<AccessToken> {
        self.0.upgrade()?.served()
    }

    /// Ends the use of this token. The next request waits for a new one. Returns whether the cache had it as its newest.
    ///
    /// It is not served again, even if the next renewal fails. It does not count as a rejection by an API.
    #[expect(clippy::must_use_candidate, reason = "few callers need to know whether it was the newest")]
    pub fn withdraw(&self, token: &AccessToken) -> bool {
        self.0.upgrade().is_some_and(|cache| cache.withdraw(token))
    }

    /// Returns whether the cache was dropped.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }
}

impl fmt::Debug for CacheHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheHandle").field("is_gone", &self.is_gone()).finish()
    }
}
