//! An assertion that this program signs (RFC 7523 §3).

use std::{
    fmt,
    hash::{Hash, Hasher},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    error::Error,
    grant::{authentication::signing_key::SigningKey, exchange::request_context::RequestContext},
    secret_string::SecretString,
    source::SourceIdentity,
};

/// What an assertion is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum AssertionUse {
    /// It authenticates the client (RFC 7523 §2.2, RFC 10070).
    ClientAuthentication,
    /// It is a grant (RFC 7523 §2.1).
    Grant,
}

/// A JWT that authenticates a client or identifies a user. A new one is signed for each token request (RFC 7523 §3).
///
/// Each has a new `jti`. It has no `nbf` and, by default, no `iat`: a server whose clock is behind would reject both as
/// being in the future. Its `exp` is half as far ahead as servers commonly allow, so the two clocks may differ by 150 s in
/// either direction.
///
/// ```
/// use tower_bearer::grant::{Assertion, ClientAuth, SigningKey};
///
/// # fn example(pem: String) {
/// let assertion = Assertion::new("client-id", "client-id", SigningKey::pem(pem).key_id("2026-01"))
///     .audience("https://auth.example.org");
/// let auth = ClientAuth::assertion(assertion);
/// # }
/// ```
#[derive(Clone)]
pub struct Assertion {
    issuer: String,
    subject: String,
    key: SigningKey,
    audience: Option<String>,
    lifetime: Duration,
    issued_at: bool,
    claims: Map<String, Value>,
    /// The parameters of the header that the user set.
    header: Map<String, Value>,
    /// What is wrong with a claim or a parameter, and what to do.
    wrong: Option<String>,
}

impl Assertion {
    /// Creates an assertion by `issuer` about `subject`. For a client that authenticates itself, both are the client id.
    pub fn new(issuer: impl Into<String>, subject: impl Into<String>, key: SigningKey) -> Self {
        Self {
            issuer: issuer.into(),
            subject: subject.into(),
            key,
            audience: None,
            lifetime: Duration::from_secs(150),
            issued_at: false,
            claims: Map::new(),
            header: Map::new(),
            wrong: None,
        }
    }

    /// Sets whom the assertion is for (`aud`).
    ///
    /// Default for the authentication of a client: the identifier of the issuer, if the server was found by it
    /// ([`AuthorizationServer::issuer`](crate::grant::AuthorizationServer::issuer)), and nothing else (RFC 10070). In all other
    /// cases, and always for SMART: the token URL, as it was given or discovered.
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// Sets how long the assertion is valid. Default: 150 s.
    ///
    /// Some servers let the token live only as long as the assertion. A server that follows SMART App Launch refuses more than
    /// 5 min.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// Adds the time of signing (`iat`), for servers that require it. Default: off.
    #[must_use]
    pub fn with_issued_at(mut self, with: bool) -> Self {
        self.issued_at = with;
        self
    }

    /// Adds a custom claim. It replaces a claim with the same name. Default: none.
    ///
    /// If the value cannot be JSON (a map whose keys are not strings, for example), building the grant fails.
    #[must_use]
    pub fn claim(mut self, name: impl Into<String>, value: impl Serialize) -> Self {
        let name = name.into();
        match serde_json::to_value(value) {
            Ok(value) => drop(self.claims.insert(name, value)),
            Err(_) => self.wrong = Some(not_json("claim", &name)),
        }
        self
    }

    /// Adds a parameter to the header (RFC 7515 §4.1), such as `x5t#S256` or `x5c` for servers that know the certificate of the
    /// key. It replaces one with the same name.
    ///
    /// Defaults: `kid`, if the key has a name, and `typ`. That is `client-authentication+jwt` for the authentication of a client
    /// (RFC 10070). It is `JWT` for a grant and for SMART. `alg` cannot be set: the key decides it.
    ///
    /// If the value cannot be JSON, building the grant fails.
    ///
    /// ```
    /// # use tower_bearer::grant::{Assertion, SigningKey};
    /// # fn example(key: SigningKey) {
    /// let thumbprint = "sDnEqDANavAL0_JQyGEpAj39ORoJ1OiOMeyhVihcPLU"; // of the certificate, in base64url
    /// let assertion = Assertion::new("client-id", "client-id", key).header("x5t#S256", thumbprint);
    /// # }
    /// ```
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Serialize) -> Self {
        let name = name.into();
        match serde_json::to_value(value) {
            _ if name == "alg" => {
                self.wrong =
                    Some("`alg` is set in the header of an assertion: call `SigningKey::algorithm` instead".to_owned());
            }
            Ok(value) => drop(self.header.insert(name, value)),
            Err(_) => self.wrong = Some(not_json("header parameter", &name)),
        }
        self
    }

    pub(crate) async fn jwt(&self, context: &RequestContext<'_>, purpose: AssertionUse) -> Result<SecretString, Error> {
        // SMART App Launch 2.2 says both: the token URL, and `JWT`.
        let is_smart = self.key.is_for_backend_services() || context.server.is_smart();
        let is_plain = purpose == AssertionUse::Grant || is_smart;
        let mut header = Map::new();
        header.insert("typ".to_owned(), if is_plain { "JWT" } else { "client-authentication+jwt" }.into());
        header.extend(self.header.clone());
        let issuer = context.server.issuer().filter(|_| !is_plain);
        let audience = issuer.unwrap_or_else(|| context.server.token_endpoint());
        self.key.sign(&header, &Value::Object(self.claims(context, audience))).await
    }

    fn claims(&self, context: &RequestContext<'_>, default_audience: &str) -> Map<String, Value> {
        let since = context.now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let audience = self.audience.as_deref().unwrap_or(default_audience);
        let mut claims = Map::from_iter([
            ("iss".to_owned(), self.issuer.as_str().into()),
            ("sub".to_owned(), self.subject.as_str().into()),
            ("aud".to_owned(), audience.into()),
            ("exp".to_owned(), since.saturating_add(self.lifetime).as_secs().into()),
            ("jti".to_owned(), unique_id(context.now).into()),
        ]);
        if self.issued_at {
            claims.insert("iat".to_owned(), since.as_secs().into());
        }
        claims.extend(self.claims.clone());
        claims
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.issuer.is_empty() || self.subject.is_empty() {
            return Err(Error::config(
                "the assertion's issuer or subject is empty: for a client that authenticates itself, set both to its id",
            ));
        }
        if let Some(wrong) = &self.wrong {
            return Err(Error::config(wrong.clone()));
        }
        self.key.check()
    }

    pub(crate) fn methods(&self) -> &'static [&'static str] {
        if self.key.is_client_secret() { &["client_secret_jwt"] } else { &["private_key_jwt"] }
    }

    /// Hashes what identifies the party that it is about.
    pub(crate) fn hash_identity(&self, hash: &mut impl Hasher) {
        (&self.issuer, &self.subject).hash(hash);
        self.key.hash_identity(hash);
    }

    /// Adds the party that it is about to an identity, and all that an authorization server may look at.
    pub(crate) fn identify(&self, identity: SourceIdentity) -> SourceIdentity {
        let json = |map: &Map<String, Value>| serde_json::to_vec(map).unwrap_or_default();
        identity
            .with("issuer of the assertion", &self.issuer)
            .with("subject of the assertion", &self.subject)
            .with("audience of the assertion", self.audience.as_deref().unwrap_or_default())
            .with("claims of the assertion", json(&self.claims))
            .with("header of the assertion", json(&self.header))
    }

    pub(crate) async fn proof(&self) -> Result<SecretString, Error> {
        self.key.proof().await
    }

    pub(crate) fn version(&self) -> u64 {
        self.key.version()
    }
}

fn not_json(what: &str, name: &str) -> String {
    format!("the value of the {what} `{name}` cannot be written as JSON: use strings for the keys of its maps")
}

/// Returns an id that is never the same twice: the time, and 128 random bits for other programs that sign in the same
/// nanosecond.
fn unique_id(now: SystemTime) -> String {
    let nanos = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    format!("{nanos:x}-{:032x}", fastrand::u128(..))
}

impl fmt::Debug for Assertion {
    /// Does not show the custom claims, which may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assertion")
            .field("issuer", &self.issuer)
            .field("subject", &self.subject)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}
