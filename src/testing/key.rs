//! The signing key, and the key set that verifies its JWTs.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use p256::elliptic_curve::rand_core::{OsRng, RngCore as _};
use serde_json::{Value, json};

/// An ES256 key that exists only in this process.
///
/// It signs with `p256` directly. `jsonwebtoken::encode` needs a process-wide crypto provider, and panics if a program's
/// features enable two. The `testing` feature must not enable the second one.
pub(super) struct Key {
    id: String,
    signing: SigningKey,
}

impl Key {
    pub(super) fn generate() -> Self {
        Self { id: random(8), signing: SigningKey::random(&mut OsRng) }
    }

    /// Returns the `kid` of this key.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Signs the claims as a compact JWS (RFC 7515 §7.1).
    pub(super) fn sign(&self, claims: &Value) -> String {
        self.sign_as("JWT", claims)
    }

    /// Signs the claims as a JWS of this `typ`.
    pub(super) fn sign_as(&self, typ: &str, claims: &Value) -> String {
        let header = json!({ "alg": "ES256", "typ": typ, "kid": self.id });
        let message = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let signature: Signature = self.signing.sign(message.as_bytes());
        format!("{message}.{}", encode(signature.to_bytes()))
    }

    /// Returns the key set that verifies the signatures (RFC 7517 §5).
    pub(super) fn set(&self) -> Value {
        let point = self.signing.verifying_key().to_encoded_point(false);
        let coordinate = |bytes: Option<&_>| bytes.map(encode::<&p256::FieldBytes>);
        json!({ "keys": [{
            "kty": "EC",
            "crv": "P-256",
            "alg": "ES256",
            "use": "sig",
            "kid": self.id,
            "x": coordinate(point.x()),
            "y": coordinate(point.y()),
        }] })
    }
}

/// Returns `bytes` random bytes as base64url text that cannot be guessed.
pub(super) fn random(bytes: usize) -> String {
    let mut buffer = vec![0; bytes];
    OsRng.fill_bytes(&mut buffer);
    encode(buffer)
}

fn encode<T: AsRef<[u8]>>(bytes: T) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use p256::ecdsa::VerifyingKey;
    use p256::ecdsa::signature::Verifier as _;

    use super::*;

    fn decode(text: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(text).unwrap()
    }

    #[test]
    fn the_key_set_verifies_the_keys_signatures() {
        let key = Key::generate();
        let jwt = key.sign(&json!({ "sub": "user1" }));
        let (message, signature) = jwt.rsplit_once('.').unwrap();

        let jwk = &key.set()["keys"][0];
        let mut point = vec![4];
        point.extend(decode(jwk["x"].as_str().unwrap()));
        point.extend(decode(jwk["y"].as_str().unwrap()));
        let verifying = VerifyingKey::from_sec1_bytes(&point).unwrap();
        let signature = Signature::from_slice(&decode(signature)).unwrap();
        verifying.verify(message.as_bytes(), &signature).unwrap();

        let header: Value = serde_json::from_slice(&decode(message.split('.').next().unwrap())).unwrap();
        assert_eq!(header["kid"], jwk["kid"]);
    }
}
