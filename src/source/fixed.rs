//! A token from somewhere else, that never changes.

use crate::{
    error::Error,
    source::{reason::Reason, token_source::TokenSource},
    token::AccessToken,
};

/// A fixed token, for tests, scripts and tokens made by hand. A 401 cannot be helped: it goes to the caller.
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
    /// A source that always gives `token`.
    ///
    /// # Errors
    /// As [`AccessToken::new`].
    pub fn new(token: impl Into<crate::secret_string::SecretString>) -> Result<Self, Error> {
        AccessToken::new(token).map(Self)
    }
}

impl TokenSource for FixedToken {
    async fn obtain(&self, _why: Reason) -> Result<AccessToken, Error> {
        AccessToken::new(self.0.secret())
    }
}
