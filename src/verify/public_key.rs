//! A public key, and the check of a signature by ring.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::signature::{self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey};
use serde_json::Value;

use crate::verify::algorithm::SigningAlgorithm;

/// A public key. It is checked for validity when it is used.
#[derive(Clone)]
pub(super) enum PublicKey {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

impl PublicKey {
    /// Reads a key (RFC 7518 §6, RFC 8037 §2). Returns `None` for a type or curve that is not supported. That includes keys with a shared secret, so a
    /// public key can never be used as a secret.
    pub(super) fn from_jwk(jwk: &Value) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        // Some libraries pad, against RFC 7515 §2.
        let member = |name: &str| BASE64_URL_SAFE_NO_PAD.decode(text(name)?.trim_end_matches('=')).ok();
        // An uncompressed point (SEC 1 §2.3.3).
        let point = || Some([&[4], member("x")?.as_slice(), member("y")?.as_slice()].concat());
        Some(match (text("kty")?, text("crv")) {
            ("RSA", _) => Self::Rsa {
                modulus: without_leading_zeros(member("n")?),
                exponent: without_leading_zeros(member("e")?),
            },
            ("EC", Some("P-256")) => Self::P256(point()?),
            ("EC", Some("P-384")) => Self::P384(point()?),
            ("OKP", Some("Ed25519")) => Self::Ed25519(member("x")?),
            _ => return None,
        })
    }

    /// Returns the algorithms that this kind of key can verify. The kind decides, not the header of a token.
    pub(super) fn algorithms(&self) -> &'static [SigningAlgorithm] {
        match self {
            Self::Rsa { .. } => &[
                SigningAlgorithm::RS256,
                SigningAlgorithm::RS384,
                SigningAlgorithm::RS512,
                SigningAlgorithm::PS256,
                SigningAlgorithm::PS384,
                SigningAlgorithm::PS512,
            ],
            Self::P256(_) => &[SigningAlgorithm::ES256],
            Self::P384(_) => &[SigningAlgorithm::ES384],
            Self::Ed25519(_) => &[SigningAlgorithm::EdDSA],
        }
    }

    /// Returns whether this key made the signature by this algorithm.
    pub(super) fn verifies(&self, algorithm: SigningAlgorithm, message: &[u8], signature: &[u8]) -> bool {
        if !self.algorithms().contains(&algorithm) {
            return false;
        }
        let verified = match self {
            Self::Rsa { modulus, exponent } => {
                let Some(parameters) = rsa_parameters(algorithm) else { return false };
                RsaPublicKeyComponents { n: modulus, e: exponent }.verify(parameters, message, signature)
            }
            Self::P256(point) => {
                UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            Self::P384(point) => {
                UnparsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, point).verify(message, signature)
            }
            Self::Ed25519(key) => UnparsedPublicKey::new(&signature::ED25519, key).verify(message, signature),
        };
        verified.is_ok()
    }
}

fn rsa_parameters(algorithm: SigningAlgorithm) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        SigningAlgorithm::RS256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        SigningAlgorithm::RS384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        SigningAlgorithm::RS512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        SigningAlgorithm::PS256 => &signature::RSA_PSS_2048_8192_SHA256,
        SigningAlgorithm::PS384 => &signature::RSA_PSS_2048_8192_SHA384,
        SigningAlgorithm::PS512 => &signature::RSA_PSS_2048_8192_SHA512,
        SigningAlgorithm::ES256 | SigningAlgorithm::ES384 | SigningAlgorithm::EdDSA => return None,
    })
}

/// Removes the zeros that some libraries put before a number, against RFC 7518 §6.3.1.1. ring does not accept them.
fn without_leading_zeros(mut number: Vec<u8>) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.drain(..zeros);
    number
}
