//! Values of a `--config` file, and what is wrong with one.

use std::{fmt, fs, path::Path, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

use crate::cli::CliError;

/// A duration with its unit, such as `90s`.
#[derive(Clone, Copy)]
pub struct Span(pub Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(SpanVisitor)
    }
}

struct SpanVisitor;

impl Visitor<'_> for SpanVisitor {
    type Value = Span;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(r#"a duration with its unit, such as "90s" or "1h 30m""#)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Span, E> {
        let wrong = r#"this is not a duration; give numbers with their units, such as "90s" or "1h 30m""#;
        humantime::parse_duration(text).map(Span).map_err(|_| E::custom(wrong))
    }
}

pub fn wrong(key: &str, problem: &str) -> CliError {
    CliError::config(format!("{key}: {problem}"))
}

/// The error names its key.
#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
pub fn in_file(error: tower_bearer::Error) -> CliError {
    CliError::config(error.to_string())
}

/// Reads the certificates that a key names.
///
/// # Errors
/// When the file cannot be read.
pub fn certificates(key: &str, path: &Path) -> Result<Vec<u8>, CliError> {
    fs::read(path)
        .map_err(|error| wrong(key, &format!("the file {} cannot be read ({error}); check the path", path.display())))
}
