//! A key that may be shown.

use std::{borrow::Borrow, fmt};

/// A key of a [`TokenPool`](crate::TokenPool) that is not secret, so that it may be in logs.
///
/// A pool never shows other keys, because they may be secret or say who a user is. With this wrapper and
/// [`show_keys`](crate::pool::TokenPoolBuilder::show_keys), the log lines of a renewal name its identity.
///
/// A `Shown<String>` is looked up by a `str`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shown<K>(pub K);

impl<K: fmt::Display> fmt::Display for Shown<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Borrow<str> for Shown<String> {
    fn borrow(&self) -> &str {
        &self.0
    }
}
