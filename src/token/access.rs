//! An issued token, ready to be put on a request.

use std::{
    borrow::Cow,
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
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
        response::ResponseMembers,
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
    /// How much older it is than `issued_at` says: the monotonic clock may have begun after its issue.
    older_by: Duration,
    jwt: Option<JwtTimes>,
    known_at: KnownAt,
    refresh_in: Option<Duration>,
    used_to_its_end: bool,
    scope: Option<Box<str>>,
    scopes: OnceLock<Option<Scopes>>,
    response: ResponseMembers,
    generation: u64,
    /// Whether the cache gave it for the second attempt of a request, whose answer is not known yet.
    for_retry: Option<Arc<AtomicBool>>,
}

/// The time of day when the token was received, and by which clock.
#[derive(Clone, Copy)]
enum KnownAt {
    /// It was issued at this time, by the local clock.
    New(SystemTime),
    /// It was issued at or before this time, by its issuer's clock.
    Answer(SystemTime),
    /// It was issued before this time, by the local clock.
    Stored(SystemTime),
}

impl AccessToken {
    /// Creates a token that was issued now. If it is a JWT, its `exp` and `iat` are read (RFC 7519 §4.1), without verifying it.
    ///
    /// It takes the token for new, even if its `iat` is long ago: the local clock may be wrong. A token from a file, a store or
    /// a sidecar may be old; use [`stored`](Self::stored) for it.
    ///
    /// # Errors
    /// When the token is empty or has a character that is not visible ASCII (RFC 6749 appendix A.12): a space, a control
    /// character such as a line end, or a character that is not ASCII. The error names the character and its position.
    /// Tokens that are not a `b64token` (RFC 6750 §2.1), such as `a:b` and `1|ab`, are accepted: many issuers make them.
    pub fn new(token: impl Into<SecretString>) -> Result<Self, Error> {
        let token: SecretString = token.into();
        let token = token.expose();
        if let Some(why) = unusable_text(token) {
            return Err(Error::unusable_token(why));
        }
        let line = line(SCHEME, token);
        let header = header_value(line.clone()).ok_or_else(|| Error::unusable_token("it cannot be put in a header"))?;
        Ok(Self(Arc::new(TokenState {
            line,
            header,
            issued_at: Instant::now(),
            expires_in: Lifetime::Unknown,
            older_by: Duration::ZERO,
            jwt: JwtTimes::read(token),
            known_at: KnownAt::New(clock::wall_now()),
            refresh_in: None,
            used_to_its_end: false,
            scope: None,
            scopes: OnceLock::new(),
            response: ResponseMembers::Absent,
            generation: 0,
            for_retry: None,
        })))
    }

    /// Creates a token that was issued some time ago: one from a file, a store or a sidecar.
    ///
    /// The age of a JWT is read from its `iat` and `exp`, by the local clock. One whose `exp` is past counts as expired: the
    /// requests that wait for it use it, and the next ones ask the source again. An opaque token, or a JWT without these
    /// claims, counts as new unless [`with_issue_time`](Self::with_issue_time) says otherwise.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    ///
    /// ```
    /// use tower_bearer::{AccessToken, Lifetime};
    ///
    /// // Its claims are `{"exp":1700000000}`: it expired in 2023.
    /// let token = AccessToken::stored("eyJhbGciOiJub25lIn0.eyJleHAiOjE3MDAwMDAwMDB9.")?;
    /// assert_eq!(token.lifetime(), Lifetime::AlreadyExpired);
    /// # Ok::<(), tower_bearer::Error>(())
    /// ```
    pub fn stored(token: impl Into<SecretString>) -> Result<Self, Error> {
        let now = clock::wall_now();
        let token = Self::new(token)?.with(|state| state.known_at = KnownAt::Stored(now));
        let age = token.0.jwt.map_or(Duration::ZERO, |jwt| jwt.age(now));
        Ok(token.aged(age))
    }

    /// Sets when the token was issued, by the local clock. Default: now, or what the claims of a [`stored`](Self::stored) JWT
    /// say.
    ///
    /// It is for a source that keeps tokens and knows their age. A source that knows only when a token ends gives what is left
    /// as the lifetime: `token.with_expires_in(end.duration_since(now).unwrap_or_default())`.
    #[must_use]
    pub fn with_issue_time(self, issued: SystemTime) -> Self {
        let age = clock::wall_now().duration_since(issued).unwrap_or_default();
        self.with(|state| state.known_at = KnownAt::Stored(issued)).aged(age)
    }

    /// Sets how old the token is now.
    fn aged(self, age: Duration) -> Self {
        self.with(|state| {
            let now = Instant::now();
            let issued_at = now.checked_sub(age);
            state.older_by = if issued_at.is_some() { Duration::ZERO } else { age };
            state.issued_at = issued_at.unwrap_or(now);
        })
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

    /// Has a cache serve the token until its lifetime ends, without a margin, because the next one would end at the same time.
    #[cfg(feature = "on-behalf-of")]
    pub(crate) fn used_to_its_end(self) -> Self {
        self.with(|state| state.used_to_its_end = true)
    }

    pub(crate) fn is_used_to_its_end(&self) -> bool {
        self.0.used_to_its_end
    }

    /// Sets the granted scope (RFC 6749 §3.3). Default: unknown.
    #[must_use]
    pub fn with_scope(self, scope: impl Into<String>) -> Self {
        self.with(|state| {
            state.scope = Some(scope.into().into());
            state.scopes = OnceLock::new();
        })
    }

    /// Sets the time of day of the answer by the issuer's clock (its `Date`).
    pub(crate) fn with_issuer_time(self, date: SystemTime) -> Self {
        self.with(|state| state.known_at = KnownAt::Answer(date))
    }

    /// Sets the other members of the token response.
    pub(crate) fn with_response(self, response: ResponseMembers) -> Self {
        self.with(|state| state.response = response)
    }

    /// Sets the lifetime and the age of a token that another process received. That process has read its claims, and knew the
    /// time of its issuer.
    pub(crate) fn with_known_life(self, lifetime: Lifetime, age: Duration) -> Self {
        self.with(|state| {
            state.jwt = None;
            state.expires_in = lifetime;
        })
        .aged(age)
    }

    /// Returns the other members of the token response.
    pub(crate) fn response_members(&self) -> &ResponseMembers {
        &self.0.response
    }

    /// Lets the token be at least as old as `instant`.
    pub(crate) fn issued_before(self, instant: Instant) -> Self {
        self.with(|state| state.issued_at = state.issued_at.min(instant))
    }

    /// Sets its number among the tokens of a cache. What another cache gave it for does not count there.
    pub(crate) fn with_generation(self, generation: u64) -> Self {
        self.with(|state| (state.generation, state.for_retry) = (generation, None))
    }

    /// Marks it as the token of a request's second attempt.
    pub(crate) fn for_retry(self) -> Self {
        self.with(|state| state.for_retry = Some(Arc::new(AtomicBool::new(true))))
    }

    /// Returns whether its next answer is the one to a second attempt. That is so once.
    pub(crate) fn take_retry(&self) -> bool {
        self.0.for_retry.as_ref().is_some_and(|for_retry| for_retry.swap(false, Relaxed))
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

    /// Returns the value of a header that has another scheme before the token, or none. It is marked sensitive.
    pub(crate) fn header_value_with(&self, scheme: Option<&str>) -> HeaderValue {
        let value = match scheme {
            None => self.0.line.slice(SCHEME.len()..),
            Some(scheme) if scheme == SCHEME.trim_end() => return self.header_value(),
            Some(scheme) => line(&format!("{scheme} "), self.secret()),
        };
        header_value(value).unwrap_or_else(|| self.header_value())
    }

    /// Returns the same value with a separate reference count, on a separate cache line.
    pub(crate) fn header_copy(&self) -> HeaderValue {
        header_value(Bytes::from_owner(CachePadded(self.0.line.clone()))).unwrap_or_else(|| self.header_value())
    }

    /// Returns how long the token lives, counted from its [issue](Self::issued_at): the smallest of `expires_in`, the JWT's
    /// `exp − iat`, and `exp − Date`, where `Date` is the issuer's time in its answer.
    ///
    /// An `iat` that is not before `exp`, is in milliseconds, or is ahead of `Date` is ignored. So is an `exp` that is past. The
    /// local clock is used only for a [`stored`](Self::stored) token, and for a JWT without `iat` from an issuer that sends
    /// neither `expires_in` nor `Date`. In all other cases a wrong local clock changes nothing.
    #[must_use]
    pub fn lifetime(&self) -> Lifetime {
        let TokenState { expires_in, older_by, jwt, known_at, .. } = &*self.0;
        let lifetime = match (jwt, known_at) {
            (None, _) => *expires_in,
            (Some(jwt), KnownAt::Answer(date)) => expires_in.or_shorter(jwt.lifetime(Some(*date))),
            (Some(jwt), KnownAt::Stored(now)) => expires_in.or_shorter(jwt.stored_lifetime(*now)),
            (Some(jwt), KnownAt::New(now)) => match expires_in.or_shorter(jwt.lifetime(None)) {
                Lifetime::Unknown => jwt.remaining(*now),
                known => known,
            },
        };
        match lifetime {
            Lifetime::For(lifetime) => lifetime.saturating_sub(*older_by).into(),
            other => other,
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

    /// Returns the other members of the token response (RFC 6749 §5.1), as a type of your own. They are parsed at each call.
    ///
    /// These are all members except `access_token` and `refresh_token`: for example `id_token`, `instance_url`, or the launch
    /// context of SMART App Launch. A token that did not come from a [grant](crate::grant) has none. They are as secret as
    /// the token: `Debug` does not show them, and their memory is wiped. At most 64 KiB are kept.
    ///
    /// # Errors
    /// When the members do not fit the type, or were too long to be kept. The error does not quote them.
    ///
    /// ```
    /// use serde::Deserialize;
    /// use tower_bearer::TokenCache;
    ///
    /// /// SMART App Launch 2.2, "Launch context arrives with your access_token".
    /// #[derive(Deserialize)]
    /// struct LaunchContext {
    ///     patient: Option<String>,
    ///     encounter: Option<String>,
    ///     #[serde(default)]
    ///     need_patient_banner: bool,
    /// }
    ///
    /// # async fn example(cache: TokenCache) -> Result<(), tower_bearer::Error> {
    /// let token = cache.token().await?;
    /// let context: LaunchContext = token.response()?;
    /// if let Some(patient) = context.patient {
    ///     println!("the app was launched for the patient {patient}");
    /// }
    /// # Ok(()) }
    /// ```
    pub fn response<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.0.response.read()
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

/// Returns a text that is wiped when the last reference to it is dropped.
fn line(scheme: &str, token: &str) -> Bytes {
    let mut line = Zeroizing::new(Vec::with_capacity(scheme.len() + token.len()));
    line.extend_from_slice(scheme.as_bytes());
    line.extend_from_slice(token.as_bytes());
    Bytes::from_owner(line)
}

fn header_value(line: Bytes) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_maybe_shared(line).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Returns why a text is not a token, and after a semicolon what to do.
fn unusable_text(token: &str) -> Option<Cow<'static, str>> {
    if token.is_empty() {
        return Some("it is empty".into());
    }
    let (index, bad) = token.chars().enumerate().find(|(_, c)| !c.is_ascii_graphic())?;
    if token.get(..SCHEME.len()).is_some_and(|start| start.eq_ignore_ascii_case(SCHEME)) {
        return Some("it contains a space; remove the `Bearer ` prefix".into());
    }
    let (what, advice) = match bad {
        ' ' => ("a space", "give the token alone"),
        '\n' | '\r' => ("a line end", "remove it"),
        '\u{feff}' => ("a byte order mark", "remove it"),
        c if c.is_control() => ("a control character", "remove it"),
        _ => ("a character that is not ASCII", "copy the token again, as plain text"),
    };
    let shown = if bad == ' ' { "' '".to_owned() } else { format!("U+{:04X}", u32::from(bad)) };
    Some(format!("it contains {what} ({shown}) at position {}; {advice}", index + 1).into())
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
        for bad in ["", "a b", "a\nb", "a\0b", "ä", " a", "a ", "a\tb", "a\u{7f}", "a\u{a0}b", "\u{feff}a"] {
            assert!(AccessToken::new(bad).is_err(), "{bad:?}");
        }
        assert!(AccessToken::new("aZ09-._~+/==").is_ok());
    }

    /// RFC 6749 appendix A.12.
    #[test]
    fn a_token_of_any_visible_ascii_characters_is_sent_as_it_is() {
        let all: String = ('!'..='~').collect();
        for token in ["a:b", "a!b", "1|ab", "a=b", "a*b$", "=", "a\"b", "{a,b}", "a\\b", &all] {
            let made = AccessToken::new(token).unwrap();
            assert_eq!(made.secret(), token);
            assert_eq!(made.header_value(), format!("Bearer {token}"));
        }
    }

    #[test]
    fn a_refused_token_says_what_to_do_and_not_what_it_is() {
        for (bad, says) in [
            ("", "it is empty; check"),
            ("Bearer s3cret", "it contains a space; remove the `Bearer ` prefix"),
            ("bearer s3cret\n", "it contains a space; remove the `Bearer ` prefix"),
            ("s3cret\n", "it contains a line end (U+000A) at position 7; remove it"),
            ("s3cret\r\n", "it contains a line end (U+000D) at position 7; remove it"),
            ("s3cret s3cret", "it contains a space (' ') at position 7; give the token alone"),
            ("s3\0cret s3cret", "it contains a control character (U+0000) at position 3; remove it"),
            ("s3cret\t", "it contains a control character (U+0009) at position 7; remove it"),
            ("s3cret\u{7f}", "it contains a control character (U+007F) at position 7; remove it"),
            ("\u{feff}s3cret", "it contains a byte order mark (U+FEFF) at position 1; remove it"),
            ("ääääs3cret", "it contains a character that is not ASCII (U+00E4) at position 1; copy"),
            ("s3cret\u{a0}", "it contains a character that is not ASCII (U+00A0) at position 7; copy"),
            ("s3cret\u{1f600}", "it contains a character that is not ASCII (U+1F600) at position 7; copy"),
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
        assert_eq!(jwt(r#"{"exp":1000,"iat":1000}"#).lifetime(), Lifetime::Unknown);
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

    fn stored(claims: &str) -> AccessToken {
        AccessToken::stored(jwt(claims).secret()).unwrap()
    }

    /// Returns the seconds since 1970, by the local clock.
    fn now() -> u64 {
        clock::wall_now().duration_since(UNIX_EPOCH).unwrap().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn a_stored_jwt_is_as_old_as_its_iat_says() {
        let token = stored(&format!(r#"{{"iat":{},"exp":{}}}"#, now() - 3000, now() + 600));
        assert_eq!(token.lifetime(), Lifetime::from_secs_f64(3600.0));
        let age = token.issued_at().elapsed().as_secs();
        assert!((3000..=3002).contains(&age), "{age}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stored_jwt_with_exp_alone_lives_until_then() {
        let Lifetime::For(left) = stored(&format!(r#"{{"exp":{}}}"#, now() + 600)).lifetime() else { panic!() };
        assert!((598..=600).contains(&left.as_secs()), "{left:?}");
        assert_eq!(stored(r#"{"exp":1060}"#).lifetime(), Lifetime::AlreadyExpired);
        assert_eq!(stored(r#"{"exp":0}"#).lifetime(), Lifetime::Unknown);
        assert_eq!(stored(r#"{"iat":2000,"exp":1060}"#).lifetime(), Lifetime::Unknown);
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_says_how_old_its_token_is() {
        let hour = Duration::from_secs(3600);
        let issued = clock::wall_now() - hour / 2;
        for token in
            [AccessToken::new("opaque"), AccessToken::stored("opaque"), AccessToken::stored(jwt("{}").secret())]
        {
            let token = token.unwrap().with_expires_in(hour).with_issue_time(issued);
            assert_eq!(token.lifetime(), Lifetime::For(hour));
            assert!(token.issued_at().elapsed().abs_diff(hour / 2) < Duration::from_secs(2));
        }
        let exp_alone = jwt(&format!(r#"{{"exp":{}}}"#, now() + 1800)).with_issue_time(issued);
        let Lifetime::For(lifetime) = exp_alone.lifetime() else { panic!() };
        assert!(lifetime.abs_diff(hour) < Duration::from_secs(2), "{lifetime:?}");
    }

    /// On some systems the monotonic clock begins when the machine does.
    #[test]
    fn an_age_that_the_monotonic_clock_cannot_show_shortens_the_lifetime() {
        let token = AccessToken::new("t").unwrap().with_expires_in(Duration::from_secs(3600));
        assert_eq!(token.aged(Duration::MAX).lifetime(), Lifetime::AlreadyExpired);
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
