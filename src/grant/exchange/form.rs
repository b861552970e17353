//! The body of a request to an authorization server.

use bytes::Bytes;
use http_body_util::Full;
use zeroize::Zeroizing;

use crate::secret_string::SecretString;

/// The parameters whose values are secrets.
const SECRET_PARAMETERS: [&str; 8] = [
    "password",
    "refresh_token",
    "client_secret",
    "client_assertion",
    "assertion",
    "subject_token",
    "actor_token",
    "token",
];

/// A form that is being built. It is wiped from memory when the request is done.
#[derive(Clone)]
pub struct Form(Zeroizing<String>);

impl Form {
    pub(crate) fn new() -> Self {
        Self(Zeroizing::new(String::with_capacity(1024)))
    }

    pub(crate) fn append(&mut self, name: &str, value: &str) {
        // The buffer is replaced by hand: if it grew in place, the old copy would not be wiped.
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

    /// Returns the secrets in this form, as they were before the encoding.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = SecretString> {
        let pairs = form_urlencoded::parse(self.0.as_bytes());
        let secrets = pairs.filter(|(name, value)| SECRET_PARAMETERS.contains(&&**name) && !value.is_empty());
        secrets.map(|(_, value)| value.into_owned().into())
    }

    pub(crate) fn into_body(mut self) -> Full<Bytes> {
        let bytes = std::mem::take(&mut *self.0).into_bytes();
        Full::new(Bytes::from_owner(Zeroizing::new(bytes)))
    }
}
