//! The public keys of an issuer.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use crate::verify::{
    algorithm::SigningAlgorithm,
    error::InvalidKeySet,
    public_key::{KeyParameters, PublicKey},
};

/// The public keys of an issuer: a JSON Web Key Set (RFC 7517 §5).
///
/// Keys that cannot verify a signature are ignored, as that section requires: encryption keys, unknown types and curves, and
/// secrets, which must not be in a published set.
#[derive(Clone)]
pub struct KeySet(Vec<VerifyingKey>);

/// A key, and the algorithms that it may be used with.
#[derive(Clone)]
pub(super) struct VerifyingKey {
    pub(super) id: Option<String>,
    pub(super) algorithms: Vec<SigningAlgorithm>,
    pub(super) public_key: PublicKey,
}

impl KeySet {
    /// Reads a key set, in the form that an issuer publishes at its `jwks_uri`.
    ///
    /// # Errors
    /// When the text is not JSON, or has no array `keys`. A key that cannot be used is not an error.
    pub fn from_json(json: impl AsRef<[u8]>) -> Result<Self, InvalidKeySet> {
        #[derive(Deserialize)]
        struct Document {
            keys: Vec<Value>,
        }

        let document: Document = serde_json::from_slice(json.as_ref()).map_err(|_| InvalidKeySet(()))?;
        Ok(Self(document.keys.into_iter().filter_map(VerifyingKey::read).collect()))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &VerifyingKey> {
        self.0.iter()
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|key| (&key.id, &key.algorithms))).finish()
    }
}

/// The members of a JWK that all kinds of keys have (RFC 7517 §4).
#[derive(Deserialize)]
struct Jwk {
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    kid: Option<String>,
    #[serde(flatten)]
    parameters: KeyParameters,
}

impl VerifyingKey {
    /// Reads a key. Returns `None` if it cannot verify a signature.
    fn read(json: Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(json).ok()?;
        let verifies = jwk.purpose.is_none_or(|purpose| purpose == "sig")
            && jwk.key_ops.is_none_or(|operations| operations.iter().any(|operation| operation == "verify"));
        if !verifies {
            return None;
        }
        let public_key = PublicKey::from_parameters(&jwk.parameters)?;
        let mut algorithms = public_key.algorithms().to_vec();
        if let Some(only) = jwk.alg {
            let only = SigningAlgorithm::from_name(&only)?;
            algorithms.retain(|one| *one == only);
        }
        (!algorithms.is_empty()).then_some(Self { id: jwk.kid, algorithms, public_key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8037 §A.2, §A.4.
    #[test]
    fn ed25519_verifies_the_example_of_the_standard() {
        let set = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
        let set = KeySet::from_json(set).unwrap();
        let key = set.iter().next().unwrap();
        let message = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        let signature = base64::Engine::decode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, signature).unwrap();
        assert!(key.public_key.verifies(SigningAlgorithm::EdDSA, message, &signature));
        assert!(!key.public_key.verifies(SigningAlgorithm::ES256, message, &signature));
        assert!(!key.public_key.verifies(SigningAlgorithm::EdDSA, b"another message", &signature));
    }
}
