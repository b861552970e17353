//! How the client authenticates, and the JWTs that it signs for it.

#[cfg(feature = "jwt")]
pub(super) mod assertion;
pub(super) mod assertion_source;
mod basic;
pub(super) mod client_auth;
#[cfg(feature = "jwt")]
pub(super) mod signer;
#[cfg(feature = "jwt")]
pub(super) mod signing_key;
