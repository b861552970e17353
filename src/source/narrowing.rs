//! A scope and resources that are less than all that a source may ask for.

use crate::{error::Error, scope::only_scope_characters};

/// A scope and resources to ask for instead of the source's own. In a request's extensions, it asks for a narrowed token.
///
/// The order of scope tokens and of resources has no meaning (RFC 6749 §3.3, RFC 8707 §2). Two narrowings that differ only in
/// the order are equal.
///
/// ```
/// use tower_bearer::source::Narrowing;
///
/// let one = Narrowing::new().with_scope("user/Patient.rs user/Observation.rs")?;
/// let other = Narrowing::new().with_scope("user/Observation.rs user/Patient.rs")?;
/// assert_eq!(one, other);
/// assert!(Narrowing::new().with_resource("/relative").is_err());
/// # Ok::<(), tower_bearer::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Narrowing {
    scope: Option<Box<str>>,
    resources: Vec<Box<str>>,
}

impl Narrowing {
    /// Creates a narrowing that changes nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the scope, space-delimited. Default: the source's own.
    ///
    /// # Errors
    /// When it is empty or has characters that RFC 6749 §3.3 does not allow.
    pub fn with_scope(mut self, scope: impl Into<String>) -> Result<Self, Error> {
        let scope = scope.into();
        check_scope(&scope)?;
        let mut tokens: Vec<_> = scope.split(' ').filter(|token| !token.is_empty()).collect();
        if tokens.is_empty() {
            return Err(Error::config("the scope is empty: leave it out, or name at least one scope"));
        }
        tokens.sort_unstable();
        tokens.dedup();
        self.scope = Some(tokens.join(" ").into());
        Ok(self)
    }

    /// Adds a resource. Default: the source's own.
    ///
    /// # Errors
    /// When it is not an absolute URI, or has a fragment (RFC 8707 §2).
    pub fn with_resource(mut self, resource: impl Into<String>) -> Result<Self, Error> {
        let resource = resource.into();
        check_resource(&resource)?;
        if let Err(at) = self.resources.binary_search_by(|known| (**known).cmp(&*resource)) {
            self.resources.insert(at, resource.into());
        }
        Ok(self)
    }

    /// Returns the scope, if one was set.
    #[must_use]
    pub fn scope(&self) -> Option<&str> {
        self.scope.as_deref()
    }

    /// Returns the resources that were added.
    #[must_use]
    pub fn resources(&self) -> &[Box<str>] {
        &self.resources
    }
}

/// Checks the characters of a scope (RFC 6749 §3.3).
pub(crate) fn check_scope(scope: &str) -> Result<(), Error> {
    let tokens = scope.split(' ').try_for_each(only_scope_characters);
    tokens.map_err(|_| Error::config("the scope has a character that RFC 6749 §3.3 does not allow: use printable ASCII without quotes and backslashes"))
}

/// Checks that a resource is an absolute URI without a fragment (RFC 8707 §2).
pub(crate) fn check_resource(resource: &str) -> Result<(), Error> {
    if resource.contains('#') || !is_absolute(resource) {
        return Err(Error::config(
            "the resource is not an absolute URI without a fragment (RFC 8707 §2): write it as https://api.example.org",
        ));
    }
    Ok(())
}

fn is_absolute(uri: &str) -> bool {
    uri.split_once(':').is_some_and(|(scheme, rest)| {
        !rest.is_empty()
            && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6749 §3.3, RFC 8707 §2.
    #[test]
    fn order_and_repetition_have_no_meaning() {
        let scope = |scope: &str| Narrowing::new().with_scope(scope).unwrap();
        assert_eq!(scope("b a  b"), scope("a b"));
        assert_ne!(scope("a"), scope("A"));
        let resources = |all: &[&str]| all.iter().fold(Narrowing::new(), |to, one| to.with_resource(*one).unwrap());
        assert_eq!(resources(&["urn:b", "urn:a", "urn:b"]), resources(&["urn:a", "urn:b"]));
    }

    #[test]
    fn what_cannot_be_sent_is_refused() {
        for scope in ["", " ", "a\"b", "a\\b", "\u{e4}", "a\nb"] {
            assert!(Narrowing::new().with_scope(scope).is_err(), "{scope:?}");
        }
        for resource in ["", "api", "/api", "https://a.test/#x", ":x", "a:"] {
            assert!(Narrowing::new().with_resource(resource).is_err(), "{resource:?}");
        }
    }
}
