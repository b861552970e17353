//! The public keys of an issuer.

use std::fmt;

use serde_json::Value;

use crate::verify::{algorithm::SigningAlgorithm, error::InvalidKeySet, public_key::PublicKey};

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
    /// When the text is not JSON, or has no array `keys`. A key that cannot be used is not an error. A member of a key that its
    /// kind does not have may be anything.
    pub fn from_json(json: impl AsRef<[u8]>) -> Result<Self, InvalidKeySet> {
        let json = json.as_ref();
        let json = json.strip_prefix("\u{feff}".as_bytes()).unwrap_or(json);
        let document: Value = serde_json::from_slice(json).map_err(|_| InvalidKeySet("it is not JSON"))?;
        match document.get("keys") {
            Some(Value::Array(keys)) => Ok(Self(keys.iter().filter_map(VerifyingKey::read).collect())),
            Some(_) => Err(InvalidKeySet("its `keys` is not an array")),
            None => Err(InvalidKeySet("it has no `keys`")),
        }
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

impl VerifyingKey {
    /// Reads a key (RFC 7517 §4). Returns `None` if it cannot verify a signature, or does not say clearly that it may.
    fn read(jwk: &Value) -> Option<Self> {
        let verifies = match jwk.get("use") {
            None | Some(Value::Null) => true,
            Some(purpose) => purpose == "sig",
        } && match jwk.get("key_ops") {
            None | Some(Value::Null) => true,
            Some(Value::Array(operations)) => operations.iter().any(|operation| operation == "verify"),
            Some(operation) => operation == "verify",
        };
        if !verifies {
            return None;
        }
        let public_key = PublicKey::from_jwk(jwk)?;
        let mut algorithms = public_key.algorithms().to_vec();
        if let Some(only) = jwk.get("alg").filter(|only| !only.is_null()) {
            let only = SigningAlgorithm::from_name(only.as_str()?)?;
            algorithms.retain(|one| *one == only);
        }
        let id = jwk.get("kid").and_then(Value::as_str).map(str::to_owned);
        (!algorithms.is_empty()).then_some(Self { id, algorithms, public_key })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_member_of_another_form_hides_no_key_that_does_not_need_it() {
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        let key = json!({ "kty": "OKP", "crv": "Ed25519", "x": x });
        let reads = |name: &str, odd: &Value| {
            let mut key = key.clone();
            key[name] = odd.clone();
            let set = json!({ "keys": [7, "key", null, key], "issuer": [] });
            KeySet::from_json(format!("\u{feff}{set}")).unwrap().iter().count() == 1
        };
        for (name, odd) in [
            ("y", json!(1)),
            ("n", json!([])),
            ("kid", json!(7)),
            ("x5c", json!("not a list")),
            ("use", json!(null)),
            ("key_ops", json!("verify")),
            ("alg", json!(null)),
            ("x", json!(format!("{x}="))),
        ] {
            assert!(reads(name, &odd), "{name}: {odd}");
        }
        // These say that the key is for something else, or nothing clear.
        for (name, odd) in
            [("use", json!(7)), ("use", json!("enc")), ("key_ops", json!({})), ("alg", json!(7)), ("x", json!(7))]
        {
            assert!(!reads(name, &odd), "{name}: {odd}");
        }
    }

    #[test]
    fn a_text_that_is_not_a_key_set_says_what_is_wrong() {
        for (text, says) in [
            ("<html>", "it is not JSON"),
            ("[]", "it has no `keys`"),
            (r#"{"message":"hello"}"#, "it has no `keys`"),
            (r#"{"keys":{}}"#, "its `keys` is not an array"),
        ] {
            let error = KeySet::from_json(text).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

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
