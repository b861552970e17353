//! The trait of all token sources, and a source of any type behind one type.

use std::{fmt, pin::Pin, sync::Arc};

use crate::{
    error::Error,
    secret_string::SecretString,
    source::{cache_handle::CacheHandle, identity::SourceIdentity, narrowing::Narrowing, reason::Reason},
    token::AccessToken,
};

/// Obtains tokens from an issuer. It does not keep them: that is the work of the [`TokenCache`](crate::TokenCache).
///
/// An implementation asks its issuer once, and returns the token or why there is none. The cache adds single flight,
/// backoff, a deadline and renewal. It does not call `obtain` again before the earlier call has ended, unless the
/// runtime of that call has stopped.
///
/// The trait is not dyn compatible. Instead of a `dyn TokenSource`, use a [`BoxTokenSource`].
///
/// ```
/// use tower_bearer::{AccessToken, Error, Reason, TokenSource};
///
/// /// A token that a sidecar writes into a file.
/// struct Sidecar(std::path::PathBuf);
///
/// impl TokenSource for Sidecar {
///     async fn obtain(&self, _why: Reason) -> Result<AccessToken, Error> {
///         let text = tokio::fs::read_to_string(&self.0).await.map_err(Error::transient)?;
///         // It may be old already, so its age is read from its claims.
///         AccessToken::stored(text.trim_end())
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a token source",
    note = "a token source implements `TokenSource`; `source::from_fn` makes one from an async closure",
    note = "for the text of a token: `FixedToken::new`",
    note = "a `TokenCache` goes into `BearerAuthLayer::with_cache`"
)]
pub trait TokenSource: Send + Sync + 'static {
    /// Asks the issuer for a token.
    ///
    /// `why` matters to a source that keeps tokens itself (a sidecar, a vault agent): it must not return its kept copy when
    /// that was rejected. Others ignore it. Such a source makes its tokens with [`AccessToken::stored`], or says their age with
    /// [`AccessToken::with_issue_time`].
    ///
    /// # Errors
    /// [`Error::transient`], [`Error::unexplained`] or [`Error::terminal`]. The class of the error decides how long the
    /// cache waits before it asks again. A panic is caught and counts as transient.
    ///
    /// # Cancel safety
    /// The cache runs it in a task of its own, and drops it only at the renewal's deadline or when the runtime ends. Dropping
    /// a request never drops it.
    fn obtain(&self, why: Reason) -> impl Future<Output = Result<AccessToken, Error>> + Send;

    /// Returns a number that changes when the credentials do. Default: always 0.
    ///
    /// After a refusal the issuer is not asked for minutes, because wrong passwords lock accounts. A change of this
    /// number ends that wait at once. The cache calls it for each request that finds no fresh token, so it should be as
    /// cheap as reading a field.
    fn credentials_version(&self) -> u64 {
        0
    }

    /// Returns a number for the client that this source authenticates as. Sources with the same number are the same client
    /// at the same issuer. Default: `None`, which means that it is not known.
    ///
    /// In a pool of many identities, the sources with one number share what is known of their client: that it was refused. They also
    /// share what is known of its [`issuer`](Self::issuer). They share nothing else. Include the version of the
    /// client's secret in the number, so that a new secret ends the refusal of the old one. The number must tell nothing of a
    /// secret: hash what it is made of with a random key, as [`RandomState`](std::hash::RandomState) does.
    ///
    /// It is called as often as [`credentials_version`](Self::credentials_version), and should be as cheap.
    fn client(&self) -> Option<u64> {
        None
    }

    /// Returns a number for the issuer. Default: the number of the [`client`](Self::client), which is at one issuer.
    ///
    /// In a pool of many identities, the sources with one number share that the issuer has an outage. Implement it for sources of
    /// different clients at one issuer, such as tenants that each have their own client. It has no effect without a number for the
    /// client.
    ///
    /// It is called as often as [`credentials_version`](Self::credentials_version), and should be as cheap.
    fn issuer(&self) -> Option<u64> {
        self.client()
    }

    /// Returns an error if this source cannot get a token now, whatever the issuer says. Default: it always can.
    ///
    /// The cache asks this before each renewal, so it must be fast. A user's own token that has expired is an example. In a pool
    /// of many identities, such a renewal needs no place and no turn.
    ///
    /// # Errors
    /// As those of [`obtain`](Self::obtain).
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Returns a source that asks for this scope and these resources instead of its own. Default: `None`, which means
    /// that the source cannot be narrowed.
    ///
    /// The new source has the same credentials. It gets a cache of its own.
    fn narrowed(&self, to: &Narrowing) -> Option<BoxTokenSource> {
        let _ = to;
        None
    }

    /// Revokes the token at the issuer (RFC 7009), with its refresh token. Default: an error, because the token stays
    /// valid.
    ///
    /// # Errors
    /// When the source cannot revoke, or the issuer refuses.
    ///
    /// # Cancel safety
    /// If the future is dropped before it ends, the token may be revoked or not.
    fn revoke(&self, token: &AccessToken) -> impl Future<Output = Result<(), Error>> + Send {
        let _ = token;
        async { Err(Error::config("this token source cannot revoke tokens: implement `TokenSource::revoke` for it")) }
    }

    /// Revokes the refresh token that the source holds, when the cache has no access token to revoke. An earlier run of the
    /// program may have saved it, for example. [`TokenCache::revoke`](crate::TokenCache::revoke) calls it when it has
    /// no token. Default: does nothing, because most sources have only their credentials.
    ///
    /// # Errors
    /// As [`revoke`](Self::revoke).
    ///
    /// # Cancel safety
    /// As [`revoke`](Self::revoke).
    fn revoke_unused(&self) -> impl Future<Output = Result<(), Error>> + Send {
        async { Ok(()) }
    }

    /// Returns whose tokens these are, and for what, so that other processes can share them by a [store](crate::store). Default:
    /// `None`, which means that it is not known.
    ///
    /// It is asked for again when [`credentials_version`](Self::credentials_version) changes.
    ///
    /// # Errors
    /// When a part of it cannot be read.
    fn identity(&self) -> impl Future<Output = Result<Option<SourceIdentity>, Error>> + Send {
        async { Ok(None) }
    }

    /// Returns the refresh token that the next token request would send. Default: `None`.
    fn refresh_token(&self) -> Option<SecretString> {
        None
    }

    /// Sets the refresh token that the next token request sends: the one that another process received last. `None` means that
    /// there is none any more. Default: does nothing.
    fn continue_with(&self, refresh_token: Option<SecretString>) -> impl Future<Output = ()> + Send {
        let _ = refresh_token;
        async {}
    }

    /// Takes a handle of the cache that keeps the tokens of this source. Default: does nothing.
    ///
    /// A cache calls it once, before it calls [`obtain`](Self::obtain).
    fn attach(&self, cache: CacheHandle) {
        let _ = cache;
    }

    /// Forgets earlier failures: the cache was [reset](crate::TokenCache::reset), because someone has corrected what was wrong. Default: does
    /// nothing.
    fn reset(&self) {}

    /// Erases the type of the source.
    fn boxed(self) -> BoxTokenSource
    where
        Self: Sized,
    {
        BoxTokenSource(Arc::new(self))
    }
}

/// A source of any type behind one type. It is cheap to clone.
///
/// It is for a client that chooses its source at run time. A [`TokenCache`](crate::TokenCache) erases the type by itself.
///
/// ```
/// use tower_bearer::{BoxTokenSource, FixedToken, TokenCache, TokenSource};
///
/// # let from_the_vault = true;
/// # let vault = FixedToken::new("a")?;
/// let source: BoxTokenSource = if from_the_vault { vault.boxed() } else { FixedToken::new("mF_9.B5f-4.1JqM")?.boxed() };
/// let cache = TokenCache::new(source);
/// # Ok::<(), tower_bearer::Error>(())
/// ```
#[derive(Clone)]
pub struct BoxTokenSource(Arc<dyn DynTokenSource>);

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// [`TokenSource`] in a form that can be a trait object.
trait DynTokenSource: Send + Sync {
    fn obtain(&self, why: Reason) -> BoxFuture<'_, AccessToken>;
    fn credentials_version(&self) -> u64;
    fn client(&self) -> Option<u64>;
    fn issuer(&self) -> Option<u64>;
    fn check(&self) -> Result<(), Error>;
    fn narrowed(&self, to: &Narrowing) -> Option<BoxTokenSource>;
    fn revoke<'a>(&'a self, token: &'a AccessToken) -> BoxFuture<'a, ()>;
    fn revoke_unused(&self) -> BoxFuture<'_, ()>;
    fn identity(&self) -> BoxFuture<'_, Option<SourceIdentity>>;
    fn refresh_token(&self) -> Option<SecretString>;
    fn continue_with(&self, refresh_token: Option<SecretString>) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
    fn attach(&self, cache: CacheHandle);
    fn reset(&self);
}

impl<T: TokenSource> DynTokenSource for T {
    fn obtain(&self, why: Reason) -> BoxFuture<'_, AccessToken> {
        Box::pin(TokenSource::obtain(self, why))
    }

    fn credentials_version(&self) -> u64 {
        TokenSource::credentials_version(self)
    }

    fn client(&self) -> Option<u64> {
        TokenSource::client(self)
    }

    fn issuer(&self) -> Option<u64> {
        TokenSource::issuer(self)
    }

    fn check(&self) -> Result<(), Error> {
        TokenSource::check(self)
    }

    fn narrowed(&self, to: &Narrowing) -> Option<BoxTokenSource> {
        TokenSource::narrowed(self, to)
    }

    fn revoke<'a>(&'a self, token: &'a AccessToken) -> BoxFuture<'a, ()> {
        Box::pin(TokenSource::revoke(self, token))
    }

    fn revoke_unused(&self) -> BoxFuture<'_, ()> {
        Box::pin(TokenSource::revoke_unused(self))
    }

    fn identity(&self) -> BoxFuture<'_, Option<SourceIdentity>> {
        Box::pin(TokenSource::identity(self))
    }

    fn refresh_token(&self) -> Option<SecretString> {
        TokenSource::refresh_token(self)
    }

    fn continue_with(&self, refresh_token: Option<SecretString>) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(TokenSource::continue_with(self, refresh_token))
    }

    fn attach(&self, cache: CacheHandle) {
        TokenSource::attach(self, cache);
    }

    fn reset(&self) {
        TokenSource::reset(self);
    }
}

impl BoxTokenSource {
    /// Erases the type of `source`, as [`TokenSource::boxed`] does.
    pub fn new(source: impl TokenSource) -> Self {
        source.boxed()
    }
}

impl TokenSource for BoxTokenSource {
    fn obtain(&self, why: Reason) -> impl Future<Output = Result<AccessToken, Error>> + Send {
        self.0.obtain(why)
    }

    fn credentials_version(&self) -> u64 {
        self.0.credentials_version()
    }

    fn client(&self) -> Option<u64> {
        self.0.client()
    }

    fn issuer(&self) -> Option<u64> {
        self.0.issuer()
    }

    fn check(&self) -> Result<(), Error> {
        self.0.check()
    }

    fn narrowed(&self, to: &Narrowing) -> Option<BoxTokenSource> {
        self.0.narrowed(to)
    }

    async fn revoke(&self, token: &AccessToken) -> Result<(), Error> {
        self.0.revoke(token).await
    }

    async fn revoke_unused(&self) -> Result<(), Error> {
        self.0.revoke_unused().await
    }

    fn identity(&self) -> impl Future<Output = Result<Option<SourceIdentity>, Error>> + Send {
        self.0.identity()
    }

    fn refresh_token(&self) -> Option<SecretString> {
        self.0.refresh_token()
    }

    fn continue_with(&self, refresh_token: Option<SecretString>) -> impl Future<Output = ()> + Send {
        self.0.continue_with(refresh_token)
    }

    fn attach(&self, cache: CacheHandle) {
        self.0.attach(cache);
    }

    fn reset(&self) {
        self.0.reset();
    }

    fn boxed(self) -> BoxTokenSource {
        self
    }
}

/// Forwards to the source within.
macro_rules! forward_to_inner {
    ($pointer:ident) => {
        impl<T: TokenSource> TokenSource for $pointer<T> {
            fn obtain(&self, why: Reason) -> impl Future<Output = Result<AccessToken, Error>> + Send {
                T::obtain(self, why)
            }

            fn credentials_version(&self) -> u64 {
                T::credentials_version(self)
            }

            fn client(&self) -> Option<u64> {
                T::client(self)
            }

            fn issuer(&self) -> Option<u64> {
                T::issuer(self)
            }

            fn check(&self) -> Result<(), Error> {
                T::check(self)
            }

            fn narrowed(&self, to: &Narrowing) -> Option<BoxTokenSource> {
                T::narrowed(self, to)
            }

            fn revoke(&self, token: &AccessToken) -> impl Future<Output = Result<(), Error>> + Send {
                T::revoke(self, token)
            }

            fn revoke_unused(&self) -> impl Future<Output = Result<(), Error>> + Send {
                T::revoke_unused(self)
            }

            fn identity(&self) -> impl Future<Output = Result<Option<SourceIdentity>, Error>> + Send {
                T::identity(self)
            }

            fn refresh_token(&self) -> Option<SecretString> {
                T::refresh_token(self)
            }

            fn continue_with(&self, refresh_token: Option<SecretString>) -> impl Future<Output = ()> + Send {
                T::continue_with(self, refresh_token)
            }

            fn attach(&self, cache: CacheHandle) {
                T::attach(self, cache);
            }

            fn reset(&self) {
                T::reset(self);
            }
        }
    };
}

forward_to_inner!(Arc);
forward_to_inner!(Box);

impl fmt::Debug for BoxTokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BoxTokenSource")
    }
}
