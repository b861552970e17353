//! How the client authenticates at the authorization server.

#[cfg(feature = "jwt")]
use std::time::Duration;
use std::{
    fmt,
    hash::{Hash, Hasher},
};

use http::HeaderValue;

#[cfg(feature = "jwt")]
use crate::grant::authentication::{assertion::Assertion, signing_key::SigningKey};
use crate::{
    error::Error,
    grant::{
        authentication::{
            assertion_source::AssertionSource,
            basic::{basic_header, is_changed_by_encoding},
        },
        exchange::{form::Form, request_context::RequestContext},
        secrets::secret::Secret,
        server::metadata::Metadata,
    },
    secret_string::SecretString,
    source::SourceIdentity,
};

/// How the client authenticates at the authorization server (RFC 6749 §2.3). Each request uses exactly one method.
///
/// ```
/// use tower_bearer::grant::ClientAuth;
///
/// let auth = ClientAuth::basic("1PpG/Q 1", "s3cret");
/// assert!(!format!("{auth:?}").contains("s3cret"));
/// ```
#[derive(Clone)]
pub struct ClientAuth {
    method: Method,
    /// A setter that was called for a method that does not have it.
    misplaced: Option<&'static str>,
}

/// The type of an assertion that is a JWT (RFC 7523 §2.2).
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

#[derive(Clone)]
enum Method {
    None {
        id: String,
    },
    /// The certificate is the HTTP client's.
    Tls {
        id: String,
    },
    Secret {
        id: String,
        secret: Secret,
        placement: SecretPlacement,
    },
    /// The id is sent only if the subject of the assertion is not the id.
    Assertion {
        id: Option<String>,
        assertion: AssertionSource,
        kind: String,
    },
}

/// Where a client secret is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum SecretPlacement {
    Basic,
    BasicRaw,
    Post,
    /// Basic, or Post where that is more likely to work.
    BasicOrPost,
}

/// An `Authorization` header with a client secret.
pub(crate) struct AuthHeader {
    pub(crate) value: HeaderValue,
    /// The secret, to recognize it if the server repeats it.
    pub(crate) secret: SecretString,
}

impl ClientAuth {
    /// Uses `none`: a public client, which sends only its id, in the body.
    pub fn none(id: impl Into<String>) -> Self {
        Self::by(Method::None { id: id.into() })
    }

    /// Uses `client_secret_basic`: an `Authorization: Basic` header. The id and the secret are form-encoded first, as
    /// RFC 6749 §2.3.1 requires. A space becomes `%20`, which all servers decode, and not `+`.
    pub fn basic(id: impl Into<String>, secret: impl Into<Secret>) -> Self {
        Self::with_secret(id, secret, SecretPlacement::Basic)
    }

    /// Uses `client_secret_basic` without the form-encoding, for servers that do not decode it (glewlwyd,
    /// node-oauth2-server). It differs from [`basic`](Self::basic) only if the id or the secret has characters other than
    /// letters, digits and `-._*`.
    pub fn basic_raw(id: impl Into<String>, secret: impl Into<Secret>) -> Self {
        Self::with_secret(id, secret, SecretPlacement::BasicRaw)
    }

    /// Uses `client_secret_post`: the id and the secret are in the body. RFC 6749 §2.3.1 does not recommend it.
    pub fn post(id: impl Into<String>, secret: impl Into<Secret>) -> Self {
        Self::with_secret(id, secret, SecretPlacement::Post)
    }

    /// Uses `tls_client_auth` or `self_signed_tls_client_auth` (RFC 8705 §2): the client authenticates by its certificate in the
    /// TLS handshake, and only its id is in the body. The certificate is a setting of the HTTP client:
    /// `HttpClient::builder().client_certificate(…)`. If the server's [metadata](Metadata) has other endpoints for such clients
    /// (`mtls_endpoint_aliases`, RFC 8705 §5), these are used.
    pub fn tls_client_auth(id: impl Into<String>) -> Self {
        Self::by(Method::Tls { id: id.into() })
    }

    /// Uses [`basic`](Self::basic) or [`post`](Self::post), whichever is more likely to work.
    ///
    /// 1. If the server's [metadata](Metadata) lists only one of them, that one.
    /// 2. If it lists both, `post` for an id or a secret that form-encoding changes: many servers do not decode Basic.
    /// 3. If nothing is known, `post` for an id or a secret with a colon, which some servers cannot read from Basic in any form.
    /// 4. Otherwise `basic`.
    pub fn secret(id: impl Into<String>, secret: impl Into<Secret>) -> Self {
        Self::with_secret(id, secret, SecretPlacement::BasicOrPost)
    }

    /// Uses `private_key_jwt`: a JWT that the key signs, a new one for each request (RFC 7521 §4.2, RFC 7523 §2.2, §3).
    ///
    /// Its issuer and subject are the client id. Its audience is the identifier of the issuer, if the server was found by it,
    /// or else the token URL. Its `typ` is `client-authentication+jwt` (RFC 10070). To change its settings, create an
    /// [`Assertion`](crate::grant::Assertion) and give it to [`ClientAuth::assertion`].
    #[cfg(feature = "jwt")]
    pub fn private_key_jwt(id: impl Into<String>, key: SigningKey) -> Self {
        let id = id.into();
        Self::assertion(Assertion::new(id.clone(), id, key))
    }

    /// Uses `client_secret_jwt`: as [`private_key_jwt`](Self::private_key_jwt), but signed with the client secret by HS256.
    /// The secret must have at least 32 bytes (RFC 7518 §3.2).
    #[cfg(feature = "jwt")]
    pub fn client_secret_jwt(id: impl Into<String>, secret: impl Into<Secret>) -> Self {
        Self::private_key_jwt(id, SigningKey::client_secret(secret))
    }

    /// Uses an assertion with your own settings, such as another audience or an `iat`.
    #[cfg(feature = "jwt")]
    #[must_use]
    pub fn assertion(assertion: Assertion) -> Self {
        let assertion = AssertionSource::Signed(Box::new(assertion));
        Self::by(Method::Assertion { id: None, assertion, kind: JWT_BEARER.to_owned() })
    }

    /// Uses an assertion that another party signs (RFC 7521 §4.2), such as the token that a cloud platform writes into a
    /// [file](Secret::file). The id is sent with it. There is a recipe for
    /// [Kubernetes](crate#tokens-from-kubernetes).
    pub fn assertion_from(id: impl Into<String>, assertion: impl Into<Secret>) -> Self {
        let assertion = AssertionSource::Given(assertion.into());
        Self::by(Method::Assertion { id: Some(id.into()), assertion, kind: JWT_BEARER.to_owned() })
    }

    /// Sets the `client_assertion_type` (RFC 7521 §4.2), for servers that accept another kind of assertion. Default:
    /// `urn:ietf:params:oauth:client-assertion-type:jwt-bearer`.
    ///
    /// It is only for methods with an assertion. With another method, building the grant fails.
    ///
    /// ```
    /// use tower_bearer::grant::{ClientAuth, Secret};
    ///
    /// // A SPIFFE identity document, which an agent keeps up to date.
    /// let auth = ClientAuth::assertion_from("spiffe://example.org/my-service", Secret::file("/run/spiffe/svid.jwt"))
    ///     .assertion_type("urn:ietf:params:oauth:client-assertion-type:jwt-spiffe");
    /// ```
    #[must_use]
    pub fn assertion_type(mut self, assertion_type: impl Into<String>) -> Self {
        match &mut self.method {
            Method::Assertion { kind, .. } => *kind = assertion_type.into(),
            _ => self.misplaced = Some("`assertion_type`"),
        }
        self
    }

    /// Sets how long each signed assertion is valid ([`Assertion::lifetime`](crate::grant::Assertion::lifetime)). Default: 150 s.
    ///
    /// It is only for methods that sign an assertion. With another method, building the grant fails.
    #[cfg(feature = "jwt")]
    #[must_use]
    pub fn assertion_lifetime(mut self, lifetime: Duration) -> Self {
        match &mut self.method {
            Method::Assertion { assertion: AssertionSource::Signed(assertion), .. } => {
                **assertion = Assertion::clone(assertion).lifetime(lifetime);
            }
            _ => self.misplaced = Some("`assertion_lifetime`"),
        }
        self
    }

    fn by(method: Method) -> Self {
        Self { method, misplaced: None }
    }

    fn with_secret(id: impl Into<String>, secret: impl Into<Secret>, placement: SecretPlacement) -> Self {
        Self::by(Method::Secret { id: id.into(), secret: secret.into(), placement })
    }

    /// Returns whether the client's certificate authenticates it.
    pub(crate) fn is_by_tls(&self) -> bool {
        matches!(self.method, Method::Tls { .. })
    }

    /// Adds the authentication to the form, or returns the header that carries it.
    pub(crate) async fn apply(
        &self,
        form: &mut Form,
        context: &RequestContext<'_>,
    ) -> Result<Option<AuthHeader>, Error> {
        match &self.method {
            Method::None { id } | Method::Tls { id } => form.append("client_id", id),
            Method::Secret { id, secret, placement } => {
                let secret = secret.read().await?;
                if !placement.is_in_body(context.server, id, secret.expose()) {
                    let value = basic_header(id, secret.expose(), *placement != SecretPlacement::BasicRaw)?;
                    return Ok(Some(AuthHeader { value, secret }));
                }
                form.append("client_id", id);
                form.append("client_secret", secret.expose());
            }
            Method::Assertion { id, assertion, kind } => {
                if let Some(id) = id {
                    form.append("client_id", id);
                }
                form.append("client_assertion_type", kind);
                form.append("client_assertion", assertion.for_client(context).await?.expose());
            }
        }
        Ok(None)
    }

    /// Checks the setting before anything is sent.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if let Some(setter) = self.misplaced {
            return Err(Error::config(format!(
                "{setter} is called on a `ClientAuth` that does not have it: call it only where an assertion is sent or signed"
            )));
        }
        match &self.method {
            Method::None { id }
            | Method::Tls { id }
            | Method::Secret { id, .. }
            | Method::Assertion { id: Some(id), .. }
                if id.is_empty() =>
            {
                Err(Error::config("the client id is empty: give the id under which the client is registered"))
            }
            Method::Secret { id, placement: SecretPlacement::BasicRaw, .. } if id.contains(':') => Err(Error::config(
                "a client id with a colon cannot be sent without encoding: use `ClientAuth::basic` or `ClientAuth::post`",
            )),
            Method::Assertion { assertion, .. } => assertion.check(),
            _ => Ok(()),
        }
    }

    /// Checks that the server supports this authentication, according to its metadata (RFC 8414 §2).
    pub(crate) fn check_supported_by(&self, server: &Metadata) -> Result<(), Error> {
        let names = match &self.method {
            // Many servers do not list `none`, and no secret is lost if the server refuses it.
            Method::None { .. } => return Ok(()),
            Method::Tls { .. } => &["tls_client_auth", "self_signed_tls_client_auth"],
            Method::Secret { placement, .. } => {
                if *placement == SecretPlacement::BasicOrPost {
                    server.check_auth_methods()?;
                }
                placement.methods()
            }
            Method::Assertion { assertion, .. } => assertion.methods(),
        };
        if names.iter().any(|name| server.supports_auth_method(name)) {
            return Ok(());
        }
        Err(Error::config(format!(
            "the authorization server does not support {}; its metadata lists {}: use another `ClientAuth`",
            names.join(" or "),
            server.displayed_auth_methods()
        )))
    }

    /// Hashes what identifies the client: its id, how it authenticates, and its secret or where that is kept.
    pub(crate) fn hash_identity(&self, hash: &mut impl Hasher) {
        match &self.method {
            Method::None { id } => ("none", id).hash(hash),
            Method::Tls { id } => ("tls", id).hash(hash),
            Method::Secret { id, secret, placement } => {
                ("secret", id, placement).hash(hash);
                secret.hash_identity(hash);
            }
            Method::Assertion { id, assertion, kind } => {
                ("assertion", id, kind).hash(hash);
                assertion.hash_identity(hash);
            }
        }
    }

    /// Adds the client to an identity, and how it proves who it is.
    pub(crate) async fn identify(&self, identity: SourceIdentity) -> Result<SourceIdentity, Error> {
        match &self.method {
            Method::None { id } => Ok(identity.with("public client", id)),
            Method::Tls { id } => Ok(identity.with("client of a certificate", id)),
            Method::Secret { id, secret, .. } => {
                Ok(identity.with("client", id).with_secret("client secret", secret.proof().await?.expose()))
            }
            Method::Assertion { id: Some(id), assertion, .. } => assertion.prove(identity.with("client", id)).await,
            Method::Assertion { id: None, assertion, .. } => assertion.identify(identity).await,
        }
    }

    /// Returns a number that changes when the secret changes.
    pub(crate) fn version(&self) -> u64 {
        match &self.method {
            Method::None { .. } | Method::Tls { .. } => 0,
            Method::Secret { secret, .. } => secret.version(),
            Method::Assertion { assertion, .. } => assertion.version(),
        }
    }
}

impl SecretPlacement {
    fn is_in_body(self, server: &Metadata, id: &str, secret: &str) -> bool {
        match self {
            Self::Basic | Self::BasicRaw => false,
            Self::Post => true,
            Self::BasicOrPost if server.lists_auth_method("client_secret_post") => {
                !server.lists_auth_method("client_secret_basic") || [id, secret].into_iter().any(is_changed_by_encoding)
            }
            Self::BasicOrPost => {
                server.client_auth_methods().next().is_none() && [id, secret].iter().any(|it| it.contains(':'))
            }
        }
    }

    fn methods(self) -> &'static [&'static str] {
        match self {
            Self::Basic | Self::BasicRaw => &["client_secret_basic"],
            Self::Post => &["client_secret_post"],
            Self::BasicOrPost => &["client_secret_basic", "client_secret_post"],
        }
    }
}

#[expect(clippy::missing_fields_in_debug, reason = "a misplaced setter fails the build of the grant, which names it")]
impl fmt::Debug for ClientAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.method {
            Method::None { id } => f.debug_struct("None").field("id", id).finish(),
            Method::Tls { id } => f.debug_struct("Tls").field("id", id).finish(),
            Method::Secret { id, secret, placement } => {
                f.debug_struct("Secret").field("id", id).field("secret", secret).field("placement", placement).finish()
            }
            Method::Assertion { id, assertion, .. } => {
                f.debug_struct("Assertion").field("id", id).field("assertion", assertion).finish()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_in_a_raw_id_is_refused_before_it_is_misread() {
        assert!(ClientAuth::basic_raw("a:b", "s").check().is_err());
        assert!(ClientAuth::basic("a:b", "s").check().is_ok());
        assert!(ClientAuth::none("").check().is_err());
    }
}
