//! The parameters that are the same in each request of a grant.

use std::fmt;

use crate::{
    error::Error,
    grant::form::Form,
    source::{Narrowing, check_resource, check_scope},
};

/// Those that a grant or the client authentication sets itself.
const OURS: [&str; 14] = [
    "grant_type",
    "username",
    "password",
    "refresh_token",
    "assertion",
    "subject_token",
    "subject_token_type",
    "actor_token",
    "actor_token_type",
    "requested_token_type",
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

    /// Asks for less: this scope and these resources, each in the place of what was asked for, if it is there.
    pub(crate) fn narrow(&mut self, to: &Narrowing) {
        if let Some(scope) = to.scope() {
            self.0.retain(|(name, _)| name != "scope");
            self.push("scope", scope);
        }
        if !to.resources().is_empty() {
            self.0.retain(|(name, _)| name != "resource");
            to.resources().iter().for_each(|resource| self.push("resource", &**resource));
        }
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

/// A parameter of one's own may be a secret (a one-time password), so that only the names are shown.
impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}
