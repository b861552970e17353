//! Verification of assertions: JWTs that authenticate the client or identify a user (RFC 7523 §3).

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::Mac as _;
use p256::ecdsa::signature::Verifier as _;
use serde_json::Value;

use crate::testing::request::TokenRequest;
use crate::testing::settings::Settings;

/// The longest time from now to `exp` that SMART App Launch 2.2 allows, in seconds.
const MAX_LIFETIME: i64 = 300;

/// The `jti` values that were used, each with the time until which it must not be used again.
pub(super) type UsedIds = HashMap<String, i64>;

/// The kind of key that must have signed an assertion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Signer {
    /// One of the client's keys, with ES256 or ES384.
    Key,
    /// The client's secret, with HS256.
    Secret,
    /// The issuer that is trusted, with ES256. Its assertion names the client.
    Provider,
}

/// The `typ` of an assertion that is a grant.
pub(super) const GRANT_TYPES: &[&str] = &["JWT"];

/// The `typ` of an assertion that authenticates the client (SMART App Launch 2.2, RFC 10070).
pub(super) const CLIENT_TYPES: &[&str] = &["JWT", "client-authentication+jwt"];

/// The `iss` of each token.
pub(super) const ISSUER: &str = "https://issuer.test";

/// The `typ` of an assertion of another issuer about a user.
pub(super) const ID_JAG_TYPE: &str = "oauth-id-jag+jwt";

/// Returns whether this is an assertion of another issuer. The signature is not checked.
pub(super) fn is_id_jag(jwt: &str) -> bool {
    jwt.split('.').next().and_then(json).is_some_and(|header| header["typ"] == ID_JAG_TYPE)
}

/// Returns the claims of a valid assertion, which has `iss` and `sub`. Otherwise returns why it is not valid.
pub(super) fn verify(
    jwt: &str,
    by: Signer,
    types: &[&str],
    settings: &Settings,
    used: &mut UsedIds,
    now: i64,
    request: &TokenRequest,
) -> Result<Value, &'static str> {
    const NOT_A_JWT: &str = "The assertion is not a JWT";

    let (message, signature) = jwt.rsplit_once('.').ok_or(NOT_A_JWT)?;
    let (header, claims) = message.split_once('.').ok_or(NOT_A_JWT)?;
    let header = json(header).ok_or("The JWT header is not valid")?;
    let claims = json(claims).ok_or("The JWT claims are not valid")?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| "The signature is not base64url")?;
    if !header["typ"].as_str().is_some_and(|typ| types.contains(&typ)) {
        return Err("The typ is wrong");
    }
    if !is_signed(&header, message.as_bytes(), &signature, by, settings) {
        return Err("The alg, kid, key or signature is wrong");
    }
    let text = |name: &str| claims[name].as_str().filter(|text| !text.is_empty());
    let by_right_party = match by {
        Signer::Provider => text("iss") == Some(ISSUER) && text("client_id") == Some(&settings.client_id),
        Signer::Key | Signer::Secret => text("iss") == Some(&settings.client_id),
    };
    if !by_right_party || text("sub").is_none() {
        return Err("The iss or the client_id is wrong, or the sub is missing");
    }
    if !has_our_audience(&claims["aud"], request) {
        return Err("The aud is not this issuer");
    }
    let exp = claims["exp"].as_i64().ok_or("The exp is missing")?;
    if exp <= now || exp > now + MAX_LIFETIME {
        return Err("The exp is in the past or more than 300 s ahead");
    }
    if ["nbf", "iat"].iter().any(|name| claims[*name].as_i64().is_some_and(|time| time > now)) {
        return Err("The nbf or iat is in the future");
    }
    used.retain(|_, until| *until > now);
    let id = text("jti").ok_or("The jti is missing")?;
    if used.insert(id.to_owned(), exp).is_some() {
        return Err("The jti was used before");
    }
    Ok(claims)
}

fn json(part: &str) -> Option<Value> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// Returns whether the audience is the issuer or its token URL.
fn has_our_audience(audience: &Value, request: &TokenRequest) -> bool {
    let base = request.base();
    let is_ours = |one: &Value| one.as_str().is_some_and(|one| one == base || one == format!("{base}/token"));
    audience.as_array().map_or_else(|| is_ours(audience), |several| several.iter().any(is_ours))
}

fn is_signed(header: &Value, message: &[u8], signature: &[u8], by: Signer, settings: &Settings) -> bool {
    match (header["alg"].as_str(), by) {
        (Some("HS256"), Signer::Secret) => {
            let mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(settings.client_secret.as_bytes());
            mac.is_ok_and(|mac| mac.chain_update(message).verify_slice(signature).is_ok())
        }
        (Some(algorithm @ ("ES256" | "ES384")), Signer::Key | Signer::Provider) => {
            let set = if by == Signer::Key { &settings.client_keys } else { &settings.trusted_keys };
            let keys = set["keys"].as_array().map_or(&[][..], Vec::as_slice);
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
