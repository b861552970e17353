//! The parameters that are the same in each request of a grant.

use std::fmt;

use crate::{error::Error, grant::form::Form};

/// Those that a grant or the client authentication sets itself.
const OURS: [&str; 13] = [
    "grant_type",
    "username",
    "password",
    "refresh_token",
    "assertion",
    "subject_token",
    "subject_token_type",
    "actor_token",
    "actor_token_type",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
];

/// Names and values, in the order given.
#[derive(Clone, Default)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    pub(crate) fn push(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.push((name.into(), value.into()));
    }

    /// Appends those whose names are wanted.
    pub(crate) fn fill(&self, form: &mut Form, wanted: impl Fn(&str) -> bool) {
        self.0.iter().filter(|(name, _)| wanted(name)).for_each(|(name, value)| form.append(name, value));
    }

    /// RFC 6749 §3.2: no parameter twice, but those that `repeatable` names.
    pub(crate) fn check(&self, repeatable: &[&str]) -> Result<(), Error> {
        for (at, (name, value)) in self.0.iter().enumerate() {
            if OURS.contains(&name.as_str()) {
                return Err(Error::config(format!("the parameter `{name}` is the grant's own: use the method for it")));
            }
            if !repeatable.contains(&name.as_str()) && self.0[..at].iter().any(|(earlier, _)| earlier == name) {
                return Err(Error::config(format!("the parameter `{name}` is given twice (RFC 6749 §3.2)")));
            }
            match name.as_str() {
                "scope" => check_scope(value)?,
                "resource" => check_resource(value)?,
                _ => {}
            }
        }
        Ok(())
    }
}

/// RFC 6749 §3.3.
pub(crate) fn check_scope(scope: &str) -> Result<(), Error> {
    if scope.bytes().any(|b| !matches!(b, b' '..=b'~') || b == b'"' || b == b'\\') {
        return Err(Error::config("the scope has characters that RFC 6749 §3.3 does not allow"));
    }
    Ok(())
}

/// RFC 8707 §2.
pub(crate) fn check_resource(resource: &str) -> Result<(), Error> {
    if resource.contains('#') || !is_absolute(resource) {
        return Err(Error::config("a resource is an absolute URI without a fragment (RFC 8707 §2)"));
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

/// A parameter of one's own may be a secret (a one-time password), so that only the names are shown.
impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}
