//! A token that never changes.

use crate::{
    error::Error,
    secret_string::SecretString,
    source::{reason::Reason, token_source::TokenSource},
    token::AccessToken,
};

/// A fixed token, for tests, scripts and tokens that a person creates. A 401 cannot be recovered: the caller gets it.
///
/// ```
/// use tower_bearer::{BearerAuthLayer, FixedToken};
///
/// let layer = BearerAuthLayer::new(FixedToken::new("mF_9.B5f-4.1JqM")?);
/// # Ok::<(), tower_bearer::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct FixedToken(AccessToken);

impl FixedToken {
    /// Creates a source that always returns `token`.
    ///
    /// # Errors
    /// As [`AccessToken::new`].
    pub fn new(token: impl Into<SecretString>) -> Result<Self, Error> {
        AccessToken::new(token).map(Self)
    }
}

impl TokenSource for FixedToken {
    async fn obtain(&self, _why: Reason) -> Result<AccessToken, Error> {
        AccessToken::new(self.0.secret())
    }
}
