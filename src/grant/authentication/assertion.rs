//! An assertion that this program signs (RFC 7523 §3).

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    error::Error,
    grant::{authentication::signing_key::SigningKey, exchange::request_context::RequestContext},
    secret_string::SecretString,
};

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
    /// The name of a claim whose value is not JSON.
    invalid_claim: Option<String>,
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
            invalid_claim: None,
        }
    }

    /// Sets whom the assertion is for (`aud`). Default: the token URL, as it was given or discovered.
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// Sets how long the assertion is valid. Default: 150 s.
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
            Err(_) => self.invalid_claim = Some(name),
        }
        self
    }

    pub(crate) async fn jwt(&self, context: &RequestContext<'_>) -> Result<SecretString, Error> {
        self.key.sign(&Value::Object(self.claims(context))).await
    }

    fn claims(&self, context: &RequestContext<'_>) -> Map<String, Value> {
        let since = context.now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let audience = self.audience.as_deref().unwrap_or_else(|| context.server.token_endpoint());
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
        if let Some(name) = &self.invalid_claim {
            return Err(Error::config(format!(
                "the value of the claim `{name}` cannot be written as JSON: use strings for the keys of its maps"
            )));
        }
        self.key.check()
    }

    pub(crate) fn methods(&self) -> &'static [&'static str] {
        if self.key.is_client_secret() { &["client_secret_jwt"] } else { &["private_key_jwt"] }
    }

    pub(crate) fn version(&self) -> u64 {
        self.key.version()
    }
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
