//! The check of one token.

use std::time::{Duration, SystemTime};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    clock,
    token::{AccessToken, Claims, jwt},
    verify::{
        algorithm::SigningAlgorithm,
        error::VerifyError,
        key_set::{KeySet, VerifyingKey},
    },
};

/// Verifies tokens of one issuer, for some audiences.
#[derive(Clone, Debug)]
#[must_use = "it does nothing until it verifies"]
pub struct Verifier {
    issuer: String,
    audiences: Vec<String>,
    leeway: Duration,
}

/// The members of the header that are used (RFC 7515 §4.1).
#[derive(Deserialize)]
struct Header {
    alg: String,
    /// Not a string: the token names no key.
    kid: Option<Value>,
    crit: Option<Value>,
}

impl Verifier {
    /// Creates a verifier for the tokens of this issuer. Their `iss` must be exactly this text.
    pub fn new(issuer: impl Into<String>) -> Self {
        Self { issuer: issuer.into(), audiences: Vec::new(), leeway: Duration::from_secs(60) }
    }

    /// Adds an audience. A token must be for one of the added audiences. Default: none, so any audience is accepted.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// Sets how much the issuer's clock may differ from the local clock. Default: 60 s.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// Returns the claims of a token, if the issuer signed it with one of these keys (RFC 7519 §7.2).
    ///
    /// # Errors
    /// The first reason why it does not verify. On [`VerifyError::UnknownKey`], fetch the keys again: issuers change them.
    pub fn verify(&self, token: &AccessToken, keys: &KeySet) -> Result<Claims, VerifyError> {
        let parts: Vec<_> = token.secret().split('.').collect();
        let &[header, claims, signature] = parts.as_slice() else { return Err(VerifyError::NotAJwt) };
        let message = &token.secret()[..header.len() + 1 + claims.len()];
        check_signature(&jwt::part(header).ok_or(VerifyError::NotAJwt)?, message, signature, keys)?;
        self.check_claims(&jwt::part(claims).ok_or(VerifyError::NotAJwt)?, clock::wall_now())
    }

    fn check_claims(&self, members: &Map<String, Value>, now: SystemTime) -> Result<Claims, VerifyError> {
        let claims = Claims::from_members(members);
        let expiry = claims.exp.ok_or(VerifyError::Claims)?;
        // An `nbf` that cannot be read must not count as absent.
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

fn check_signature(header: &Header, message: &str, signature: &str, keys: &KeySet) -> Result<(), VerifyError> {
    if header.crit.is_some() {
        return Err(VerifyError::NotAJwt);
    }
    let algorithm = SigningAlgorithm::from_name(&header.alg).ok_or(VerifyError::Algorithm)?;
    let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).map_err(|_| VerifyError::NotAJwt)?;

    let name = header.kid.as_ref().and_then(Value::as_str);
    let is_named = |key: &&VerifyingKey| name.is_some() && key.id.as_deref() == name;
    let fits = |key: &&VerifyingKey| key.algorithms.contains(&algorithm);
    let mut candidates = keys.iter().filter(|key| is_named(key) || key.id.is_none() || name.is_none()).filter(fits);
    if candidates.any(|key| key.public_key.verifies(algorithm, message.as_bytes(), &signature)) {
        return Ok(());
    }
    let mut named = keys.iter().filter(is_named);
    Err(match named.next() {
        None => VerifyError::UnknownKey,
        Some(key) if fits(&key) || named.any(|key| fits(&key)) => VerifyError::Signature,
        Some(_) => VerifyError::Algorithm,
    })
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
