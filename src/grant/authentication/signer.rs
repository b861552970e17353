//! Signatures of JWTs (RFC 7518 §3), by ring.

use base64::{Engine, prelude::BASE64_STANDARD};
use ring::{
    hmac,
    rand::{SecureRandom, SystemRandom},
    signature::{
        self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
        RsaEncoding, RsaKeyPair,
    },
};
use zeroize::Zeroizing;

use crate::verify::algorithm::SigningAlgorithm;

/// A private key that is ready to sign.
pub(super) enum PrivateKey {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl PrivateKey {
    /// Reads a key from PEM text (RFC 7468): PKCS#8, or PKCS#1 for RSA. ring requires RSA keys of 2048, 3072 or 4096 bits, and EC
    /// keys with their public key.
    pub(super) fn from_pem(pem: &str) -> Option<Self> {
        let rng = SystemRandom::new();
        if let Some(pkcs1) = pem_block(pem, "RSA PRIVATE KEY") {
            return RsaKeyPair::from_der(&pkcs1).ok().map(Self::Rsa);
        }
        let pkcs8 = pem_block(pem, "PRIVATE KEY")?;
        let ec = |algorithm| EcdsaKeyPair::from_pkcs8(algorithm, &pkcs8, &rng).ok();
        // The key says which kind it is, so at most one of these succeeds.
        RsaKeyPair::from_pkcs8(&pkcs8)
            .ok()
            .map(Self::Rsa)
            .or_else(|| ec(&ECDSA_P256_SHA256_FIXED_SIGNING).map(Self::P256))
            .or_else(|| ec(&ECDSA_P384_SHA384_FIXED_SIGNING).map(Self::P384))
            .or_else(|| Ed25519KeyPair::from_pkcs8_maybe_unchecked(&pkcs8).ok().map(Self::Ed25519))
    }

    /// Returns the algorithm for this key. An RSA key can use several; `for_rsa` chooses one.
    pub(super) fn default_algorithm(&self, for_rsa: SigningAlgorithm) -> SigningAlgorithm {
        match self {
            Self::Rsa(_) => for_rsa,
            Self::P256(_) => SigningAlgorithm::ES256,
            Self::P384(_) => SigningAlgorithm::ES384,
            Self::Ed25519(_) => SigningAlgorithm::EdDSA,
        }
    }

    pub(super) fn supports(&self, algorithm: SigningAlgorithm) -> bool {
        match self {
            Self::Rsa(_) => rsa_padding(algorithm).is_some(),
            key => key.default_algorithm(algorithm) == algorithm,
        }
    }

    /// Signs a message. Returns `None` if the key does not support the algorithm, or if the operating system has no random
    /// numbers.
    pub(super) fn sign(&self, algorithm: SigningAlgorithm, message: &[u8]) -> Option<Vec<u8>> {
        if !self.supports(algorithm) {
            return None;
        }
        let rng = SystemRandom::new();
        match self {
            Self::Rsa(key) => sign_rsa(key, rsa_padding(algorithm)?, &rng, message),
            Self::P256(key) | Self::P384(key) => Some(key.sign(&rng, message).ok()?.as_ref().to_vec()),
            Self::Ed25519(key) => Some(key.sign(message).as_ref().to_vec()),
        }
    }
}

/// Signs a message by HS256.
pub(super) fn sign_hs256(secret: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().to_vec()
}

fn sign_rsa(
    key: &RsaKeyPair,
    padding: &'static dyn RsaEncoding,
    rng: &dyn SecureRandom,
    message: &[u8],
) -> Option<Vec<u8>> {
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(padding, rng, message, &mut signature).ok()?;
    Some(signature)
}

fn rsa_padding(algorithm: SigningAlgorithm) -> Option<&'static dyn RsaEncoding> {
    Some(match algorithm {
        SigningAlgorithm::RS256 => &signature::RSA_PKCS1_SHA256,
        SigningAlgorithm::RS384 => &signature::RSA_PKCS1_SHA384,
        SigningAlgorithm::RS512 => &signature::RSA_PKCS1_SHA512,
        SigningAlgorithm::PS256 => &signature::RSA_PSS_SHA256,
        SigningAlgorithm::PS384 => &signature::RSA_PSS_SHA384,
        SigningAlgorithm::PS512 => &signature::RSA_PSS_SHA512,
        SigningAlgorithm::ES256 | SigningAlgorithm::ES384 | SigningAlgorithm::EdDSA => return None,
    })
}

/// Decodes the first PEM block with this label. Line ends may be written out (`\n`), as in JSON and in environment files. Both
/// buffers have their full size at once and are wiped.
fn pem_block(pem: &str, label: &str) -> Option<Zeroizing<Vec<u8>>> {
    let (_, rest) = pem.split_once(&format!("-----BEGIN {label}-----"))?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
    let mut text = Zeroizing::new(String::with_capacity(body.len()));
    text.extend(body.split_ascii_whitespace().flat_map(|line| line.split("\\n")).flat_map(|line| line.split("\\r")));
    let mut der = Zeroizing::new(Vec::with_capacity(text.len()));
    BASE64_STANDARD.decode_vec(&*text, &mut der).ok()?;
    Some(der)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pem_block_may_stand_between_other_text_and_have_any_line_ends() {
        let pem = "text\r\n-----BEGIN PRIVATE KEY-----\r\nAQID\r\n BAU=\r\n-----END PRIVATE KEY-----\r\ntext";
        assert_eq!(pem_block(pem, "PRIVATE KEY").as_deref(), Some(&vec![1, 2, 3, 4, 5]));
        assert_eq!(pem_block(pem, "RSA PRIVATE KEY"), None);
        for written_out in ["\\n", "\\r\\n", "\\n\n", " "] {
            let pem = pem.replace("\r\n", written_out);
            assert_eq!(pem_block(&pem, "PRIVATE KEY").as_deref(), Some(&vec![1, 2, 3, 4, 5]), "{pem}");
        }
        for broken in ["-----BEGIN PRIVATE KEY-----\nAQID", "-----BEGIN PRIVATE KEY-----\nA\n-----END PRIVATE KEY-----"]
        {
            assert_eq!(pem_block(broken, "PRIVATE KEY"), None);
        }
    }
}
