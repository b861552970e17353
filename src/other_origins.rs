//! The origins, other than the listed ones, that requests went to.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

/// How many origins are remembered. Nothing is said about further ones.
const MAX: usize = 64;

/// The origins that a warning was written for. All services of a layer share them.
#[derive(Clone, Default)]
pub(crate) struct OtherOrigins(Arc<Mutex<Vec<Known>>>);

/// The scheme and host of an origin, and its port if it is written.
type Known = (Box<str>, Option<u16>);

impl OtherOrigins {
    /// Returns whether this is the first request to this origin. It is remembered, within the bound.
    pub(crate) fn is_new(&self, scheme: &str, host: &str, port: Option<u16>) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = |(origin, known_port): &Known| {
            *known_port == port && origin.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://")) == Some(host)
        };
        let is_new = known.len() < MAX && !known.iter().any(is_known);
        if is_new {
            known.push((format!("{scheme}://{host}").into(), port));
        }
        is_new
    }
}

impl fmt::Debug for OtherOrigins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OtherOrigins").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_new_once_and_few_are_remembered() {
        let origins = OtherOrigins::default();
        assert!(origins.is_new("https", "a.test", None) && !origins.clone().is_new("https", "a.test", None));
        assert!(origins.is_new("http", "a.test", None) && origins.is_new("https", "a.test", Some(8443)));
        let new = (0..1000).filter(|number| origins.is_new("https", &format!("{number}.test"), None)).count();
        assert_eq!(new, MAX - 3);
    }
}
