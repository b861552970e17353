//! The crate's one error type. A leaf: it knows no other module.

use std::{borrow::Cow, error::Error as StdError, fmt, io, sync::Arc, time::Duration};

use http::StatusCode;

/// Any error: what the middleware and the services below it return. The same type as `tower::BoxError`.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// Why a request was not sent: no token could be had, or the token must not go where the request goes.
///
/// Cheap to clone: every request that waited for the same renewal gets the same error. It holds no secret, no URL
/// query and nothing that a server wrote but the `error` code of RFC 6749 §5.2 (and the description, if
/// [asked for](crate::grant::GrantBuilder::show_error_description)). What its `source()` gives is not ours: the HTTP
/// client's error, or a source's own.
///
/// The middleware's own error is [`tower::BoxError`]; this one is found inside by downcast:
///
/// ```
/// # use tower::BoxError;
/// fn advice(error: &BoxError) -> &'static str {
///     match error.downcast_ref::<tower_bearer::Error>() {
///         Some(error) if error.is_terminal() => "check the credentials",
///         Some(_) => "the issuer has a problem, try later",
///         None => "the API's own client failed",
///     }
/// }
/// ```
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: Kind,
    class: FailureClass,
    /// Who was asked.
    place: &'static str,
    retry_after: Option<Duration>,
    source: Option<BoxError>,
}

const TOKEN_ENDPOINT: &str = "the token endpoint";

#[derive(Debug)]
enum Kind {
    Config(String),
    Source,
    Unreadable(String),
    Connect,
    Timeout(Duration),
    Status(StatusCode),
    Refused { status: StatusCode, code: String, description: Option<String> },
    Redirected(String),
    Unusable(Cow<'static, str>),
    Panicked,
    Recursion,
    NoRuntime,
    Insecure(String),
    MissingScope(String),
    BackingOff { last: Error, retry_in: Duration },
}

/// What a failure to get a token says about trying again. It chooses the backoff.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureClass {
    /// The issuer could not be reached, was busy or broken, or answered something that is no token: soon again.
    Transient,
    /// A 4xx without an error code: a proxy's page or, on some servers, a wrong password. Asked again with care.
    Unexplained,
    /// The issuer said no, and why. Asking again with the same credentials may lock the account.
    Terminal,
}

impl Error {
    /// A failure that may be over in a moment: for the author of a [`TokenSource`](crate::TokenSource).
    pub fn transient(source: impl Into<BoxError>) -> Self {
        Self::build(Kind::Source, FailureClass::Transient).caused_by(source)
    }

    /// A refusal without a reason: asked again, but with care, because it may be a wrong password.
    pub fn unexplained(source: impl Into<BoxError>) -> Self {
        Self::build(Kind::Source, FailureClass::Unexplained).caused_by(source)
    }

    /// A refusal that stays until somebody changes the credentials or the configuration.
    pub fn terminal(source: impl Into<BoxError>) -> Self {
        Self::build(Kind::Source, FailureClass::Terminal).caused_by(source)
    }

    /// Sets how long the issuer asked to be left alone (`Retry-After`, RFC 9110 §10.2.3). On a new error only: one that was
    /// cloned stays as it is.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.retry_after = Some(wait);
        }
        self
    }

    /// What this failure says about trying again.
    #[must_use]
    pub fn class(&self) -> FailureClass {
        self.origin().0.class
    }

    /// Whether trying again soon may help: the issuer is away, slow or broken.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.class() == FailureClass::Transient
    }

    /// Whether a person has to change the credentials or the configuration.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.class() == FailureClass::Terminal
    }

    /// Whether the issuer could not be reached at all.
    #[must_use]
    pub fn is_connect(&self) -> bool {
        matches!(self.origin().0.kind, Kind::Connect)
    }

    /// Whether a deadline of the cache or of the grant ended the attempt. A deadline in an HTTP client of one's own counts as
    /// not reached.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self.origin().0.kind, Kind::Timeout(_))
    }

    /// Whether a setting is wrong: nothing was sent.
    #[must_use]
    pub fn is_config(&self) -> bool {
        matches!(self.origin().0.kind, Kind::Config(_))
    }

    /// Whether the request would have carried the token over plain http, or over something else that is not https
    /// (RFC 6750 §5.3). It was not sent.
    #[must_use]
    pub fn is_insecure(&self) -> bool {
        matches!(self.0.kind, Kind::Insecure(_))
    }

    /// The scope that a request [declared](crate::RequiredScopes) and its token plainly lacks, space-delimited, where the layer
    /// [checks](crate::BearerAuthLayer::check_scopes) that. The request was not sent.
    #[must_use]
    pub fn missing_scope(&self) -> Option<&str> {
        match &self.0.kind {
            Kind::MissingScope(missing) => Some(missing),
            _ => None,
        }
    }

    /// Whether the token source panicked.
    #[must_use]
    pub fn is_panic(&self) -> bool {
        matches!(self.origin().0.kind, Kind::Panicked)
    }

    /// Whether the token source's own HTTP client is wrapped in the layer that it serves.
    #[must_use]
    pub fn is_recursion(&self) -> bool {
        matches!(self.origin().0.kind, Kind::Recursion)
    }

    /// Whether the issuer was not asked this time, because of an earlier failure: see [`retry_in`](Self::retry_in).
    #[must_use]
    pub fn is_backing_off(&self) -> bool {
        matches!(self.0.kind, Kind::BackingOff { .. })
    }

    /// How long until the issuer may be asked again: exactly, while it [is left alone](Self::is_backing_off); in the failure
    /// itself, what its `Retry-After` said, if it said so. Good for a `Retry-After` of one's own.
    #[must_use]
    pub fn retry_in(&self) -> Option<Duration> {
        match self.0.kind {
            Kind::BackingOff { retry_in, .. } => Some(retry_in),
            _ => self.0.retry_after,
        }
    }

    /// The `error` code of the issuer's answer (RFC 6749 §5.2), such as `invalid_grant`.
    #[must_use]
    pub fn oauth_code(&self) -> Option<&str> {
        match &self.origin().0.kind {
            Kind::Refused { code, .. } => Some(code),
            _ => None,
        }
    }

    /// The HTTP status of the issuer's answer, when it was an error.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        match self.origin().0.kind {
            Kind::Status(status) | Kind::Refused { status, .. } => Some(status),
            _ => None,
        }
    }

    pub(crate) fn config(advice: impl Into<String>) -> Self {
        Self::build(Kind::Config(advice.into()), FailureClass::Terminal)
    }

    /// The way to where the request goes is not private. Only the scheme and the host are shown.
    pub(crate) fn insecure(scheme: Option<&str>, host: Option<&str>) -> Self {
        let to = format!("{}://{}", scheme.unwrap_or("(no scheme)"), host.unwrap_or("(no host)"));
        Self::build(Kind::Insecure(to), FailureClass::Terminal)
    }

    /// The token plainly lacks what the request needs.
    pub(crate) fn missing_scopes(missing: &impl fmt::Display) -> Self {
        Self::build(Kind::MissingScope(missing.to_string()), FailureClass::Terminal)
    }

    /// There is a list of origins, and the request does not say its own.
    pub(crate) fn unplaced() -> Self {
        Self::config(
            "the request's URI has no scheme and host to compare with the list of origins: give it the whole URL, put \
             what completes URLs above the BearerAuthLayer, or leave the list out where one connection serves one API",
        )
    }

    /// The issuer's client failed. An error of ours inside it (a layer around that client) is handed on as it is.
    pub(crate) fn connect(source: impl Into<BoxError>) -> Self {
        match source.into().downcast::<Error>() {
            Ok(ours) => *ours,
            Err(source) => Self::build(Kind::Connect, FailureClass::Transient).caused_by(source),
        }
    }

    pub(crate) fn timeout(after: Duration) -> Self {
        Self::build(Kind::Timeout(after), FailureClass::Transient)
    }

    pub(crate) fn unexplained_status(status: StatusCode) -> Self {
        let soon =
            status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
        let class = if soon || !status.is_client_error() { FailureClass::Transient } else { FailureClass::Unexplained };
        Self::build(Kind::Status(status), class)
    }

    pub(crate) fn refused(status: StatusCode, code: String, description: Option<String>) -> Self {
        let soon = status.is_server_error()
            || status == StatusCode::TOO_MANY_REQUESTS
            || matches!(code.as_str(), "temporarily_unavailable" | "server_error" | "slow_down");
        let class = if soon { FailureClass::Transient } else { FailureClass::Terminal };
        Self::build(Kind::Refused { status, code, description }, class)
    }

    pub(crate) fn redirected(to: String) -> Self {
        Self::build(Kind::Redirected(to), FailureClass::Transient)
    }

    pub(crate) fn not_a_token(why: impl Into<Cow<'static, str>>) -> Self {
        Self::build(Kind::Unusable(why.into()), FailureClass::Transient)
    }

    /// A secret could not be read where it is kept.
    pub(crate) fn unreadable(what: String) -> Self {
        Self::build(Kind::Unreadable(what), FailureClass::Transient)
    }

    /// Somebody else's code gave no secret. An error of ours inside is handed on as it is.
    pub(crate) fn provider(source: BoxError) -> Self {
        match source.downcast::<Error>() {
            Ok(ours) => *ours,
            Err(source) => Self::transient(source),
        }
    }

    /// Names who was asked, where it was not the token endpoint. On a new error only.
    pub(crate) fn at(mut self, place: &'static str) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.place = place;
        }
        self
    }

    pub(crate) fn is_redirect(&self) -> bool {
        matches!(self.0.kind, Kind::Redirected(_))
    }

    /// Whether an answer came that is not what was asked for.
    pub(crate) fn is_unusable(&self) -> bool {
        matches!(self.0.kind, Kind::Unusable(_) | Kind::Redirected(_))
    }

    /// The answer began and did not end.
    pub(crate) fn broken_off(source: impl Into<BoxError>) -> Self {
        Self::not_a_token("it broke off").caused_by(source)
    }

    /// A token came, and it is not what it should be.
    #[cfg(feature = "jwt")]
    pub(crate) fn failed_check(why: &'static str, source: impl Into<BoxError>) -> Self {
        Self::not_a_token(why).caused_by(source)
    }

    pub(crate) fn panicked() -> Self {
        Self::build(Kind::Panicked, FailureClass::Transient)
    }

    pub(crate) fn recursion() -> Self {
        Self::build(Kind::Recursion, FailureClass::Transient)
    }

    pub(crate) fn no_runtime() -> Self {
        Self::build(Kind::NoRuntime, FailureClass::Transient)
    }

    /// The last failure, told to a caller who came while the issuer is left alone.
    pub(crate) fn backing_off(last: &Error, retry_in: Duration) -> Self {
        Self::build(Kind::BackingOff { last: last.clone(), retry_in }, last.class())
    }

    fn build(kind: Kind, class: FailureClass) -> Self {
        Self(Arc::new(Inner { kind, class, place: TOKEN_ENDPOINT, retry_after: None, source: None }))
    }

    fn caused_by(mut self, source: impl Into<BoxError>) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.source = Some(source.into());
        }
        self
    }

    /// What the operating system or TLS says of a failed exchange. Nothing else of the chain is shown: a client of
    /// somebody's own may put URLs, or worse, into its errors.
    fn network_cause(&self) -> Option<String> {
        let mut cause = StdError::source(self);
        while let Some(error) = cause {
            #[cfg(feature = "client")]
            if let Some(tls) = error.downcast_ref::<rustls::Error>() {
                return Some(tls.to_string());
            }
            if let Some(io) = error.downcast_ref::<io::Error>() {
                match io.get_ref() {
                    None => return Some(io.to_string()),
                    #[cfg(feature = "client")]
                    Some(inner) if inner.is::<rustls::Error>() => return Some(inner.to_string()),
                    Some(_) => {}
                }
            }
            cause = error.source();
        }
        None
    }

    /// The failure itself, under a `BackingOff` that repeats it.
    fn origin(&self) -> &Self {
        match &self.0.kind {
            Kind::BackingOff { last, .. } => last.origin(),
            _ => self,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.0.place;
        match &self.0.kind {
            Kind::Config(text) | Kind::Unreadable(text) => f.write_str(text),
            Kind::Source => f.write_str("the token source failed"),
            Kind::Connect => {
                write!(f, "{place} could not be reached")?;
                if let Some(cause) = self.network_cause() {
                    write!(f, " ({cause})")?;
                }
                f.write_str(": check its URL and the network")
            }
            Kind::Timeout(after) => {
                write!(f, "no answer came within {after:?}: check that the issuer is up, and the network")
            }
            Kind::Status(status) => write!(f, "{place} answered {status}{}", status_advice(*status)),
            Kind::Refused { code, description, .. } => {
                write!(f, "{place} refused with {code}")?;
                if let Some(description) = description {
                    write!(f, " ({description})")?;
                }
                f.write_str(code_advice(code))
            }
            Kind::Redirected(to) => {
                write!(f, "{place} redirects, which is not followed: use the URL it points to ({to})")
            }
            Kind::Unusable(why) if place == TOKEN_ENDPOINT => write!(f, "what came is no usable token: {why}"),
            Kind::Unusable(why) => write!(f, "what came from {place} is of no use: {why}"),
            Kind::Panicked => f.write_str("the token source panicked"),
            Kind::Recursion => f.write_str(
                "the token source's own HTTP client is wrapped in the BearerAuthLayer that it serves: \
                 give it a client without the layer",
            ),
            Kind::NoRuntime => f.write_str("a token is renewed in a Tokio task: call from within a Tokio runtime"),
            Kind::Insecure(to) => write!(
                f,
                "the request to {to} was not sent, because anybody on the way could read its token: use https (only http to \
                 loopback is exempt), or allow_plain_http(true) where the way is private by other means"
            ),
            Kind::MissingScope(missing) => write!(
                f,
                "the request needs {missing}, which its token was not granted: ask for that scope, or have it allowed to the \
                 user and the client"
            ),
            Kind::BackingOff { last, retry_in } => {
                write!(f, "{last} (the token source is left alone for another {retry_in:.1?})")
            }
        }
    }
}

/// What a person can do about a status that came without an error code.
fn status_advice(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::GONE => ": check its URL",
        StatusCode::TOO_MANY_REQUESTS => ": it wants to be asked less often",
        _ if status.is_client_error() => {
            " without saying why: check its URL, the client's id and secret, and the user's name and password"
        }
        _ if status.is_server_error() => ": it, or a proxy before it, has a problem of its own; try later",
        _ => "",
    }
}

/// What a person can do about a refusal of RFC 6749 §5.2.
fn code_advice(code: &str) -> &'static str {
    match code {
        "invalid_grant" => {
            ": check the username and the password, or the token or assertion that was sent in their place"
        }
        "invalid_client" => {
            ": check the client id, its secret or key, how the client authenticates and, if by assertion, this machine's clock"
        }
        "invalid_request" => ": check the parameters and how the client authenticates",
        "invalid_scope" => ": check the scope",
        "unauthorized_client" => ": its operator has to allow this client this grant",
        "unsupported_grant_type" => ": it does not offer this grant, or not at this URL",
        "unsupported_token_type" => {
            ": it does not revoke tokens of this kind, such as JWTs, which live until they expire"
        }
        _ => "",
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = f.debug_struct("Error");
        f.field("kind", &self.0.kind).field("class", &self.0.class);
        if let Some(wait) = self.0.retry_after {
            f.field("retry_after", &wait);
        }
        // Not the source itself: whose error that is may have put a URL or worse into it.
        if let Some(cause) = self.network_cause() {
            f.field("cause", &cause);
        }
        f.finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.0.kind {
            Kind::BackingOff { last, .. } => last.source(),
            _ => self.0.source.as_deref().map(|source| source as _),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_word() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }

    #[test]
    fn backing_off_keeps_what_the_failure_was() {
        let refused = Error::refused(StatusCode::BAD_REQUEST, "invalid_grant".into(), None);
        let error = Error::backing_off(&refused, Duration::from_secs(60));
        assert!(error.is_terminal() && error.is_backing_off());
        assert_eq!(error.oauth_code(), Some("invalid_grant"));
        assert_eq!(error.retry_in(), Some(Duration::from_secs(60)));
        assert!(error.to_string().contains("check the username"), "{error}");
    }

    #[test]
    fn a_status_has_the_class_that_protects_the_account() {
        let class = |status: u16| Error::unexplained_status(StatusCode::from_u16(status).unwrap()).class();
        assert_eq!(class(503), FailureClass::Transient);
        assert_eq!(class(429), FailureClass::Transient);
        assert_eq!(class(403), FailureClass::Unexplained);
        assert_eq!(class(400), FailureClass::Unexplained);
    }
}
