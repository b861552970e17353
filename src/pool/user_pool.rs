//! A pool of users, whose tokens come with the requests.

use std::{convert::Infallible, fmt, sync::Arc};

use crate::{
    cache::{CacheCore, TokenCache, TokenCacheBuilder},
    error::Error,
    grant::{OnBehalfOf, Subject, SubjectKey},
    pool::{builder::TokenPoolBuilder, request_head::RequestHead, select::ChooseCache, token_pool::TokenPool},
    source::{BoxTokenSource, TokenSource},
};

/// The caches of many users, each made when a request first brings the user's token.
///
/// It is a [`TokenPool`] whose keys are hashes of the users' tokens ([`OnBehalfOf::key`]), and whose sources are those of one
/// [`OnBehalfOf`]. A user with a new token is another identity. It is cheap to clone, and shared by cloning.
///
/// ```
/// use tower_bearer::{grant::{OnBehalfOf, Subject}, pool::UserPool};
///
/// fn gateway(users: OnBehalfOf) {
///     let pool = UserPool::builder(users).pool(|pool| pool.max_identities(100_000)).build();
///     let ada = pool.cache(&Subject::new("mF_9.B5f-4.1JqM"));
///     println!("{:?} {:?}", ada.status(), pool.identities().status());
/// }
/// ```
#[derive(Clone)]
pub struct UserPool {
    users: OnBehalfOf,
    identities: TokenPool<SubjectKey>,
    wrap: Option<WrapSource>,
    settings: Option<CacheSettings>,
}

type WrapSource = Arc<dyn Fn(BoxTokenSource) -> BoxTokenSource + Send + Sync>;

type CacheSettings = Arc<dyn Fn(TokenCacheBuilder) -> TokenCacheBuilder + Send + Sync>;

/// The settings of a [`UserPool`]. Each method states its default.
#[must_use = "call `build`"]
pub struct UserPoolBuilder {
    users: OnBehalfOf,
    identities: TokenPoolBuilder<SubjectKey>,
    wrap: Option<WrapSource>,
    settings: Option<CacheSettings>,
}

impl UserPool {
    /// Creates a pool with the default settings.
    #[must_use]
    pub fn new(users: OnBehalfOf) -> Self {
        Self::builder(users).build()
    }

    /// Creates a builder of a pool, to change its settings.
    pub fn builder(users: OnBehalfOf) -> UserPoolBuilder {
        // The token itself is not in the key.
        let make = |_: &SubjectKey| {
            Err::<TokenCacheBuilder, _>(Error::config(
                "a key of a pool of users has no token to exchange: ask `UserPool::cache`, with the user's token",
            ))
        };
        UserPoolBuilder { users, identities: TokenPool::builder(make), wrap: None, settings: None }
    }

    /// Returns the cache of a user, and makes it if there is none. A request with the same tokens uses the same cache.
    #[must_use]
    pub fn cache(&self, subject: &Subject) -> TokenCache {
        TokenCache::from_core(self.core(subject))
    }

    /// Returns the cache of a user if there is one; see [`TokenPool::get`].
    #[must_use]
    pub fn get(&self, subject: &Subject) -> Option<TokenCache> {
        self.identities.get(&self.users.key(subject))
    }

    /// Forgets one user, as when the user signs out. Returns whether there was one; see [`TokenPool::forget`].
    ///
    /// A refusal of the user's token is forgotten too, so the next request with the same token makes a new exchange.
    #[expect(clippy::must_use_candidate, reason = "few callers need to know whether there was one")]
    pub fn forget(&self, subject: &Subject) -> bool {
        self.identities.forget(&self.users.key(subject))
    }

    /// Returns the pool of all users, for its status, and to forget or revoke their tokens. The keys are hashes.
    ///
    /// Its [`cache`](TokenPool::cache) cannot make the cache of a user, because a key has no token to exchange.
    #[must_use]
    pub fn identities(&self) -> &TokenPool<SubjectKey> {
        &self.identities
    }

    fn core(&self, subject: &Subject) -> Arc<CacheCore> {
        let Ok(core) = self.identities.core_made_by(&self.users.key(subject), |_| {
            let source = self.users.source(subject.clone());
            let builder = TokenCache::builder(self.wrap.iter().fold(source, |source, wrap| wrap(source)));
            let builder = self.settings.iter().fold(builder, |builder, change| change(builder));
            Ok::<_, Infallible>(builder)
        });
        core
    }
}

impl UserPoolBuilder {
    /// Changes the settings of the pool: how many users it keeps, how long, and how many renewals are in progress at once.
    /// Default: those of [`TokenPoolBuilder`].
    pub fn pool(self, change: impl FnOnce(TokenPoolBuilder<SubjectKey>) -> TokenPoolBuilder<SubjectKey>) -> Self {
        Self { identities: change(self.identities), ..self }
    }

    /// Puts a source around that of each user, such as [`Stored`](crate::store::Stored) or
    /// [`Verified`](crate::source::Verified). Default: none.
    ///
    /// ```
    /// use tower_bearer::{grant::OnBehalfOf, pool::UserPool, store::{SharedStore, Stored}};
    ///
    /// fn gateway(users: OnBehalfOf, store: SharedStore) -> UserPool {
    ///     UserPool::builder(users).source(move |user| Stored::new(user, &store)).build()
    /// }
    /// ```
    pub fn source<S: TokenSource>(self, wrap: impl Fn(BoxTokenSource) -> S + Send + Sync + 'static) -> Self {
        Self { wrap: Some(Arc::new(move |source| wrap(source).boxed())), ..self }
    }

    /// Changes the settings of each user's cache. Default: those of [`TokenCacheBuilder`].
    pub fn cache(self, change: impl Fn(TokenCacheBuilder) -> TokenCacheBuilder + Send + Sync + 'static) -> Self {
        Self { settings: Some(Arc::new(change)), ..self }
    }

    /// Creates the pool.
    #[must_use]
    pub fn build(self) -> UserPool {
        UserPool { users: self.users, identities: self.identities.build(), wrap: self.wrap, settings: self.settings }
    }
}

/// A pool of users, and the function that takes the user's token from a request.
pub(crate) struct UserSelection<F> {
    pool: UserPool,
    select: F,
}

impl<F> UserSelection<F> {
    pub(crate) fn new(pool: UserPool, select: F) -> Self {
        Self { pool, select }
    }
}

impl<F> ChooseCache for UserSelection<F>
where
    F: for<'a> Fn(RequestHead<'a>) -> Option<Subject> + Send + Sync,
{
    fn choose(&self, head: RequestHead<'_>) -> Result<Arc<CacheCore>, Error> {
        let subject = (self.select)(head).ok_or_else(Error::no_identity)?;
        Ok(self.pool.core(&subject))
    }
}

impl fmt::Debug for UserPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserPool")
            .field("users", &self.users)
            .field("identities", &self.identities)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for UserPoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserPoolBuilder")
            .field("users", &self.users)
            .field("identities", &self.identities)
            .finish_non_exhaustive()
    }
}
