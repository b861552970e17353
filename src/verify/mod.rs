//! Verifies that an issuer signed a token (feature `jwt`).
//!
//! A client usually need not verify its tokens: they come from the issuer over TLS, and the API verifies them. This is for
//! clients that get tokens in other ways (from a shared store or a sidecar), and for clients that act on the claims.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use tower_bearer::AccessToken;
//! # let (jwks, token) = (r#"{"keys":[]}"#, AccessToken::new("opaque")?);
//! use tower_bearer::verify::{KeySet, Verifier, VerifyError};
//!
//! let keys = KeySet::from_json(jwks)?;
//! let verifier = Verifier::new("https://auth.example.org").audience("https://fhir.example.org");
//! match verifier.verify(&token, &keys) {
//!     Ok(claims) => println!("for {:?}", claims.scopes),
//!     Err(VerifyError::UnknownKey) => println!("fetch the keys again"),
//!     Err(error) => println!("{error}"),
//! }
//! # Ok(()) }
//! ```
//!
//! [`Verified`](crate::source::Verified) verifies each token of a source.
//!
//! # How it decides
//!
//! 1. The header must name an algorithm with public keys (RFC 8725 §3.1, §3.2). `none` and HMAC are refused.
//! 2. The key is the one that `kid` names, and it must be for that algorithm. The type and the curve of the key decide which
//!    algorithms it is for, whatever the header says. If the token or a key has no `kid`, each key that fits is tried.
//! 3. A token with extensions that must be understood (`crit`, RFC 7515 §4.1.11) is refused: none are.
//! 4. The signature must be right.
//! 5. `iss` must be exactly the issuer, and `aud` must contain one of the audiences. `exp` must be there. `exp` and `nbf` are
//!    compared with the local clock, with some leeway.

pub(crate) mod algorithm;
mod error;
mod key_set;
mod provider;
mod public_key;
mod verifier;

pub use error::{InvalidKeySet, VerifyError};
pub use key_set::KeySet;
pub use provider::KeyProvider;
pub use verifier::Verifier;
