//! Why a token does not verify.

use std::{error::Error, fmt};

/// Why a token does not verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum VerifyError {
    /// The token is not a signed JWT, or it requires an extension.
    NotAJwt,
    /// The algorithm has no public key (`none`, HMAC), is unknown, or does not fit the key.
    Algorithm,
    /// The key set has no key with this name. For a token that names no key: no key in the set made its signature.
    UnknownKey,
    /// The signature does not fit the key: the token was changed, or another party signed it.
    Signature,
    /// A required claim is missing or cannot be read.
    Claims,
    /// The token is from another issuer.
    Issuer,
    /// The token is for other audiences.
    Audience,
    /// The token has expired (`exp`).
    Expired,
    /// The token is not valid yet (`nbf`).
    NotYetValid,
}

impl VerifyError {
    pub(crate) fn why(self) -> &'static str {
        match self {
            Self::NotAJwt => "it is not a signed JWT",
            Self::Algorithm => "its algorithm does not fit the key",
            Self::UnknownKey => "it is signed with none of the issuer's keys",
            Self::Signature => "its signature is wrong",
            Self::Claims => "a required claim is missing or cannot be read",
            Self::Issuer => "it is from another issuer",
            Self::Audience => "it is for another audience",
            Self::Expired => "it has expired",
            Self::NotYetValid => "it is not valid yet",
        }
    }
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the token does not verify: {}", self.why())
    }
}

impl Error for VerifyError {}

/// A text is not a JSON object with an array `keys` (RFC 7517 §5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidKeySet(pub(super) &'static str);

impl fmt::Display for InvalidKeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the text is not a JSON key set (RFC 7517 §5), because {}: check its URL", self.0)
    }
}

impl Error for InvalidKeySet {}
