//! How the client authenticates at the authorization server.

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use form_urlencoded::byte_serialize;
use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::{
    error::Error,
    grant::{
        assertion::AssertionSource,
        form::{At, Form},
        metadata::Metadata,
        secret::Secret,
    },
};

/// How the client authenticates at the authorization server (RFC 6749 §2.3): exactly one way a request.
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
    None {
        id: String,
    },
    Secret {
        id: String,
        secret: Secret,
        how: How,
    },
    /// The id goes along only where the assertion's subject is not the id.
    Assertion {
        id: Option<String>,
        assertion: AssertionSource,
    },
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    Basic,
    BasicRaw,
    Post,
    Offered,
}

/// What goes beside the form.
#[derive(Default)]
pub(crate) struct Applied {
    pub(crate) header: Option<HeaderValue>,
    /// For looking whether it comes back.
    pub(crate) secret: Option<SecretString>,
}

impl ClientAuth {
    /// `none`: a public client, with only its id in the body.
    pub fn none(id: impl Into<String>) -> Self {
        Self(Method::None { id: id.into() })
    }

    /// `client_secret_basic`: an `Authorization: Basic` header. Id and secret are form-encoded first, as RFC 6749 §2.3.1
    /// says.
    pub fn basic(id: impl Into<String>, secret: impl Into<Secret>) -> Self {
        Self::with_secret(id, secret, How::Basic)
    }

    /// `client_secret_basic` without the form-encoding, for servers that do not decode it (glewlwyd, node-oauth2-server).
    /// The two differ only when id or secret have other characters than letters, digits and `-._*`.
    pub fn basic_raw(id: impl Into<String>, secret: impl Into<Secret>) -> Self {
        Self::with_secret(id, secret, How::BasicRaw)
    }

    /// `client_secret_post`: id and secret in the body. RFC 6749 §2.3.1 does not recommend it.
    pub fn post(id: impl Into<String>, secret: impl Into<Secret>) -> Self {
        Self::with_secret(id, secret, How::Post)
    }

    /// [`basic`](Self::basic), or [`post`](Self::post) where the server's [metadata](Metadata) offers only that.
    pub fn secret(id: impl Into<String>, secret: impl Into<Secret>) -> Self {
        Self::with_secret(id, secret, How::Offered)
    }

    /// `private_key_jwt`: a JWT that the key signs, fresh for each request (RFC 7521 §4.2, RFC 7523 §2.2, §3).
    ///
    /// Issuer and subject are the client id, the audience is the token URL; [`Assertion`](crate::grant::Assertion) says
    /// the rest, and [`ClientAuth::assertion`] takes one with settings of its own.
    #[cfg(feature = "jwt")]
    pub fn private_key_jwt(id: impl Into<String>, key: crate::grant::SigningKey) -> Self {
        let id = id.into();
        Self::assertion(crate::grant::Assertion::new(id.clone(), id, key))
    }

    /// `client_secret_jwt`: as [`private_key_jwt`](Self::private_key_jwt), signed with the client's secret by HS256. The
    /// secret has at least 32 bytes (RFC 7518 §3.2).
    #[cfg(feature = "jwt")]
    pub fn client_secret_jwt(id: impl Into<String>, secret: impl Into<Secret>) -> Self {
        Self::private_key_jwt(id, crate::grant::SigningKey::hmac(secret))
    }

    /// An assertion with settings of one's own: another audience, say, or an `iat`.
    #[cfg(feature = "jwt")]
    #[must_use]
    pub fn assertion(assertion: crate::grant::Assertion) -> Self {
        Self(Method::Assertion { id: None, assertion: AssertionSource::Signed(Box::new(assertion)) })
    }

    /// An assertion that somebody else signs (RFC 7521 §4.2), such as the token that a cloud projects into a
    /// [file](Secret::file). The id goes beside it.
    pub fn assertion_from(id: impl Into<String>, assertion: impl Into<Secret>) -> Self {
        Self(Method::Assertion { id: Some(id.into()), assertion: AssertionSource::Given(assertion.into()) })
    }

    fn with_secret(id: impl Into<String>, secret: impl Into<Secret>, how: How) -> Self {
        Self(Method::Secret { id: id.into(), secret: secret.into(), how })
    }

    /// Adds what belongs in the body, and gives what belongs in the header.
    pub(crate) async fn apply(&self, form: &mut Form, at: &At<'_>) -> Result<Applied, Error> {
        match &self.0 {
            Method::None { id } => {
                form.append("client_id", id);
                Ok(Applied::default())
            }
            Method::Secret { id, secret, how } => {
                let secret = secret.read().await?;
                let post = *how == How::Post || (*how == How::Offered && !at.server.takes("client_secret_basic"));
                if post {
                    form.append("client_id", id);
                    form.append("client_secret", secret.expose_secret());
                    return Ok(Applied::default());
                }
                let header = basic_header(&user_pass(id, secret.expose_secret(), *how != How::BasicRaw))?;
                Ok(Applied { header: Some(header), secret: Some(secret) })
            }
            Method::Assertion { id, assertion } => {
                if let Some(id) = id {
                    form.append("client_id", id);
                }
                form.append("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
                form.append("client_assertion", assertion.jwt(at).await?.expose_secret());
                Ok(Applied::default())
            }
        }
    }

    /// What is wrong with it, before anything is sent.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match &self.0 {
            Method::None { id } | Method::Secret { id, .. } | Method::Assertion { id: Some(id), .. }
                if id.is_empty() =>
            {
                Err(Error::config("the client id is empty: give the one that the authorization server knows"))
            }
            Method::Secret { id, how: How::BasicRaw, .. } if id.contains(':') => {
                Err(Error::config("a client id with a colon cannot be sent raw: use `ClientAuth::basic` or `post`"))
            }
            Method::Assertion { assertion, .. } => assertion.check(),
            _ => Ok(()),
        }
    }

    /// Whether the server says that it takes it (RFC 8414 §2).
    pub(crate) fn check_offered(&self, server: &Metadata) -> Result<(), Error> {
        let names: &[&str] = match &self.0 {
            // Left out of many a list, and no secret is lost on a server that refuses it.
            Method::None { .. } => return Ok(()),
            Method::Secret { how: How::Basic | How::BasicRaw, .. } => &["client_secret_basic"],
            Method::Secret { how: How::Post, .. } => &["client_secret_post"],
            Method::Secret { how: How::Offered, .. } => &["client_secret_basic", "client_secret_post"],
            Method::Assertion { assertion, .. } => assertion.methods(),
        };
        if names.iter().any(|name| server.takes(name)) {
            return Ok(());
        }
        Err(Error::config(format!(
            "the authorization server does not take {}, it says, but {}: use another `ClientAuth`",
            names.join(" or "),
            server.known_methods()
        )))
    }

    /// A number that changes when the secret does.
    pub(crate) fn version(&self) -> u64 {
        match &self.0 {
            Method::None { .. } => 0,
            Method::Secret { secret, .. } => secret.version(),
            Method::Assertion { assertion, .. } => assertion.version(),
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
        match &self.0 {
            Method::None { id } => f.debug_struct("None").field("id", id).finish(),
            Method::Secret { id, secret, how } => {
                f.debug_struct("Secret").field("id", id).field("secret", secret).field("how", how).finish()
            }
            Method::Assertion { id, assertion } => {
                f.debug_struct("Assertion").field("id", id).field("assertion", assertion).finish()
            }
        }
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
