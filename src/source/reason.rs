//! Why a token is requested.

use crate::token::AccessToken;

/// Why a token is requested.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Reason {
    /// There was no token before.
    First,
    /// The current token expires soon, has expired, or was forgotten by [`TokenCache::reset`](crate::TokenCache::reset).
    Ageing,
    /// An API rejected this token. [`Reason::rejected`](Self::rejected) creates it.
    #[non_exhaustive]
    Rejected {
        /// The rejected token.
        token: AccessToken,
    },
}

impl Reason {
    /// Creates the reason for a renewal after an API rejected `token`.
    #[must_use]
    pub fn rejected(token: AccessToken) -> Self {
        Self::Rejected { token }
    }
}
