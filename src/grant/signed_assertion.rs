//! An assertion that is signed here (RFC 7523 §3).

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use secrecy::SecretString;
use serde_json::{Map, Value};

use crate::{
    error::Error,
    grant::{form::At, signing_key::SigningKey},
};

/// A JWT that vouches for a client or a user, signed afresh for each token request (RFC 7523 §3).
///
/// Its `jti` is new each time. It names no `nbf` and, unless asked for, no `iat`: a server whose clock is behind ours would
/// refuse both as of the future. `exp` lies half as far ahead as servers commonly allow, so the two clocks may differ by
/// 150 s either way.
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
}

impl Assertion {
    /// An assertion by `issuer` about `subject`. A client that vouches for itself is both.
    pub fn new(issuer: impl Into<String>, subject: impl Into<String>, key: SigningKey) -> Self {
        Self {
            issuer: issuer.into(),
            subject: subject.into(),
            key,
            audience: None,
            lifetime: Duration::from_secs(150),
            issued_at: false,
            claims: Map::new(),
        }
    }

    /// Who it is for (`aud`). Default: the token URL, as it was given or discovered.
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// How long it is good for. Default: 150 s.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// Says when it was made (`iat`), for servers that ask for it. Default: off.
    #[must_use]
    pub fn with_issued_at(mut self, with: bool) -> Self {
        self.issued_at = with;
        self
    }

    /// A claim of one's own; it replaces one of the same name. Default: none.
    #[must_use]
    pub fn claim(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.claims.insert(name.into(), value.into());
        self
    }

    pub(crate) async fn jwt(&self, at: &At<'_>) -> Result<SecretString, Error> {
        self.key.sign(&Value::Object(self.claims(at))).await
    }

    fn claims(&self, at: &At<'_>) -> Map<String, Value> {
        let since = at.now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let audience = self.audience.as_deref().unwrap_or_else(|| at.server.token_endpoint());
        let mut claims = Map::from_iter([
            ("iss".to_owned(), self.issuer.as_str().into()),
            ("sub".to_owned(), self.subject.as_str().into()),
            ("aud".to_owned(), audience.into()),
            ("exp".to_owned(), since.saturating_add(self.lifetime).as_secs().into()),
            ("jti".to_owned(), unique(at.now).into()),
        ]);
        if self.issued_at {
            claims.insert("iat".to_owned(), since.as_secs().into());
        }
        claims.extend(self.claims.clone());
        claims
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.issuer.is_empty() || self.subject.is_empty() {
            return Err(Error::config("the assertion's issuer or subject is empty: for a client, both are its id"));
        }
        self.key.check()
    }

    pub(crate) fn methods(&self) -> &'static [&'static str] {
        if self.key.is_shared() { &["client_secret_jwt"] } else { &["private_key_jwt"] }
    }

    pub(crate) fn version(&self) -> u64 {
        self.key.version()
    }
}

/// Never the same twice: the time, and 128 random bits for those who ask in the same nanosecond elsewhere.
fn unique(now: SystemTime) -> String {
    let nanos = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    format!("{nanos:x}-{:032x}", fastrand::u128(..))
}

impl fmt::Debug for Assertion {
    /// Without the claims of one's own, which may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assertion")
            .field("issuer", &self.issuer)
            .field("subject", &self.subject)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}
