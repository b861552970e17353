//! Where in the settings a value is, for errors.

use std::{
    borrow::Cow,
    fmt::{self, Display},
};

use serde::Deserialize;

use crate::error::Error;

/// The path of a key: `token.client_id`, or the name of its variable, such as `APP_TOKEN__CLIENT_ID`.
///
/// It is a string with a mark before it, so that a value can have its own place as one of its fields: the reader
/// answers a field named [`Place::FIELD`]. Read by another deserializer, the field is missing, and paths begin at the value.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub(super) struct Place(String);

/// Keys are separated by dots.
const KEYS: char = '.';

/// Keys are parts of a variable's name.
const VARIABLE: char = '_';

/// The prefix of all variables.
const PREFIX: char = '^';

impl Place {
    /// The name of the field that has a value's own place.
    pub(super) const FIELD: &'static str = "$place";

    /// Returns the place of all variables with this prefix.
    pub(super) fn variables(prefix: &str) -> Self {
        Self(format!("{PREFIX}{prefix}"))
    }

    /// Returns the place with its mark, as the field has it.
    pub(super) fn as_field(&self) -> &str {
        &self.0
    }

    pub(super) fn child(&self, key: &str) -> Self {
        let path = self.path();
        Self(match self.0.chars().next() {
            Some(PREFIX) => format!("{VARIABLE}{path}{}", key.to_uppercase()),
            Some(VARIABLE) => format!("{VARIABLE}{path}__{}", key.to_uppercase()),
            _ if path.is_empty() => format!("{KEYS}{}", quoted(key)),
            _ => format!("{KEYS}{path}.{}", quoted(key)),
        })
    }

    pub(super) fn item(&self, at: usize) -> Self {
        Self(format!("{}[{at}]", self.0))
    }

    /// Returns an error about the value here. `problem` says what is wrong; and after a semicolon, what to do.
    pub(super) fn error(&self, problem: impl Display) -> Error {
        let path = self.path();
        let text = if path.is_empty() { problem.to_string() } else { format!("{path}: {problem}") };
        // A key may be any text, and so may the name of a file or a variable. An error is one line.
        Error::config(text.replace(char::is_control, "?"))
    }

    fn path(&self) -> &str {
        self.0.strip_prefix([KEYS, VARIABLE, PREFIX]).unwrap_or(&self.0)
    }
}

/// Returns a key as TOML has it: in quotes, unless it has only letters, digits, `_` and `-`.
fn quoted(key: &str) -> Cow<'_, str> {
    let is_bare = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-');
    if !key.is_empty() && key.chars().all(is_bare) { key.into() } else { format!("\"{key}\"").into() }
}

impl Default for Place {
    fn default() -> Self {
        Self(KEYS.into())
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path())
    }
}
