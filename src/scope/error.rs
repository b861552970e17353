//! Why a text is no scope.

use std::fmt;

/// Why a text is no scope, or no clinical scope of SMART.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidScope(pub(super) Why);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Why {
    Character(char),
    Level,
    Resource,
    Interactions,
    Query,
}

impl fmt::Display for InvalidScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Why::Character(c) => return write!(f, "a scope cannot have the character {c:?} (RFC 6749 §3.3)"),
            Why::Level => "a SMART scope begins with patient/, user/ or system/",
            Why::Resource => "the resource of a SMART scope is the name of a FHIR type, in letters, or *",
            Why::Interactions => {
                "a SMART scope ends with a dot and some of the letters cruds, in that order, or with .read, .write or .*"
            }
            Why::Query => "after the ? of a SMART scope comes param=value, and & before each further one",
        })
    }
}

impl std::error::Error for InvalidScope {}

/// RFC 6749 §3.3: `%x21 / %x23-5B / %x5D-7E`.
pub(crate) fn only_scope_characters(text: &str) -> Result<(), InvalidScope> {
    match text.chars().find(|c| !matches!(c, '!' | '#'..='[' | ']'..='~')) {
        Some(c) => Err(InvalidScope(Why::Character(c))),
        None => Ok(()),
    }
}
