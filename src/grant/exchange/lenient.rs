//! Reads JSON members that servers write in more forms than the standard allows. A member in another form counts as absent:
//! it must not hide the others.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::{secret_string::SecretString, token::Lifetime};

/// Reads a string that is secret. The string is moved, so no copy of it stays in memory. Other forms are an error.
pub(super) fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SecretString>, D::Error> {
    Ok(Option::<String>::deserialize(from)?.map(SecretString::from))
}

/// Reads a string.
pub(super) fn text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::String(text) => Some(text),
        _ => None,
    })
}

/// Reads a `scope`: a string or, against RFC 6749 §5.1, an array of strings.
pub(super) fn scope<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::String(scope) => Some(scope),
        Value::Array(values) => {
            let scopes: Option<Vec<_>> = values.iter().map(Value::as_str).collect();
            scopes.map(|scopes| scopes.join(" "))
        }
        _ => None,
    })
}

/// Reads a number of seconds: an integer, a float, or a string that contains one.
pub(super) fn lifetime<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Lifetime>, D::Error> {
    let seconds = match Value::deserialize(from)? {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse::<f64>().ok().filter(|seconds| !seconds.is_nan()),
        _ => None,
    };
    Ok(seconds.map(Lifetime::from_secs_f64))
}
