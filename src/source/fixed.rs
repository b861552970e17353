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
    /// When [`AccessToken::new`] fails. For this error, [`is_config`](Error::is_config) returns true.
    pub fn new(token: impl Into<SecretString>) -> Result<Self, Error> {
        AccessToken::new(token).map(Self).map_err(|error| Error::config(error.to_string()))
    }
}

impl TokenSource for FixedToken {
    async fn obtain(&self, _why: Reason) -> Result<AccessToken, Error> {
        AccessToken::new(self.0.secret())
    }

    async fn revoke(&self, _token: &AccessToken) -> Result<(), Error> {
        Err(Error::config("this source cannot revoke; revoke the token where it was made"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_token_is_a_wrong_setting() {
        let error = FixedToken::new("Bearer t").unwrap_err();
        assert!(error.is_config() && error.is_terminal(), "{error:?}");
        assert_eq!(error.to_string(), "the token is not usable: it contains a space; remove the `Bearer ` prefix");
    }

    #[tokio::test]
    async fn it_says_where_to_revoke_the_token() {
        let token = AccessToken::new("t").unwrap();
        let error = FixedToken::new("t").unwrap().revoke(&token).await.unwrap_err();
        assert_eq!(error.to_string(), "this source cannot revoke; revoke the token where it was made");
    }
}
