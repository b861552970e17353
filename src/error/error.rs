//! The error type, and what users can ask of it.

use std::{borrow::Cow, error::Error as StdError, sync::Arc, time::Duration};

use http::StatusCode;

use crate::error::class::FailureClass;

/// Any error: the error type of the middleware and of the services below it. The same type as `tower::BoxError`.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// The error of this crate: a request was not sent, because there was no token or because the token must not go to its
/// destination; a setting is wrong; or a token could not be obtained or revoked.
///
/// Cheap to clone: every request that waited for the same renewal gets the same error. It holds no secret, no URL query
/// and nothing that a server wrote except the `error` code of RFC 6749 §5.2, the content type of an answer, the type of a
/// token and a character that it must not have, the target of a redirect, the host of an endpoint in metadata, and the description if you
/// [ask for it](crate::grant::GrantBuilder::show_error_description). The error that `source()`
/// returns is not from this crate: it is the HTTP client's, or a custom token source's.
///
/// The middleware's own error is [`BoxError`]. Downcast it to find this one inside:
///
/// ```
/// # use tower_bearer::BoxError;
/// fn advice(error: &BoxError) -> &'static str {
///     match error.downcast_ref::<tower_bearer::Error>() {
///         Some(error) if error.is_terminal() => "a person must correct something; the error says what",
///         Some(_) => "no token now; the error says why",
///         None => "the API's own client failed",
///     }
/// }
/// ```
#[derive(Clone)]
pub struct Error(Arc<ErrorData>);

#[derive(Clone)]
pub(super) struct ErrorData {
    pub(super) kind: Kind,
    pub(super) class: FailureClass,
    /// The part of the authorization server that failed. `None` is the token endpoint.
    pub(super) part: Option<ServerPart>,
    /// What the token request presented, if there was one.
    pub(super) presented: Option<Presented>,
    /// The authorization server that failed: scheme, host and port.
    pub(super) server: Option<Box<str>>,
    pub(super) retry_after: Option<Duration>,
    /// Whether another process had this failure.
    pub(super) is_elsewhere: bool,
    /// The version of the credentials that were sent, if the source knows it.
    credentials_version: Option<u64>,
    /// An `Arc`, so that the data can be cloned.
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// Part of an authorization server, for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerPart {
    TokenEndpoint,
    RevocationEndpoint,
    Metadata,
    /// The metadata of an API, which names its authorization server.
    ApiMetadata,
}

/// What a token request presents in addition to the client's authentication, for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presented {
    Nothing,
    Password,
    RefreshToken,
    Assertion,
    SubjectToken,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Config(String),
    Source,
    /// The function of a pool returned an error for an identity.
    NotMade,
    /// A function did not return a part of the credentials.
    Provider,
    /// A secret is not where it should be, or cannot be read there.
    Unreadable(String),
    Connect,
    Unanswered,
    Timeout(Duration),
    SourceTimeout(Duration),
    Queued(Duration),
    Status(StatusCode),
    Refused {
        status: StatusCode,
        code: String,
        description: Option<String>,
    },
    Redirected(String),
    UnusableResponse(Cow<'static, str>),
    UnusableToken(Cow<'static, str>),
    Panicked,
    Recursion,
    NoRuntime,
    NoTimers,
    Insecure(String),
    MissingScope(String),
    #[cfg(feature = "on-behalf-of")]
    SubjectExpired,
    NoIdentity,
    BackingOff {
        last: Error,
        retry_in: Duration,
    },
}

impl Error {
    /// Creates an error for a failure that may be over soon. It is for authors of a
    /// [`TokenSource`](crate::TokenSource).
    pub fn transient(source: impl Into<BoxError>) -> Self {
        Self::build(Kind::Source, FailureClass::Transient).caused_by(source)
    }

    /// Creates an error for a refusal without a reason. It may be a wrong password, so the next attempts come at
    /// growing intervals.
    pub fn unexplained(source: impl Into<BoxError>) -> Self {
        Self::build(Kind::Source, FailureClass::Unexplained).caused_by(source)
    }

    /// Creates an error for a refusal that stays until a person changes the credentials or the configuration.
    pub fn terminal(source: impl Into<BoxError>) -> Self {
        Self::build(Kind::Source, FailureClass::Terminal).caused_by(source)
    }

    /// Sets how long the issuer asks clients to wait (`Retry-After`, RFC 9110 §10.2.3). [`retry_in`](Self::retry_in)
    /// then returns this. Clones made before are unchanged.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        let data = self.data_mut();
        data.retry_after = Some(wait);
        if let Kind::BackingOff { retry_in, .. } = &mut data.kind {
            *retry_in = wait;
        }
        self
    }

    /// Returns what this failure says about another attempt.
    #[must_use]
    pub fn class(&self) -> FailureClass {
        self.failure().class
    }

    /// Returns whether another attempt soon may help: the issuer is down, slow or broken.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.class() == FailureClass::Transient
    }

    /// Returns whether a person has to change the credentials or the configuration.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.class() == FailureClass::Terminal
    }

    /// Returns whether the issuer could not be reached at all.
    #[must_use]
    pub fn is_connect(&self) -> bool {
        matches!(self.failure().kind, Kind::Connect)
    }

    /// Returns whether the connection closed after the request was sent, without an answer. The server may be restarting.
    /// Some servers refuse a wrong password in this way, so a token request that ends so is
    /// [`Unexplained`](FailureClass::Unexplained).
    ///
    /// It is known if the HTTP client's error has an error of hyper among its causes, or is itself an I/O error. Any other
    /// error counts as [not reached](Self::is_connect).
    #[must_use]
    pub fn is_unanswered(&self) -> bool {
        matches!(self.failure().kind, Kind::Unanswered)
    }

    /// Returns whether a deadline of the cache or of the grant ended the attempt. A deadline in a custom HTTP client
    /// counts as [not reached](Self::is_connect).
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self.failure().kind, Kind::Timeout(_) | Kind::SourceTimeout(_))
    }

    /// Returns whether the renewal did not begin, because others of its pool came before it and none of them got an answer for a
    /// minute. The issuer was not asked for this token.
    #[must_use]
    pub fn is_queued(&self) -> bool {
        matches!(self.failure().kind, Kind::Queued(_))
    }

    /// Returns whether the authorization server answered with a redirect. Redirects are not followed, because the
    /// credentials would go to another server.
    #[must_use]
    pub fn is_redirect(&self) -> bool {
        matches!(self.failure().kind, Kind::Redirected(_))
    }

    /// Returns whether the answer had no usable token or metadata: for example, it was a page of HTML, JSON without an
    /// `access_token`, an answer that ended early, or a token that failed a check. A [redirect](Self::is_redirect), an
    /// error [status](Self::status) and a refusal with an [error code](Self::oauth_code) are not included.
    #[must_use]
    pub fn is_unusable(&self) -> bool {
        matches!(self.failure().kind, Kind::UnusableResponse(_) | Kind::UnusableToken(_))
    }

    /// Returns whether a setting is wrong, or the place of a secret that it names has none. The request that needs it was not sent.
    ///
    /// A wrong setting is [terminal](Self::is_terminal). A secret that is missing in its file or environment variable is
    /// [transient](Self::is_transient): it may be put there.
    #[must_use]
    pub fn is_config(&self) -> bool {
        matches!(self.failure().kind, Kind::Config(_) | Kind::Unreadable(_))
    }

    /// Returns whether the request has no identity: the function that was given to
    /// [`with_pool`](crate::BearerAuthLayer::with_pool) returned `None` for it. The request was not sent.
    #[must_use]
    pub fn is_no_identity(&self) -> bool {
        matches!(self.failure().kind, Kind::NoIdentity)
    }

    /// Returns whether the call came from outside a Tokio runtime, or from one without timers. Renewals need both.
    #[must_use]
    pub fn is_no_runtime(&self) -> bool {
        matches!(self.failure().kind, Kind::NoRuntime | Kind::NoTimers)
    }

    /// Returns whether the request would have carried the token over a transport that others can read: plain http, or
    /// anything else that is not https (RFC 6750 §5.3). The request was not sent.
    #[must_use]
    pub fn is_insecure(&self) -> bool {
        matches!(self.0.kind, Kind::Insecure(_))
    }

    /// Returns the scopes that a request [declares](crate::RequiredScopes) and its token lacks, separated by spaces. It
    /// is `None` unless the layer [checks](crate::BearerAuthLayer::check_scopes) the scopes and did not send the
    /// request because of that.
    #[must_use]
    pub fn missing_scope(&self) -> Option<&str> {
        match &self.0.kind {
            Kind::MissingScope(missing) => Some(missing),
            _ => None,
        }
    }

    /// Returns whether the user's own token has expired, so that no token is requested in exchange for it. A gateway answers 401,
    /// and the caller gets a new token for its user.
    ///
    /// It is about [the token of a request](crate::grant::Subject) whose `exp` is past (RFC 7519 §4.1.4), by the local clock.
    #[cfg(feature = "on-behalf-of")]
    #[must_use]
    pub fn is_subject_expired(&self) -> bool {
        matches!(self.failure().kind, Kind::SubjectExpired)
    }

    /// Returns whether nothing was sent to the issuer, because something was wrong before that.
    pub(crate) fn is_unsent(&self) -> bool {
        match self.failure().kind {
            Kind::Config(_) => true,
            #[cfg(feature = "on-behalf-of")]
            Kind::SubjectExpired => true,
            _ => false,
        }
    }

    /// Returns whether the program itself is at fault, so that waiting does not help.
    pub(crate) fn is_within(&self) -> bool {
        self.is_no_runtime() || self.is_recursion() || self.is_panic()
    }

    /// Returns whether the token source panicked.
    #[must_use]
    pub fn is_panic(&self) -> bool {
        matches!(self.failure().kind, Kind::Panicked)
    }

    /// Returns whether the token source's HTTP client is wrapped in the layer that it gets tokens for.
    #[must_use]
    pub fn is_recursion(&self) -> bool {
        matches!(self.failure().kind, Kind::Recursion)
    }

    /// Returns whether the issuer was not asked this time, because of an earlier failure. [`retry_in`](Self::retry_in)
    /// returns how long that lasts.
    #[must_use]
    pub fn is_backing_off(&self) -> bool {
        matches!(self.0.kind, Kind::BackingOff { .. })
    }

    /// Returns whether this is the failure of another process, which shares its tokens by a [store](crate::store). This process did
    /// not ask the issuer.
    ///
    /// The cause is the same as if this process had asked: correct the credentials, or wait. The log of the other process may have
    /// more, because the issuer's description is not passed on. [`reset`](crate::TokenCache::reset) asks at once.
    #[must_use]
    pub fn is_elsewhere(&self) -> bool {
        self.failure().is_elsewhere
    }

    /// Returns how long it takes until the issuer may be asked again. During the [backoff](Self::is_backing_off) this
    /// is exact; in the failure itself it is what the issuer's `Retry-After` said, if there was one. You can use it as
    /// the `Retry-After` of your own response.
    #[must_use]
    pub fn retry_in(&self) -> Option<Duration> {
        match self.0.kind {
            Kind::BackingOff { retry_in, .. } => Some(retry_in),
            _ => self.0.retry_after,
        }
    }

    /// Returns the `error` code of the issuer's answer (RFC 6749 §5.2), such as `invalid_grant`.
    #[must_use]
    pub fn oauth_code(&self) -> Option<&str> {
        match &self.failure().kind {
            Kind::Refused { code, .. } => Some(code),
            _ => None,
        }
    }

    /// Returns the HTTP status of the issuer's answer, if it was an error.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        match self.failure().kind {
            Kind::Status(status) | Kind::Refused { status, .. } => Some(status),
            _ => None,
        }
    }

    pub(super) fn build(kind: Kind, class: FailureClass) -> Self {
        Self(Arc::new(ErrorData {
            kind,
            class,
            part: None,
            presented: None,
            server: None,
            retry_after: None,
            is_elsewhere: false,
            credentials_version: None,
            source: None,
        }))
    }

    /// Notes which credentials were sent. They may have changed since the cache asked for their version.
    pub(crate) fn with_credentials_version(mut self, version: u64) -> Self {
        self.data_mut().credentials_version = Some(version);
        self
    }

    /// Returns whether the server has answered, with a failure that may be over soon.
    pub(crate) fn is_transient_answer(&self) -> bool {
        matches!(self.data().kind, Kind::Status(_) | Kind::Refused { .. }) && self.class() == FailureClass::Transient
    }

    /// Returns whether an attempt a moment later may succeed: the failure came from outside, and no deadline is used up.
    pub(crate) fn may_be_over_soon(&self) -> bool {
        let is_from_outside = matches!(
            self.data().kind,
            Kind::Source
                | Kind::Provider
                | Kind::Unreadable(_)
                | Kind::Connect
                | Kind::Status(_)
                | Kind::Refused { .. }
        );
        is_from_outside && self.class() == FailureClass::Transient
    }

    /// Returns whether this failure says that the issuer is down, slow or busy. A failure to read the credentials, or a token
    /// that failed a check, does not.
    pub(crate) fn is_outage(&self) -> bool {
        let kind = &self.failure().kind;
        let is_of_issuer = matches!(
            kind,
            Kind::Source
                | Kind::Connect
                | Kind::Timeout(_)
                | Kind::SourceTimeout(_)
                | Kind::Status(_)
                | Kind::Refused { .. }
                | Kind::UnusableResponse(_)
        );
        is_of_issuer && self.class() == FailureClass::Transient
    }

    /// Returns whether the issuer refused the client itself: by a code for that, or where nothing but the client
    /// was presented.
    pub(crate) fn refuses_client(&self) -> bool {
        match self.oauth_code() {
            _ if self.is_transient() => false,
            Some("invalid_client" | "unauthorized_client") => true,
            // Against RFC 6749 §5.2.
            Some("invalid_grant") => self.presents_nothing(),
            Some("invalid_scope" | "invalid_target" | "access_denied") => false,
            // Where nothing but the client is presented, nothing else can have failed to authenticate.
            _ => self.status() == Some(StatusCode::UNAUTHORIZED) && self.presents_nothing(),
        }
    }

    fn presents_nothing(&self) -> bool {
        self.failure().presented == Some(Presented::Nothing)
    }

    /// Returns whether this failure shows that the issuer has authenticated the client.
    pub(crate) fn shows_authenticated_client(&self) -> bool {
        match self.oauth_code() {
            Some("invalid_grant" | "invalid_scope" | "invalid_target" | "access_denied") => {
                !self.is_transient() && !self.refuses_client()
            }
            _ => matches!(self.failure().kind, Kind::UnusableToken(_)),
        }
    }

    pub(crate) fn credentials_version(&self) -> Option<u64> {
        self.failure().credentials_version
    }

    pub(super) fn caused_by(mut self, source: impl Into<BoxError>) -> Self {
        self.data_mut().source = Some(source.into().into());
        self
    }

    pub(super) fn data(&self) -> &ErrorData {
        &self.0
    }

    /// Copies the data first if other errors share it.
    pub(super) fn data_mut(&mut self) -> &mut ErrorData {
        Arc::make_mut(&mut self.0)
    }

    /// Returns the failure itself, under a `BackingOff` that repeats it.
    fn failure(&self) -> &ErrorData {
        match &self.0.kind {
            Kind::BackingOff { last, .. } => last.failure(),
            _ => &self.0,
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.failure().source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn refused() -> Error {
        Error::refused(StatusCode::BAD_REQUEST, "invalid_grant".into(), None)
    }

    #[test]
    fn an_error_is_one_word() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }

    #[test]
    fn backing_off_keeps_what_the_failure_was() {
        let error = Error::backing_off(&refused(), MINUTE);
        assert!(error.is_terminal() && error.is_backing_off());
        assert_eq!(error.oauth_code(), Some("invalid_grant"));
        assert_eq!(error.retry_in(), Some(MINUTE));
        assert!(error.to_string().contains("check the username"), "{error}");
    }

    #[test]
    fn a_clone_takes_a_retry_after_of_its_own() {
        let first = Error::transient("the vault is sealed");
        let second = first.clone().with_retry_after(MINUTE);
        assert_eq!((first.retry_in(), second.retry_in()), (None, Some(MINUTE)));
        assert_eq!(second.source().unwrap().to_string(), "the vault is sealed");
        assert!(second.is_transient());

        let backing_off = Error::backing_off(&first, MINUTE * 2).with_retry_after(MINUTE);
        assert_eq!((backing_off.retry_in(), backing_off.is_backing_off()), (Some(MINUTE), true));
    }

    #[test]
    fn a_clone_takes_a_server_part_and_a_cause_of_its_own() {
        let first = refused();
        let second = first.clone().at(ServerPart::RevocationEndpoint).caused_by("a cause");
        assert!(second.to_string().starts_with("the revocation endpoint refused"), "{second}");
        assert!(first.to_string().starts_with("the token endpoint refused"), "{first}");
        assert!(first.source().is_none() && second.source().is_some());
    }

    /// It is about another server than the one that is asked.
    #[test]
    fn an_error_that_is_passed_on_keeps_its_server_part() {
        for error in [refused(), Error::backing_off(&refused(), MINUTE)] {
            let passed_on = Error::connect(error.clone()).at(ServerPart::Metadata);
            assert_eq!(passed_on.to_string(), error.to_string());
            assert!(Error::provider(error.into()).at(ServerPart::Metadata).to_string().contains("the token endpoint"));
        }
    }

    #[test]
    fn each_predicate_is_for_its_own_failure() {
        let redirect = Error::redirected("https://a.test/login".into());
        assert!(redirect.is_redirect() && !redirect.is_unusable());
        for unusable in
            [Error::unusable_response("it has no access_token"), Error::unusable_token("its signature is wrong")]
        {
            assert!(unusable.is_unusable() && !unusable.is_redirect() && unusable.is_transient());
        }
        assert!(Error::no_runtime().is_no_runtime() && !refused().is_no_runtime());
        assert!(Error::no_timers().is_no_runtime() && Error::no_timers().is_transient());
        for timeout in [Error::timeout(MINUTE), Error::source_timeout(MINUTE)] {
            assert!(timeout.is_timeout() && Error::backing_off(&timeout, MINUTE).is_timeout());
        }
    }
}
