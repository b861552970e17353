//! Headers that a server, or a gateway in front of it, requires besides those of the standard.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, PROXY_AUTHORIZATION, TE, TRAILER,
        TRANSFER_ENCODING, UPGRADE,
    },
};

use crate::{error::Error, secret_string::SecretString, source::SourceIdentity};

/// The headers that the grant, the client authentication or the HTTP client sets.
static RESERVED: [HeaderName; 10] = [
    AUTHORIZATION,
    CONNECTION,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    HOST,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Headers for each token request. Their values may be secrets.
#[derive(Clone, Default)]
pub(crate) struct ExtraHeaders(HeaderMap);

impl ExtraHeaders {
    pub(crate) fn push(&mut self, name: HeaderName, mut value: HeaderValue) {
        value.set_sensitive(true);
        self.0.append(name, value);
    }

    /// Adds them to an identity. Their values may be secrets.
    pub(crate) fn identify(&self, identity: SourceIdentity) -> SourceIdentity {
        self.0.iter().fold(identity, |identity, (name, value)| identity.with_secret(name.as_str(), value))
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        match self.0.keys().find(|name| RESERVED.contains(name)) {
            None => Ok(()),
            Some(name) if name == AUTHORIZATION => {
                Err(Error::config("`authorization` cannot be an extra header: it is set by `client_auth`"))
            }
            Some(name) => Err(Error::config(format!(
                "`{name}` cannot be an extra header: it is set by the grant or by the HTTP client"
            ))),
        }
    }

    /// Adds the headers to a request. They replace those of the same name, such as `accept`.
    pub(crate) fn add_to(&self, headers: &mut HeaderMap) {
        headers.extend(self.0.clone());
    }

    /// Returns the values, to recognize them if the server repeats them.
    pub(crate) fn secrets(&self) -> Vec<SecretString> {
        self.0.values().filter_map(|value| value.to_str().ok().map(SecretString::from)).collect()
    }
}
