//! The issued token, ready to be put on a request.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::{
    clock,
    error::Error,
    per_core::CachePadded,
    scope::Scopes,
    token::{
        claims::{self, Claims},
        lifetime::{JwtTimes, Lifetime},
    },
};

const SCHEME: &str = "Bearer ";

/// An issued access token: its header value, made once, and what is known of its life.
///
/// Cheap to clone. `Debug` shows everything but the token; the memory that held it is wiped when the last clone and the
/// last request that carried it are gone.
///
/// ```
/// use std::time::Duration;
/// use tower_bearer::{AccessToken, Lifetime};
///
/// let token = AccessToken::new("mF_9.B5f-4.1JqM")?.with_expires_in(Duration::from_secs(3600));
/// assert_eq!(token.lifetime(), Lifetime::For(Duration::from_secs(3600)));
/// assert!(!format!("{token:?}").contains("mF_9"));
/// # Ok::<(), tower_bearer::Error>(())
/// ```
#[derive(Clone)]
pub struct AccessToken(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    /// `Bearer ` and the token. Wiped when the last of those who share it is gone.
    line: Bytes,
    header: HeaderValue,
    issued_at: Instant,
    expires_in: Lifetime,
    jwt: Option<JwtTimes>,
    /// The time of day at issue, by the issuer's clock where it told it.
    issued_wall: SystemTime,
    refresh_in: Option<Duration>,
    scope: Option<Box<str>>,
    scopes: OnceLock<Option<Scopes>>,
    generation: u64,
}

impl AccessToken {
    /// A token issued now. If it is a JWT, its `exp` and `iat` are read (RFC 7519 §4.1), without verifying it.
    ///
    /// # Errors
    /// When it is empty or has characters that RFC 6750 §2.1 (`b64token`) does not allow in a header: a newline, a
    /// space, anything that is not ASCII.
    pub fn new(token: impl Into<SecretString>) -> Result<Self, Error> {
        let token: SecretString = token.into();
        let token = token.expose_secret();
        if !is_b64token(token) {
            return Err(Error::not_a_token("the token has characters that cannot stand in a header (RFC 6750 §2.1)"));
        }
        let mut line = Zeroizing::new(Vec::with_capacity(SCHEME.len() + token.len()));
        line.extend_from_slice(SCHEME.as_bytes());
        line.extend_from_slice(token.as_bytes());
        let line = Bytes::from_owner(line);
        let header =
            header_value(line.clone()).ok_or_else(|| Error::not_a_token("the token cannot stand in a header"))?;
        Ok(Self(Arc::new(Inner {
            line,
            header,
            issued_at: Instant::now(),
            expires_in: Lifetime::Unknown,
            jwt: JwtTimes::read(token),
            issued_wall: clock::wall_now(),
            refresh_in: None,
            scope: None,
            scopes: OnceLock::new(),
            generation: 0,
        })))
    }

    /// Sets how long the issuer says that the token lives (`expires_in`, RFC 6749 §5.1). Default: unknown.
    #[must_use]
    pub fn with_expires_in(self, lifetime: impl Into<Lifetime>) -> Self {
        self.with(|inner| inner.expires_in = lifetime.into())
    }

    /// Sets the age from which the issuer wants the token renewed. Default: the cache decides.
    #[must_use]
    pub fn with_refresh_in(self, age: Duration) -> Self {
        self.with(|inner| inner.refresh_in = Some(age))
    }

    /// Sets the granted scope (RFC 6749 §3.3). Default: unknown.
    #[must_use]
    pub fn with_scope(self, scope: impl Into<Box<str>>) -> Self {
        self.with(|inner| {
            inner.scope = Some(scope.into());
            inner.scopes = OnceLock::new();
        })
    }

    /// Sets the time of day at issue by the issuer's own clock (its `Date`), for a JWT with an `exp` and no `iat`.
    pub(crate) fn with_issuer_time(self, date: SystemTime) -> Self {
        self.with(|inner| inner.issued_wall = date)
    }

    pub(crate) fn with_generation(self, generation: u64) -> Self {
        self.with(|inner| inner.generation = generation)
    }

    fn with(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// The token itself. Keep it out of logs.
    #[must_use]
    pub fn secret(&self) -> &str {
        str::from_utf8(&self.0.line[SCHEME.len()..]).unwrap_or_default()
    }

    /// The value of the `Authorization` header (RFC 6750 §2.1), marked sensitive.
    #[must_use]
    pub fn header_value(&self) -> HeaderValue {
        self.0.header.clone()
    }

    /// The same value, with a reference count of its own, on a cache line of its own.
    pub(crate) fn header_copy(&self) -> HeaderValue {
        header_value(Bytes::from_owner(CachePadded(self.0.line.clone()))).unwrap_or_else(|| self.header_value())
    }

    /// How long it lives from its issue on: the smaller of `expires_in` and the JWT's `exp − iat`.
    ///
    /// The local clock takes part only for a JWT without `iat` from an issuer that gives neither `expires_in` nor `Date`:
    /// elsewhere a wrong local clock changes nothing.
    #[must_use]
    pub fn lifetime(&self) -> Lifetime {
        let Some(jwt) = &self.0.jwt else { return self.0.expires_in };
        match self.0.expires_in.or_shorter(jwt.lifetime()) {
            Lifetime::Unknown => jwt.remaining(self.0.issued_wall),
            known => known,
        }
    }

    /// When it was issued, on tokio's clock.
    #[must_use]
    pub fn issued_at(&self) -> Instant {
        self.0.issued_at
    }

    /// The age from which its issuer wants it renewed, if it said so.
    #[must_use]
    pub fn refresh_in(&self) -> Option<Duration> {
        self.0.refresh_in
    }

    /// The granted scope, as the issuer's answer told it.
    #[must_use]
    pub fn scope(&self) -> Option<&str> {
        self.0.scope.as_deref()
    }

    /// The granted scopes: those of the issuer's answer (RFC 6749 §5.1), else those that a JWT claims. Read when first asked
    /// for; `None` when neither tells, or when what it tells is no scope.
    #[must_use]
    pub fn scopes(&self) -> Option<&Scopes> {
        let read = || match self.scope() {
            Some(scope) => scope.parse().ok(),
            None => self.claims::<Claims>()?.scopes,
        };
        self.0.scopes.get_or_init(read).as_ref()
    }

    /// What a JWT claims, as [`Claims`] or a type of your own. Read anew at each call, and **not verified**.
    ///
    /// `None` for a token that is no JWT or does not fit the type. Access tokens are for the API to read; a client must
    /// do without (RFC 9068 §6).
    #[must_use]
    pub fn claims<C: DeserializeOwned>(&self) -> Option<C> {
        claims::read(self.secret())
    }

    /// Which of its cache's tokens this is, counted from 1; 0 before a cache has it. An issuer that returns the same
    /// token again does not begin a new generation.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.0.generation
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken")
            .field("secret", &"[redacted]")
            .field("generation", &self.0.generation)
            .field("lifetime", &self.lifetime())
            .field("scope", &self.0.scope)
            .finish_non_exhaustive()
    }
}

fn header_value(line: Bytes) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_maybe_shared(line).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// `b64token` of RFC 6750 §2.1.
fn is_b64token(token: &str) -> bool {
    let body = token.trim_end_matches('=');
    !body.is_empty() && body.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as B64};

    use super::*;

    fn jwt(claims: &str) -> AccessToken {
        let token = format!("{}.{}.c2ln", B64.encode(r#"{"alg":"none"}"#), B64.encode(claims));
        AccessToken::new(token).unwrap()
    }

    #[test]
    fn a_token_that_cannot_stand_in_a_header_is_refused() {
        for bad in ["", "=", "a b", "a\nb", "a\0b", "ä", "a\"b", "a=b"] {
            assert!(AccessToken::new(bad).is_err(), "{bad:?}");
        }
        assert!(AccessToken::new("aZ09-._~+/==").is_ok());
    }

    #[test]
    fn the_header_value_is_sensitive_and_the_token_is_in_no_debug() {
        let token = AccessToken::new("s3cret").unwrap();
        assert_eq!(token.header_value(), "Bearer s3cret");
        assert_eq!(token.secret(), "s3cret");
        assert!(!format!("{token:?} {:?}", token.header_value()).contains("s3cret"));
    }

    /// RFC 7519 §4.1.4, §4.1.6.
    #[test]
    fn a_jwts_own_lifetime_needs_no_clock() {
        assert_eq!(jwt(r#"{"exp":1060.5,"iat":1000}"#).lifetime(), Lifetime::from_secs_f64(60.5));
        assert_eq!(jwt(r#"{"exp":1000,"iat":1000}"#).lifetime(), Lifetime::Once);
    }

    #[test]
    fn the_smaller_of_expires_in_and_the_jwts_lifetime_counts() {
        let token = jwt(r#"{"exp":1060,"iat":1000}"#);
        assert_eq!(token.clone().with_expires_in(Duration::from_secs(30)).lifetime(), Lifetime::from_secs_f64(30.0));
        assert_eq!(token.with_expires_in(Duration::from_secs(90)).lifetime(), Lifetime::from_secs_f64(60.0));
    }

    #[test]
    fn an_exp_without_iat_is_measured_from_the_issuers_own_date() {
        let token = jwt(r#"{"exp":1060}"#).with_issuer_time(UNIX_EPOCH + Duration::from_secs(1000));
        assert_eq!(token.lifetime(), Lifetime::from_secs_f64(60.0));
    }

    #[test]
    fn an_exp_in_the_past_of_a_doubtful_clock_says_nothing() {
        assert_eq!(jwt(r#"{"exp":1060}"#).lifetime(), Lifetime::Unknown);
    }

    #[test]
    fn the_scopes_of_the_answer_count_before_those_that_a_jwt_claims() {
        let token = jwt(r#"{"scope":"claimed"}"#);
        let claimed: Option<Scopes> = "claimed".parse().ok();
        assert_eq!(token.scopes(), claimed.as_ref());
        assert_eq!(token.clone().with_scope("granted").scopes().unwrap().to_string(), "granted");
        assert_eq!(token.clone().with_scope("").scopes().unwrap().to_string(), "");
        assert_eq!(token.with_scope("no\nscope").scopes(), None);
        assert_eq!(AccessToken::new("opaque").unwrap().scopes(), None);
    }

    /// RFC 9068 §6.
    #[test]
    fn claims_of_any_type_are_read_and_never_fail() {
        let token = jwt(r#"{"sub":"s","tenant":7}"#);
        assert_eq!(token.claims::<Claims>().unwrap().sub.as_deref(), Some("s"));
        assert_eq!(token.claims::<serde_json::Value>().unwrap()["tenant"], 7);
        assert_eq!(token.claims::<Vec<u8>>(), None);
        for other in [jwt("[]"), jwt("{"), AccessToken::new("a.b.c").unwrap(), AccessToken::new("opaque").unwrap()] {
            assert_eq!(other.claims::<Claims>(), None);
        }
    }

    /// RFC 9068 §6.
    #[test]
    fn what_is_no_jwt_is_as_good_as_any_token() {
        for opaque in ["abc", "a.b.c", "a.b", "..."] {
            assert_eq!(AccessToken::new(opaque).unwrap().lifetime(), Lifetime::Unknown);
        }
        assert_eq!(jwt(r#"{"exp":"soon"}"#).lifetime(), Lifetime::Unknown);
    }
}
