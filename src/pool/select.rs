//! A request's way to the cache of its identity.

use std::{
    borrow::{Borrow, Cow},
    hash::Hash,
    marker::PhantomData,
    sync::Arc,
};

use crate::{
    cache::CacheCore,
    error::Error,
    pool::{request_head::RequestHead, token_pool::TokenPool},
};

/// Chooses the cache of a request. The type of the keys is erased here.
pub(crate) trait ChooseCache: Send + Sync {
    /// Returns the cache of the request's identity.
    ///
    /// # Errors
    /// When the request has no identity, or the cache cannot be made.
    fn choose(&self, head: RequestHead<'_>) -> Result<Arc<CacheCore>, Error>;
}

/// A pool, and the function that chooses the identity of a request.
pub(crate) struct Selection<K, Q: ?Sized, F> {
    pool: TokenPool<K>,
    select: F,
    borrowed: PhantomData<fn(&Q)>,
}

impl<K, Q: ?Sized, F> Selection<K, Q, F> {
    pub(crate) fn new(pool: TokenPool<K>, select: F) -> Self {
        Self { pool, select, borrowed: PhantomData }
    }
}

impl<K, Q, F> ChooseCache for Selection<K, Q, F>
where
    K: Borrow<Q> + Clone + Eq + Hash + Send + Sync + 'static,
    Q: ToOwned<Owned = K> + Eq + Hash + ?Sized,
    F: for<'a> Fn(RequestHead<'a>) -> Option<Cow<'a, Q>> + Send + Sync,
{
    fn choose(&self, head: RequestHead<'_>) -> Result<Arc<CacheCore>, Error> {
        let key = (self.select)(head).ok_or_else(Error::no_identity)?;
        self.pool.core(&key)
    }
}
