//! A source made from a closure.

use std::fmt;

use crate::{
    error::Error,
    source::{reason::Reason, token_source::TokenSource},
    token::AccessToken,
};

/// Creates a source from an async closure.
///
/// ```
/// use tower_bearer::{AccessToken, Error, TokenCache, source::from_fn};
///
/// # async fn ask_my_vault() -> Result<String, std::io::Error> { Ok("t".into()) }
/// let cache = TokenCache::new(from_fn(|_why| async {
///     let token = ask_my_vault().await.map_err(Error::transient)?;
///     AccessToken::new(token)
/// }));
/// ```
pub fn from_fn<F, Fut>(obtain: F) -> FromFn<F>
where
    F: Fn(Reason) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<AccessToken, Error>> + Send,
{
    FromFn(obtain)
}

/// The source that [`from_fn`] creates.
#[derive(Clone)]
pub struct FromFn<F>(F);

impl<F, Fut> TokenSource for FromFn<F>
where
    F: Fn(Reason) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<AccessToken, Error>> + Send,
{
    fn obtain(&self, why: Reason) -> impl Future<Output = Result<AccessToken, Error>> + Send {
        (self.0)(why)
    }

    async fn revoke(&self, _token: &AccessToken) -> Result<(), Error> {
        Err(Error::config("this source cannot revoke; revoke the token where it was made"))
    }
}

impl<F> fmt::Debug for FromFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FromFn")
    }
}
