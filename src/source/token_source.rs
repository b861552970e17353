//! The trait.

use crate::{error::Error, source::narrowing::Narrowing, token::AccessToken};

/// Obtains tokens from an issuer. It never keeps them: that is the [`TokenCache`](crate::TokenCache)'s work.
///
/// An implementation asks its issuer, once, and returns what came or why nothing came. Single flight, backoff, deadline
/// and renewal are the cache's: it never calls `obtain` twice at the same time.
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
///         AccessToken::new(text.trim_end())
///     }
/// }
/// ```
pub trait TokenSource: Send + Sync + 'static {
    /// Asks the issuer for a token.
    ///
    /// `why` lets a source that keeps tokens itself (a sidecar, a vault agent) look past its own copy when that was
    /// rejected. Others ignore it.
    ///
    /// # Errors
    /// [`Error::transient`], [`Error::unexplained`] or [`Error::terminal`], which choose how long the cache waits
    /// before it asks again. A panic is caught and counts as transient.
    ///
    /// # Cancel safety
    /// The cache runs it in a task of its own and drops it only at the renewal's deadline or when the runtime ends;
    /// dropping a request never does.
    fn obtain(&self, why: Reason) -> impl Future<Output = Result<AccessToken, Error>> + Send;

    /// A number that changes when the credentials do. Default: always 0.
    ///
    /// After a refusal the issuer is left alone for minutes, because wrong passwords lock accounts; a change of this
    /// number ends that wait at once. It is asked for by each request that does not find a fresh token, so it should be a field
    /// read.
    fn credentials_version(&self) -> u64 {
        0
    }

    /// The same source, asking for less: this scope, for these resources. Default: it cannot.
    ///
    /// What comes shares the credentials and is a source of its own otherwise, with a cache of its own.
    fn narrowed(&self, to: &Narrowing) -> Option<Self>
    where
        Self: Sized,
    {
        let _ = to;
        None
    }

    /// Tells the issuer that the token is no longer wanted, with all that would bring another one without the
    /// credentials (RFC 7009). Default: an error, so that nobody takes for revoked what is not.
    ///
    /// # Errors
    /// When the source cannot do it, or the issuer would not.
    ///
    /// # Cancel safety
    /// Dropped midway, the token may be revoked or not.
    fn revoke(&self, token: &AccessToken) -> impl Future<Output = Result<(), Error>> + Send {
        let _ = token;
        async { Err(Error::config("this token source cannot revoke tokens: let it implement `TokenSource::revoke`")) }
    }
}

/// Why a token is wanted.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Reason {
    /// There was none so far.
    First,
    /// The one at hand is about to expire, or has, or was forgotten by [`TokenCache::reset`](crate::TokenCache::reset).
    Ageing,
    /// An API rejected this one.
    Rejected(AccessToken),
}
