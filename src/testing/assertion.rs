//! Assertions of others: JWTs that vouch for the client or for a user (RFC 7523 §3).

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::Mac as _;
use p256::ecdsa::signature::Verifier as _;
use serde_json::Value;

use super::{IssuerBuilder, TokenRequest};

/// What SMART App Launch 2.2 allows between now and `exp`, in seconds.
const LONGEST: i64 = 300;

/// The `jti`s seen, with the times until which they must not come again.
pub(super) type Seen = HashMap<String, i64>;

/// Whose signature counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Signer {
    /// One of the client's keys, by ES256 or ES384.
    Key,
    /// The client's secret, by HS256.
    Secret,
}

/// The claims of an assertion that holds, with `iss` and `sub`; else what is wrong with it.
pub(super) fn verify(
    jwt: &str,
    by: Signer,
    settings: &IssuerBuilder,
    seen: &mut Seen,
    now: i64,
    request: &TokenRequest,
) -> Result<Value, &'static str> {
    let (message, signature) = jwt.rsplit_once('.').ok_or("It is no JWT")?;
    let (header, claims) = message.split_once('.').ok_or("It is no JWT")?;
    let (header, claims) = (json(header).ok_or("No header")?, json(claims).ok_or("No claims")?);
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| "No signature")?;
    if header["typ"] != "JWT" {
        return Err("The typ is not JWT");
    }
    if !is_signed(&header, message.as_bytes(), &signature, by, settings) {
        return Err("Wrong alg, kid, key or signature");
    }
    let text = |name: &str| claims[name].as_str().filter(|text| !text.is_empty());
    if text("iss") != Some(&settings.client_id) || text("sub").is_none() {
        return Err("Wrong iss or no sub");
    }
    if !is_for_us(&claims["aud"], request) {
        return Err("The aud is somebody else");
    }
    let exp = claims["exp"].as_i64().ok_or("No exp")?;
    if exp <= now || exp > now + LONGEST {
        return Err("The exp is past, or too far off");
    }
    if ["nbf", "iat"].iter().any(|name| claims[*name].as_i64().is_some_and(|time| time > now)) {
        return Err("It is of the future");
    }
    seen.retain(|_, until| *until > now);
    let id = text("jti").ok_or("No jti")?;
    if seen.insert(id.to_owned(), exp).is_some() {
        return Err("The jti was seen before");
    }
    Ok(claims)
}

fn json(part: &str) -> Option<Value> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// The issuer, or its token URL.
fn is_for_us(audience: &Value, request: &TokenRequest) -> bool {
    let base = request.base();
    let is_ours = |one: &Value| one.as_str().is_some_and(|one| one == base || one == format!("{base}/token"));
    audience.as_array().map_or_else(|| is_ours(audience), |several| several.iter().any(is_ours))
}

fn is_signed(header: &Value, message: &[u8], signature: &[u8], by: Signer, settings: &IssuerBuilder) -> bool {
    match (header["alg"].as_str(), by) {
        (Some("HS256"), Signer::Secret) => {
            let mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(settings.client_secret.as_bytes());
            mac.is_ok_and(|mac| mac.chain_update(message).verify_slice(signature).is_ok())
        }
        (Some(algorithm @ ("ES256" | "ES384")), Signer::Key) => {
            let keys = settings.client_keys["keys"].as_array().map_or(&[][..], Vec::as_slice);
            let key = keys.iter().find(|key| key["kid"].is_string() && key["kid"] == header["kid"]);
            let point = key.and_then(|key| {
                let mut point = vec![4];
                for coordinate in ["x", "y"] {
                    point.extend(URL_SAFE_NO_PAD.decode(key[coordinate].as_str()?).ok()?);
                }
                Some(point)
            });
            point.is_some_and(|point| is_ecdsa(algorithm, &point, message, signature).is_some())
        }
        _ => false,
    }
}

fn is_ecdsa(algorithm: &str, point: &[u8], message: &[u8], signature: &[u8]) -> Option<()> {
    if algorithm == "ES256" {
        let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(point).ok()?;
        key.verify(message, &p256::ecdsa::Signature::from_slice(signature).ok()?).ok()
    } else {
        let key = p384::ecdsa::VerifyingKey::from_sec1_bytes(point).ok()?;
        key.verify(message, &p384::ecdsa::Signature::from_slice(signature).ok()?).ok()
    }
}
