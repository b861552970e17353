//! The public keys of an issuer.

use std::fmt;

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;

use crate::verify::error::InvalidKeySet;

/// The public keys of an issuer: a JSON Web Key Set (RFC 7517 §5).
///
/// What is no key to verify with is left out, as that section wants: encryption keys, types and curves that are not known,
/// and secrets, which have no place in a set that is published.
#[derive(Clone)]
pub struct KeySet(Vec<Key>);

/// A key, and the algorithms that it is for.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) id: Option<String>,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) material: DecodingKey,
}

impl KeySet {
    /// Reads a set, as an issuer publishes it at its `jwks_uri`.
    ///
    /// # Errors
    /// When it is no JSON, or has no array `keys`. A bad key in it is no error.
    pub fn from_json(json: impl AsRef<[u8]>) -> Result<Self, InvalidKeySet> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }

        let set: Set = serde_json::from_slice(json.as_ref()).map_err(|_| InvalidKeySet(()))?;
        Ok(Self(set.keys.into_iter().filter_map(Key::read).collect()))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Key> {
        self.0.iter()
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|key| (&key.id, &key.algorithms))).finish()
    }
}

impl Key {
    fn read(json: Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(json).ok()?;
        let common = &jwk.common;
        let verifies = common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature)
            && common.key_operations.as_ref().is_none_or(|all| all.contains(&KeyOperations::Verify));
        let mut algorithms = algorithms(&jwk.algorithm).to_vec();
        if let Some(only) = common.key_algorithm {
            let only = Algorithm::try_from(only).ok()?;
            algorithms.retain(|one| *one == only);
        }
        if !verifies || algorithms.is_empty() {
            return None;
        }
        Some(Self { id: common.key_id.clone(), algorithms, material: DecodingKey::from_jwk(&jwk).ok()? })
    }
}

/// What a key of this type and curve can verify. Nothing with a shared secret, so that no public key can be taken for one.
fn algorithms(key: &AlgorithmParameters) -> &'static [Algorithm] {
    match key {
        AlgorithmParameters::RSA(_) => &[
            Algorithm::RS256,
            Algorithm::RS384,
            Algorithm::RS512,
            Algorithm::PS256,
            Algorithm::PS384,
            Algorithm::PS512,
        ],
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => &[Algorithm::ES256],
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => &[Algorithm::ES384],
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => &[Algorithm::EdDSA],
        _ => &[],
    }
}
