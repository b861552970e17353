//! An issued token, ready to be put on a request.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime},
};

use crate::secret_string::SecretString;
use bytes::Bytes;
use http::HeaderValue;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::{
    clock,
    error::Error,
    per_core::CachePadded,
    scope::Scopes,
    token::{
        claims::Claims,
        jwt,
        lifetime::{JwtTimes, Lifetime},
    },
};

const SCHEME: &str = "Bearer ";

/// An issued access token: its header value, which is made once, and what is known about its lifetime.
///
/// It is cheap to clone. `Debug` does not show the token. Its memory is wiped when the last clone and the last request that
/// carried it are dropped.
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
pub struct AccessToken(Arc<TokenState>);

#[derive(Clone)]
struct TokenState {
    /// `Bearer ` and the token. It is wiped when the last reference to it is dropped.
    line: Bytes,
    header: HeaderValue,
    issued_at: Instant,
    expires_in: Lifetime,
    jwt: Option<JwtTimes>,
    /// The time of day at issue, by the issuer's clock if the issuer sent its time.
    issued_wall: SystemTime,
    refresh_in: Option<Duration>,
    scope: Option<Box<str>>,
    scopes: OnceLock<Option<Scopes>>,
    generation: u64,
}

impl AccessToken {
    /// Creates a token that was issued now. If it is a JWT, its `exp` and `iat` are read (RFC 7519 §4.1), without verifying it.
    ///
    /// # Errors
    /// When the token is empty, or has characters that RFC 6750 §2.1 (`b64token`) does not allow in a header: a newline, a
    /// space, or a character that is not ASCII.
    pub fn new(token: impl Into<SecretString>) -> Result<Self, Error> {
        let token: SecretString = token.into();
        let token = token.expose();
        if let Some(why) = unusable_text(token) {
            return Err(Error::unusable_token(why));
        }
        let mut line = Zeroizing::new(Vec::with_capacity(SCHEME.len() + token.len()));
        line.extend_from_slice(SCHEME.as_bytes());
        line.extend_from_slice(token.as_bytes());
        let line = Bytes::from_owner(line);
        let header = header_value(line.clone()).ok_or_else(|| Error::unusable_token("it cannot be put in a header"))?;
        Ok(Self(Arc::new(TokenState {
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

    /// Sets the lifetime that the issuer gave (`expires_in`, RFC 6749 §5.1). Default: unknown.
    #[must_use]
    pub fn with_expires_in(self, lifetime: impl Into<Lifetime>) -> Self {
        self.with(|state| state.expires_in = lifetime.into())
    }

    /// Sets the age at which the issuer wants the token to be renewed. Default: none, so the cache decides.
    #[must_use]
    pub fn with_refresh_in(self, age: Duration) -> Self {
        self.with(|state| state.refresh_in = Some(age))
    }

    /// Sets the granted scope (RFC 6749 §3.3). Default: unknown.
    #[must_use]
    pub fn with_scope(self, scope: impl Into<Box<str>>) -> Self {
        self.with(|state| {
            state.scope = Some(scope.into());
            state.scopes = OnceLock::new();
        })
    }

    /// Sets the time of day at issue by the issuer's clock (its `Date`), for a JWT with an `exp` and no `iat`.
    pub(crate) fn with_issuer_time(self, date: SystemTime) -> Self {
        self.with(|state| state.issued_wall = date)
    }

    /// Lets the token be at least as old as `instant`.
    pub(crate) fn issued_before(self, instant: Instant) -> Self {
        self.with(|state| state.issued_at = state.issued_at.min(instant))
    }

    pub(crate) fn with_generation(self, generation: u64) -> Self {
        self.with(|state| state.generation = generation)
    }

    fn with(mut self, change: impl FnOnce(&mut TokenState)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// Returns the token itself. Keep it out of logs.
    #[must_use]
    pub fn secret(&self) -> &str {
        str::from_utf8(&self.0.line[SCHEME.len()..]).unwrap_or_default()
    }

    /// Returns the value of the `Authorization` header (RFC 6750 §2.1), marked sensitive.
    #[must_use]
    pub fn header_value(&self) -> HeaderValue {
        self.0.header.clone()
    }

    /// Returns the same value with a separate reference count, on a separate cache line.
    pub(crate) fn header_copy(&self) -> HeaderValue {
        header_value(Bytes::from_owner(CachePadded(self.0.line.clone()))).unwrap_or_else(|| self.header_value())
    }

    /// Returns how long the token lives, counted from its issue: the smaller of `expires_in` and the JWT's `exp − iat`.
    ///
    /// The local clock is used only for a JWT without `iat` from an issuer that sends neither `expires_in` nor `Date`. In all
    /// other cases a wrong local clock changes nothing.
    #[must_use]
    pub fn lifetime(&self) -> Lifetime {
        let Some(jwt) = &self.0.jwt else { return self.0.expires_in };
        match self.0.expires_in.or_shorter(jwt.lifetime()) {
            Lifetime::Unknown => jwt.remaining(self.0.issued_wall),
            known => known,
        }
    }

    /// Returns when the token was issued, by tokio's clock.
    #[must_use]
    pub fn issued_at(&self) -> Instant {
        self.0.issued_at
    }

    /// Returns the age at which the issuer wants the token to be renewed, if it gave one.
    #[must_use]
    pub fn refresh_in(&self) -> Option<Duration> {
        self.0.refresh_in
    }

    /// Returns the granted scope, as the issuer's response gave it.
    #[must_use]
    pub fn scope(&self) -> Option<&str> {
        self.0.scope.as_deref()
    }

    /// Returns the granted scopes: those in the issuer's response (RFC 6749 §5.1), or else those that a JWT claims. They are
    /// parsed at the first call. Returns `None` when neither names them, or when they are not valid.
    #[must_use]
    pub fn scopes(&self) -> Option<&Scopes> {
        let read = || match self.scope() {
            Some(scope) => scope.parse().ok(),
            None => self.claims::<Claims>()?.scopes,
        };
        self.0.scopes.get_or_init(read).as_ref()
    }

    /// Returns the claims of a JWT, as [`Claims`] or your own type. They are parsed at each call, and they are **not
    /// verified**.
    ///
    /// Returns `None` for a token that is not a JWT or does not fit the type. Access tokens are for the API to read. A client
    /// must work without their claims (RFC 9068 §6).
    #[must_use]
    pub fn claims<C: DeserializeOwned>(&self) -> Option<C> {
        jwt::claims(self.secret())
    }

    /// Returns the number of this token among the tokens of its cache, counted from 1. It is 0 before a cache has the token.
    /// If the issuer returns the same token again, the number stays the same.
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

/// Returns why a text is not a token, and after a semicolon what to do if that is known.
fn unusable_text(token: &str) -> Option<&'static str> {
    let has = |bad: fn(char) -> bool| token.chars().any(bad);
    if is_b64token(token) {
        None
    } else if token.is_empty() {
        Some("it is empty")
    } else if token.get(..SCHEME.len()).is_some_and(|start| start.eq_ignore_ascii_case(SCHEME)) {
        Some("it contains a space; remove the `Bearer ` prefix")
    } else if has(|c| c == '\n' || c == '\r') {
        Some("it contains a line end; remove it")
    } else if has(char::is_whitespace) {
        Some("it contains a space")
    } else {
        Some("it has a character that is not allowed in a token (RFC 6750 §2.1)")
    }
}

/// Returns whether a text is a `b64token` (RFC 6750 §2.1).
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
    fn a_token_that_is_not_allowed_in_a_header_is_refused() {
        for bad in ["", "=", "a b", "a\nb", "a\0b", "ä", "a\"b", "a=b"] {
            assert!(AccessToken::new(bad).is_err(), "{bad:?}");
        }
        assert!(AccessToken::new("aZ09-._~+/==").is_ok());
    }

    #[test]
    fn a_refused_token_says_what_to_do_and_not_what_it_is() {
        for (bad, says) in [
            ("", "it is empty; check"),
            ("Bearer s3cret", "it contains a space; remove the `Bearer ` prefix"),
            ("bearer s3cret\n", "it contains a space; remove the `Bearer ` prefix"),
            ("s3cret\n", "it contains a line end; remove it"),
            ("s3cret s3cret", "it contains a space; check"),
            ("s3cret\"", "it has a character that is not allowed in a token"),
            ("ääääs3cret", "it has a character that is not allowed in a token"),
        ] {
            let text = AccessToken::new(bad).unwrap_err().to_string();
            assert!(text.contains(says) && !text.contains("s3cret"), "{bad:?}: {text}");
        }
    }

    #[test]
    fn the_header_value_is_sensitive_and_debug_does_not_show_the_token() {
        let token = AccessToken::new("s3cret").unwrap();
        assert_eq!(token.header_value(), "Bearer s3cret");
        assert_eq!(token.secret(), "s3cret");
        assert!(!format!("{token:?} {:?}", token.header_value()).contains("s3cret"));
    }

    #[test]
    fn a_jwts_own_lifetime_needs_no_clock() {
        assert_eq!(jwt(r#"{"exp":1060.5,"iat":1000}"#).lifetime(), Lifetime::from_secs_f64(60.5));
        assert_eq!(jwt(r#"{"exp":1000,"iat":1000}"#).lifetime(), Lifetime::AlreadyExpired);
    }

    #[test]
    fn the_smaller_of_expires_in_and_the_jwts_lifetime_counts() {
        let token = jwt(r#"{"exp":1060,"iat":1000}"#);
        assert_eq!(token.clone().with_expires_in(Duration::from_secs(30)).lifetime(), Lifetime::from_secs_f64(30.0));
        assert_eq!(token.with_expires_in(Duration::from_secs(90)).lifetime(), Lifetime::from_secs_f64(60.0));
    }

    #[test]
    fn an_exp_without_iat_is_measured_from_the_issuers_date() {
        let token = jwt(r#"{"exp":1060}"#).with_issuer_time(UNIX_EPOCH + Duration::from_secs(1000));
        assert_eq!(token.lifetime(), Lifetime::from_secs_f64(60.0));
    }

    #[test]
    fn an_exp_in_the_past_of_the_local_clock_is_ignored() {
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
    fn a_token_that_is_not_a_jwt_is_accepted() {
        for opaque in ["abc", "a.b.c", "a.b", "..."] {
            assert_eq!(AccessToken::new(opaque).unwrap().lifetime(), Lifetime::Unknown);
        }
        assert_eq!(jwt(r#"{"exp":"soon"}"#).lifetime(), Lifetime::Unknown);
    }
}
