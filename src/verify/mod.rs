//! Whether a token is what its issuer signed (feature `jwt`).
//!
//! A client need not verify its tokens: they come from the issuer over TLS, and the API does it. It is for those that get
//! them by other ways (a shared store, a sidecar), or that act on what the claims say.
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
//!     Err(VerifyError::UnknownKey) => println!("get the keys anew"),
//!     Err(error) => println!("{error}"),
//! }
//! # Ok(()) }
//! ```
//!
//! [`Verified`](crate::source::Verified) does it to each token of a source.
//!
//! # How it decides
//!
//! 1. The header names an algorithm with public keys (RFC 8725 §3.1, §3.2): `none` and HMAC are refused unseen.
//! 2. The key is the one that `kid` names, and is for that algorithm; its type and curve decide which those are, whatever
//!    the header says. A token without `kid`, or a key without one, is tried with each key that fits.
//! 3. An extension that must be understood (`crit`, RFC 7515 §4.1.11) is not, so it is refused.
//! 4. The signature.
//! 5. `iss` to the letter, one of the audiences, `exp` (which must be there) and `nbf`, by the local clock with some leeway.

mod error;
mod key_set;
mod provider;
mod verifier;

pub use error::{InvalidKeySet, VerifyError};
pub use key_set::KeySet;
pub use provider::KeyProvider;
pub use verifier::Verifier;
