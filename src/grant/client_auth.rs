//! How the client authenticates at the token endpoint.

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use form_urlencoded::byte_serialize;
use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::{error::Error, grant::form::Form};

/// How the client authenticates at the token endpoint (RFC 6749 §2.3): exactly one way a request.
///
/// ```
/// use tower_bearer::grant::ClientAuth;
///
/// let auth = ClientAuth::basic("1PpG/Q 1", "s3cret");
/// assert!(!format!("{auth:?}").contains("s3cret"));
/// ```
#[derive(Clone)]
pub struct ClientAuth(Method);

#[derive(Clone)]
enum Method {
    None { id: String },
    Basic { id: String, secret: SecretString, encoded: bool },
    Post { id: String, secret: SecretString },
}

impl ClientAuth {
    /// A public client: only its id, in the body.
    pub fn none(id: impl Into<String>) -> Self {
        Self(Method::None { id: id.into() })
    }

    /// `client_secret_basic`: an `Authorization: Basic` header. Id and secret are form-encoded first, as RFC 6749 §2.3.1
    /// says.
    pub fn basic(id: impl Into<String>, secret: impl Into<SecretString>) -> Self {
        Self(Method::Basic { id: id.into(), secret: secret.into(), encoded: true })
    }

    /// `client_secret_basic` without the form-encoding, for servers that do not decode it (glewlwyd, node-oauth2-server).
    /// The two differ only when id or secret have other characters than letters, digits and `-._*`.
    pub fn basic_raw(id: impl Into<String>, secret: impl Into<SecretString>) -> Self {
        Self(Method::Basic { id: id.into(), secret: secret.into(), encoded: false })
    }

    /// `client_secret_post`: id and secret in the body. RFC 6749 §2.3.1 does not recommend it.
    pub fn post(id: impl Into<String>, secret: impl Into<SecretString>) -> Self {
        Self(Method::Post { id: id.into(), secret: secret.into() })
    }

    /// Adds what belongs in the body, and gives what belongs in the header.
    pub(crate) fn apply(&self, form: &mut Form) -> Result<Option<HeaderValue>, Error> {
        match &self.0 {
            Method::None { id } => {
                form.append("client_id", id);
                Ok(None)
            }
            Method::Post { id, secret } => {
                form.append("client_id", id);
                form.append("client_secret", secret.expose_secret());
                Ok(None)
            }
            Method::Basic { id, secret, encoded } => {
                basic_header(&user_pass(id, secret.expose_secret(), *encoded)).map(Some)
            }
        }
    }

    /// The client's secret, if it has one.
    pub(crate) fn secret(&self) -> Option<SecretString> {
        match &self.0 {
            Method::None { .. } => None,
            Method::Post { secret, .. } | Method::Basic { secret, .. } => Some(secret.clone()),
        }
    }

    /// What is wrong with it, before anything is sent.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match &self.0 {
            Method::None { id } | Method::Post { id, .. } | Method::Basic { id, .. } if id.is_empty() => {
                Err(Error::config("the client id is empty: give the one that the authorization server knows"))
            }
            Method::Basic { id, encoded: false, .. } if id.contains(':') => {
                Err(Error::config("a client id with a colon cannot be sent raw: use `ClientAuth::basic` or `post`"))
            }
            _ => Ok(()),
        }
    }
}

fn user_pass(id: &str, secret: &str, encoded: bool) -> Zeroizing<String> {
    // Three bytes for one is the most that form-encoding makes, so that nothing is left behind by growing.
    let mut pair = Zeroizing::new(String::with_capacity(3 * (id.len() + secret.len()) + 1));
    if encoded {
        pair.extend(byte_serialize(id.as_bytes()).chain([":"]).chain(byte_serialize(secret.as_bytes())));
    } else {
        pair.extend([id, ":", secret]);
    }
    pair
}

fn basic_header(user_pass: &str) -> Result<HeaderValue, Error> {
    let mut line = Zeroizing::new(String::with_capacity(6 + user_pass.len().div_ceil(3) * 4));
    line.push_str("Basic ");
    BASE64_STANDARD.encode_string(user_pass, &mut line);
    let bytes = Bytes::from_owner(Zeroizing::new(std::mem::take(&mut *line).into_bytes()));
    let mut header = HeaderValue::from_maybe_shared(bytes)
        .map_err(|_| Error::config("the client's credentials cannot stand in a header"))?;
    header.set_sensitive(true);
    Ok(header)
}

impl fmt::Debug for ClientAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, id) = match &self.0 {
            Method::None { id } => ("None", id),
            Method::Basic { id, encoded: true, .. } => ("Basic", id),
            Method::Basic { id, encoded: false, .. } => ("BasicRaw", id),
            Method::Post { id, .. } => ("Post", id),
        };
        f.debug_struct(name).field("id", id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc6749_section_2_3_1_encodes_before_basic() {
        let (id, secret) = ("1PpG/Q 1", "z/tZ9VwFZqApmIQ+ZH1I5pLk/uB4ud:X2/8bL+wfFTt1rFw=");
        let pair = user_pass(id, secret, true);
        assert_eq!(*pair, "1PpG%2FQ+1:z%2FtZ9VwFZqApmIQ%2BZH1I5pLk%2FuB4ud%3AX2%2F8bL%2BwfFTt1rFw%3D");
        assert_eq!(*user_pass(id, secret, false), format!("{id}:{secret}"));
        let header = basic_header(&pair).unwrap();
        assert!(header.is_sensitive());
        assert_eq!(header.as_bytes(), format!("Basic {}", BASE64_STANDARD.encode(pair.as_bytes())).as_bytes());
    }

    #[test]
    fn a_colon_in_a_raw_id_is_refused_before_it_is_misread() {
        assert!(ClientAuth::basic_raw("a:b", "s").check().is_err());
        assert!(ClientAuth::basic("a:b", "s").check().is_ok());
        assert!(ClientAuth::none("").check().is_err());
    }
}
