//! Why a token does not verify.

use std::{error::Error, fmt};

/// Why a token does not verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum VerifyError {
    /// It is no signed JWT, or one that asks for an extension.
    NotAJwt,
    /// Its algorithm has no public key (`none`, HMAC), is unknown, or is not that of the key.
    Algorithm,
    /// The set has no key of this name, or none that made the signature of a token that names no key.
    UnknownKey,
    /// Its signature is not the key's: it was changed, or somebody else signed it.
    Signature,
    /// A claim that is checked is missing or unreadable.
    Claims,
    /// Another issuer's.
    Issuer,
    /// For other audiences.
    Audience,
    /// Its `exp` is over.
    Expired,
    /// Its `nbf` is still to come.
    NotYetValid,
}

impl VerifyError {
    pub(crate) fn why(self) -> &'static str {
        match self {
            Self::NotAJwt => "it is no signed JWT",
            Self::Algorithm => "its algorithm is not one of the key's",
            Self::UnknownKey => "it is signed with none of the issuer's keys",
            Self::Signature => "its signature is wrong",
            Self::Claims => "a claim that has to be checked is missing or unreadable",
            Self::Issuer => "it is another issuer's",
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

/// A text is no JSON with an array `keys` (RFC 7517 §5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidKeySet(pub(super) ());

impl fmt::Display for InvalidKeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("that is no JSON key set (RFC 7517 §5)")
    }
}

impl Error for InvalidKeySet {}
