//! The error of parsing a scope.

use std::fmt;

/// The error that a text is not a valid scope, or not a clinical scope of SMART.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidScope(pub(super) Problem);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    Character(char),
    Level,
    Resource,
    Interactions,
    Query,
}

impl fmt::Display for InvalidScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Problem::Character(c) => {
                return write!(f, "the scope contains {c:?}, which is not allowed in a scope (RFC 6749 §3.3)");
            }
            Problem::Level => "the text is not a SMART scope: a SMART scope begins with patient/, user/ or system/",
            Problem::Resource => {
                "the resource of the SMART scope is not valid: use the name of a FHIR resource type (letters only) or *"
            }
            Problem::Interactions => {
                "the end of the SMART scope is not valid: after the resource, use a dot and then some of the letters cruds \
                 in this order, or read, write or *"
            }
            Problem::Query => {
                "the query of the SMART scope is not valid: after the ?, use param=value pairs with & between them"
            }
        })
    }
}

impl std::error::Error for InvalidScope {}

/// Checks that a text has only characters that a scope may have: `%x21 / %x23-5B / %x5D-7E` (RFC 6749 §3.3).
pub(crate) fn only_scope_characters(text: &str) -> Result<(), InvalidScope> {
    match text.chars().find(|c| !matches!(c, '!' | '#'..='[' | ']'..='~')) {
        Some(c) => Err(InvalidScope(Problem::Character(c))),
        None => Ok(()),
    }
}
