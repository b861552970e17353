//! The parts of a JWT (RFC 7519 §3), read without verifying the signature.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::de::DeserializeOwned;

/// Reads the claims of a JWT; `None` for any other token. The signature is not checked.
pub(crate) fn claims<C: DeserializeOwned>(token: &str) -> Option<C> {
    let (message, _signature) = token.rsplit_once('.')?;
    let (_header, claims) = message.rsplit_once('.')?;
    part(claims)
}

/// Reads one part of a JWT: base64url-encoded JSON (RFC 7515 §3.1).
pub(crate) fn part<T: DeserializeOwned>(encoded: &str) -> Option<T> {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(encoded).ok()?).ok()
}
