//! The parameters that are the same in each request of a grant.

use std::fmt;

use crate::{
    error::Error,
    grant::exchange::form::Form,
    source::{Narrowing, SourceIdentity, check_resource, check_scope},
};

/// The parameters that the grant or the client authentication sets.
const RESERVED: [&str; 14] = [
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

/// Names and values, in the order in which they were given.
#[derive(Clone, Default)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    pub(crate) fn push(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.push((name.into(), value.into()));
    }

    #[cfg(feature = "on-behalf-of")]
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// Appends to a form the parameters for which `is_wanted` returns true.
    pub(crate) fn append_to(&self, form: &mut Form, is_wanted: impl Fn(&str) -> bool) {
        self.0.iter().filter(|(name, _)| is_wanted(name)).for_each(|(name, value)| form.append(name, value));
    }

    /// Adds them to an identity. `is_variant` says which of them tell apart the tokens of one refresh token.
    pub(crate) fn identify(&self, identity: SourceIdentity, is_variant: impl Fn(&str) -> bool) -> SourceIdentity {
        self.0.iter().fold(identity, |identity, (name, value)| {
            if is_variant(name) { identity.with_variant(name, value) } else { identity.with(name, value) }
        })
    }

    /// Replaces the scope and the resources by narrower ones.
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

    /// Checks that no parameter is given twice (RFC 6749 §3.2), except those named in `repeatable`.
    pub(crate) fn check(&self, repeatable: &[&str]) -> Result<(), Error> {
        for (index, (name, value)) in self.0.iter().enumerate() {
            if RESERVED.contains(&name.as_str()) {
                return Err(Error::config(format!(
                    "the parameter `{name}` is set by the grant: use the builder's method for it instead of `param`"
                )));
            }
            let is_repeated = self.0[..index].iter().any(|(earlier, _)| earlier == name);
            if is_repeated && !repeatable.contains(&name.as_str()) {
                return Err(Error::config(format!(
                    "the parameter `{name}` is given twice, which RFC 6749 §3.2 does not allow: give it once"
                )));
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

/// Shows only the names. The value of a custom parameter may be a secret, such as a one-time password.
impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}
