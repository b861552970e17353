//! What tells the tokens of one source from those of another, in all processes of a fleet.

use std::fmt;

use zeroize::Zeroizing;

use crate::secret_string::SecretString;

/// Whose tokens a source gets, and for what: the same in each process that has the same settings.
///
/// Processes that share a [store](crate::store) find each other's tokens by it. Only its keyed hashes leave the process.
#[derive(Clone, Default)]
pub struct SourceIdentity {
    /// What all tokens of the source share.
    who: Zeroizing<Vec<u8>>,
    /// What tells one token of them from another.
    what: Zeroizing<Vec<u8>>,
    secrets: Zeroizing<Vec<u8>>,
    is_unnamed: bool,
    refresh_token: Option<SecretString>,
}

impl SourceIdentity {
    /// Creates an identity without parts.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a part: the issuer, the client, the user, the scope, or anything else that shapes the token. The order counts.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        push(&mut self.who, name, value.as_ref());
        self
    }

    /// Adds a secret that proves who the source is, such as a password. The tokens that were got with it stay shared when it
    /// changes. A refusal ends.
    #[must_use]
    pub fn with_secret(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        push(&mut self.secrets, name, value.as_ref());
        self
    }

    /// Adds a part that tells apart tokens that one refresh token gets.
    pub(crate) fn with_variant(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        push(&mut self.what, name, value.as_ref());
        self
    }

    /// Adds another identity as a part of this one.
    #[cfg(feature = "on-behalf-of")]
    pub(crate) fn with_all_of(mut self, other: &Self) -> Self {
        self.is_unnamed |= other.is_unnamed;
        self.with("before", &*other.who).with("before", &*other.what).with_secret("before", &*other.secrets)
    }

    /// Notes that its parts do not tell whose tokens these are.
    pub(crate) fn unnamed(mut self) -> Self {
        self.is_unnamed = true;
        self
    }

    /// Sets the refresh token that the user gave to a source that has nothing else.
    #[must_use]
    pub fn only_refresh_token(mut self, given: SecretString) -> Self {
        self.refresh_token = Some(given);
        self
    }

    pub(crate) fn who(&self) -> &[u8] {
        &self.who
    }

    pub(crate) fn what(&self) -> &[u8] {
        &self.what
    }

    pub(crate) fn secrets(&self) -> &[u8] {
        &self.secrets
    }

    pub(crate) fn is_unnamed(&self) -> bool {
        self.is_unnamed
    }

    pub(crate) fn given_refresh_token(&self) -> Option<&SecretString> {
        self.refresh_token.as_ref()
    }
}

/// Appends a part in a form that no other parts have.
fn push(parts: &mut Zeroizing<Vec<u8>>, name: &str, value: &[u8]) {
    // Its old buffer is wiped too.
    let mut longer = Zeroizing::new(Vec::with_capacity(parts.len() + name.len() + value.len() + 16));
    longer.extend_from_slice(parts);
    for part in [name.as_bytes(), value] {
        longer.extend_from_slice(&(part.len() as u64).to_be_bytes());
        longer.extend_from_slice(part);
    }
    *parts = longer;
}

impl fmt::Debug for SourceIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SourceIdentity([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_parts_are_another_identity() {
        let one = SourceIdentity::new().with("a", "bc").with("d", "");
        for other in [
            SourceIdentity::new().with("ab", "c").with("d", ""),
            SourceIdentity::new().with("a", "bc").with("", "d"),
            SourceIdentity::new().with("d", "").with("a", "bc"),
            SourceIdentity::new().with("a", "bc"),
        ] {
            assert_ne!(one.who(), other.who());
        }
        assert_eq!(format!("{one:?}"), "SourceIdentity([redacted])");
    }
}
