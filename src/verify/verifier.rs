//! The check of one token.

use std::time::{Duration, SystemTime};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, crypto::aws_lc::DEFAULT_PROVIDER};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{
    clock,
    token::{AccessToken, Claims},
    verify::{
        error::VerifyError,
        key_set::{Key, KeySet},
    },
};

/// What a token must be to verify: whose, and for whom.
#[derive(Clone, Debug)]
#[must_use = "it does nothing until it verifies"]
pub struct Verifier {
    issuer: String,
    audiences: Vec<String>,
    leeway: Duration,
}

/// Of the header, what decides (RFC 7515 §4.1).
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

impl Verifier {
    /// For the tokens of this issuer: their `iss`, to the letter.
    pub fn new(issuer: impl Into<String>) -> Self {
        Self { issuer: issuer.into(), audiences: Vec::new(), leeway: Duration::from_secs(60) }
    }

    /// Adds an audience; a token must be for one of those added. Default: for any.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// How far the issuer's clock may be from ours. Default: 60 s.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// The claims of a token, if it is what the issuer signed with one of these keys (RFC 7519 §7.2).
    ///
    /// # Errors
    /// The first reason why it is not. On [`VerifyError::UnknownKey`] it is worth getting the keys anew: issuers change them.
    pub fn verify(&self, token: &AccessToken, keys: &KeySet) -> Result<Claims, VerifyError> {
        let parts: Vec<_> = token.secret().split('.').collect();
        let &[header, claims, signature] = parts.as_slice() else { return Err(VerifyError::NotAJwt) };
        let message = &token.secret()[..header.len() + 1 + claims.len()];
        check_signature(&part(header)?, message, signature, keys)?;
        self.check_claims(&part(claims)?, clock::wall_now())
    }

    fn check_claims(&self, members: &Map<String, Value>, now: SystemTime) -> Result<Claims, VerifyError> {
        let claims = Claims::of(members);
        let expiry = claims.exp.ok_or(VerifyError::Claims)?;
        // One that cannot be read must not count as one that is not there.
        if members.contains_key("nbf") && claims.nbf.is_none() {
            return Err(VerifyError::Claims);
        }
        if claims.iss.as_deref() != Some(&self.issuer) {
            Err(VerifyError::Issuer)
        } else if !self.audiences.is_empty() && !self.audiences.iter().any(|one| claims.aud.contains(one)) {
            Err(VerifyError::Audience)
        } else if now.checked_sub(self.leeway).is_some_and(|earliest| earliest >= expiry) {
            Err(VerifyError::Expired)
        } else if claims.nbf.is_some_and(|begin| now.checked_add(self.leeway).is_some_and(|latest| latest < begin)) {
            Err(VerifyError::NotYetValid)
        } else {
            Ok(claims)
        }
    }
}

/// A part of a JWT (RFC 7515 §3.1).
fn part<T: DeserializeOwned>(encoded: &str) -> Result<T, VerifyError> {
    let json = BASE64_URL_SAFE_NO_PAD.decode(encoded).map_err(|_| VerifyError::NotAJwt)?;
    serde_json::from_slice(&json).map_err(|_| VerifyError::NotAJwt)
}

fn check_signature(header: &Header, message: &str, signature: &str, keys: &KeySet) -> Result<(), VerifyError> {
    if header.crit.is_some() {
        return Err(VerifyError::NotAJwt);
    }
    let algorithm: Algorithm = header.alg.parse().map_err(|_| VerifyError::Algorithm)?;
    if matches!(algorithm, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512) {
        return Err(VerifyError::Algorithm);
    }
    let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).map_err(|_| VerifyError::NotAJwt)?;

    let is_named = |key: &&Key| key.id.is_some() && key.id == header.kid;
    let fits = |key: &&Key| key.algorithms.contains(&algorithm);
    let candidates = keys.iter().filter(|key| is_named(key) || key.id.is_none() || header.kid.is_none());
    if candidates.filter(fits).any(|key| is_signed_by(key, algorithm, message.as_bytes(), &signature)) {
        return Ok(());
    }
    let mut named = keys.iter().filter(is_named);
    Err(match named.next() {
        None => VerifyError::UnknownKey,
        Some(key) if fits(&key) || named.any(|key| fits(&key)) => VerifyError::Signature,
        Some(_) => VerifyError::Algorithm,
    })
}

/// By aws-lc itself: jsonwebtoken's own functions ask for the provider of the process, and panic when another crate of the
/// same build has enabled a second one.
fn is_signed_by(key: &Key, algorithm: Algorithm, message: &[u8], signature: &Vec<u8>) -> bool {
    (DEFAULT_PROVIDER.verifier_factory)(&algorithm, &key.material)
        .is_ok_and(|verifier| verifier.verify(message, signature).is_ok())
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use serde_json::json;

    use super::*;

    fn checked(claims: &Value, now: u64) -> Result<(), VerifyError> {
        let verifier = Verifier::new("i").leeway(Duration::from_secs(5));
        let now = UNIX_EPOCH + Duration::from_secs(now);
        verifier.check_claims(claims.as_object().unwrap(), now).map(drop)
    }

    #[test]
    fn the_leeway_is_given_at_both_ends() {
        let claims = json!({ "iss": "i", "nbf": 1000, "exp": 2000 });
        assert_eq!(checked(&claims, 994), Err(VerifyError::NotYetValid));
        assert_eq!(checked(&claims, 995), Ok(()));
        assert_eq!(checked(&claims, 2004), Ok(()));
        assert_eq!(checked(&claims, 2005), Err(VerifyError::Expired));
    }

    #[test]
    fn a_time_that_cannot_be_read_does_not_count_as_absent() {
        for claims in [
            json!({ "iss": "i" }),
            json!({ "iss": "i", "exp": "2000" }),
            json!({ "iss": "i", "exp": 2000, "nbf": "1000" }),
            json!({ "iss": "i", "exp": 2000, "nbf": null }),
        ] {
            assert_eq!(checked(&claims, 1500), Err(VerifyError::Claims), "{claims}");
        }
    }

    #[test]
    fn the_issuer_is_compared_to_the_letter() {
        for iss in [json!(null), json!("I"), json!("i/"), json!(["i"]), json!(1)] {
            assert_eq!(checked(&json!({ "iss": iss, "exp": 2000 }), 1500), Err(VerifyError::Issuer), "{iss}");
        }
    }
}
