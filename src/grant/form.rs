//! The body of a request to an authorization server.

use std::time::SystemTime;

use bytes::Bytes;
use http_body_util::Full;
use zeroize::Zeroizing;

use crate::grant::metadata::Metadata;

/// The parameters whose values are secrets.
const SECRET: [&str; 8] = [
    "password",
    "refresh_token",
    "client_secret",
    "client_assertion",
    "assertion",
    "subject_token",
    "actor_token",
    "token",
];

/// What is known when a request is made.
pub struct At<'a> {
    pub(crate) server: &'a Metadata,
    #[cfg_attr(not(feature = "jwt"), expect(dead_code, reason = "for those who sign"))]
    pub(crate) now: SystemTime,
}

/// A form in the making; wiped from memory when the request is done.
#[derive(Clone)]
pub struct Form(Zeroizing<String>);

impl Form {
    pub(crate) fn new() -> Self {
        Self(Zeroizing::new(String::with_capacity(1024)))
    }

    pub(crate) fn append(&mut self, name: &str, value: &str) {
        // Grown here and by hand, because growing in place would leave the old copy behind.
        let needed = self.0.len() + 2 + 3 * (name.len() + value.len());
        if needed > self.0.capacity() {
            let mut larger = Zeroizing::new(String::with_capacity(2 * needed));
            larger.push_str(&self.0);
            self.0 = larger;
        }
        if !self.0.is_empty() {
            self.0.push('&');
        }
        self.0.extend(form_urlencoded::byte_serialize(name.as_bytes()));
        self.0.push('=');
        self.0.extend(form_urlencoded::byte_serialize(value.as_bytes()));
    }

    /// Whether a text that a server wrote holds a secret of this form.
    pub(crate) fn is_repeated_in(&self, text: &str) -> bool {
        // Encoded values only: what form-encoding changes is printable in no error code.
        self.0
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .any(|(name, value)| SECRET.contains(&name) && !value.is_empty() && text.contains(value))
    }

    pub(crate) fn into_body(mut self) -> Full<Bytes> {
        let bytes = std::mem::take(&mut *self.0).into_bytes();
        Full::new(Bytes::from_owner(Zeroizing::new(bytes)))
    }
}
