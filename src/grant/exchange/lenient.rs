//! Reads JSON members that servers write in more forms than the standard allows. A member in another form counts as absent:
//! it must not hide the others.

use serde_json::Value;

use crate::{grant::exchange::members::Members, secret_string::SecretString, token::Lifetime};

impl Members<'_> {
    /// Returns a string that is secret. The string is moved, so no copy of it stays in memory.
    pub(super) fn secret(&self, name: &str) -> Option<SecretString> {
        self.text(name).map(SecretString::from)
    }

    /// Returns a string. Of several, it is the last one.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.last(name, |json| serde_json::from_str(json).ok())
    }

    /// Returns a `scope`: a string or, against RFC 6749 §5.1, an array of strings.
    pub(super) fn scope(&self, name: &str) -> Option<String> {
        self.last(name, |json| match serde_json::from_str(json).ok()? {
            Value::String(scope) => Some(scope),
            Value::Array(values) => {
                let scopes: Option<Vec<_>> = values.iter().map(Value::as_str).collect();
                scopes.map(|scopes| scopes.join(" "))
            }
            _ => None,
        })
    }

    /// Returns a number of seconds: an integer, a float, or a string that contains one.
    pub(super) fn lifetime(&self, name: &str) -> Option<Lifetime> {
        let seconds = self.last(name, |json| match serde_json::from_str(json).ok()? {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.trim().parse::<f64>().ok().filter(|seconds| !seconds.is_nan()),
            _ => None,
        });
        seconds.map(Lifetime::from_secs_f64)
    }

    /// Returns a string in an object that is the member `outer`.
    pub(super) fn nested_text(&self, outer: &str, inner: &str) -> Option<String> {
        self.last(outer, |json| match serde_json::from_str::<Value>(json).ok()?.get_mut(inner)?.take() {
            Value::String(text) => Some(text),
            _ => None,
        })
    }
}
