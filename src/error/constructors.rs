//! How the crate's modules make an error: one constructor for each kind of failure.

#[cfg(feature = "client")]
use std::error::Error as StdError;
use std::{borrow::Cow, fmt, time::Duration};

use http::{StatusCode, Uri};

use crate::error::{
    class::FailureClass,
    error::{BoxError, Error, Kind, Presented, ServerPart},
    progress::{Progress, progress},
};

/// The deadline of the ready-made HTTP client ended a request. The client does not know which part of the server it asked.
#[cfg(feature = "client")]
#[derive(Debug)]
pub(crate) struct DeadlineElapsed(pub(crate) Duration);

#[cfg(feature = "client")]
impl fmt::Display for DeadlineElapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no response within {:?}; check that the server is up, and the network", self.0)
    }
}

#[cfg(feature = "client")]
impl StdError for DeadlineElapsed {}

impl Error {
    /// A setting is wrong. `text` is the whole message: what is wrong, and what to do.
    pub(crate) fn config(text: impl Into<String>) -> Self {
        Self::build(Kind::Config(text.into()), FailureClass::Terminal)
    }

    /// The token would be readable on the way to the request's destination. Only the scheme, the host and the port are shown.
    pub(crate) fn insecure(to: &Uri) -> Self {
        let port = to.port().map_or_else(String::new, |port| format!(":{port}"));
        let to = format!("{}://{}{port}", to.scheme_str().unwrap_or("(no scheme)"), to.host().unwrap_or("(no host)"));
        Self::build(Kind::Insecure(to), FailureClass::Terminal)
    }

    /// The token was not granted the scopes that the request declares.
    pub(crate) fn missing_scopes(missing: &impl fmt::Display) -> Self {
        Self::build(Kind::MissingScope(missing.to_string()), FailureClass::Terminal)
    }

    /// The user's own token has expired.
    #[cfg(feature = "on-behalf-of")]
    pub(crate) fn subject_expired() -> Self {
        Self::build(Kind::SubjectExpired, FailureClass::Terminal)
    }

    /// A layer over a pool found no identity in the request.
    pub(crate) fn no_identity() -> Self {
        Self::build(Kind::NoIdentity, FailureClass::Terminal)
    }

    /// The function of a pool returned this error for an identity. If it is a custom error, no source failed: there is none.
    pub(crate) fn of_making(mut self) -> Self {
        let data = self.data_mut();
        if matches!(data.kind, Kind::Source) {
            data.kind = Kind::NotMade;
        }
        self
    }

    /// There is a list of origins, and the request does not say its own.
    pub(crate) fn unplaced() -> Self {
        Self::config(
            "the request's URI has no scheme and host to compare with the list of origins; give it the whole URL, move \
             the layer that completes URLs above the BearerAuthLayer, or name the server of the connection with assume_origin",
        )
    }

    /// The request has so many headers that there is no room for the token.
    pub(crate) fn no_room_for_token() -> Self {
        Self::config(
            "the request was not sent, because its map of headers is full and has no room for its token; send it with fewer \
             headers",
        )
    }

    /// The HTTP client of a token request failed before it sent the request. An error of this crate inside it, from a layer
    /// around that client, is
    /// returned unchanged.
    pub(crate) fn connect(source: impl Into<BoxError>) -> Self {
        let source = match source.into().downcast::<Self>() {
            Ok(own) => return own.at(ServerPart::TokenEndpoint),
            Err(source) => source,
        };
        #[cfg(feature = "client")]
        let source = match source.downcast::<DeadlineElapsed>() {
            Ok(elapsed) => return Self::timeout(elapsed.0),
            Err(source) => source,
        };
        Self::build(Kind::Connect, FailureClass::Transient).caused_by(source)
    }

    /// The HTTP client of a token request failed, after the request was given to it. It may have been sent.
    pub(crate) fn request_failed(source: impl Into<BoxError>) -> Self {
        let source = source.into();
        let failed = match progress(&*source) {
            Progress::Unanswered => Self::build(Kind::Unanswered, FailureClass::Transient),
            Progress::NotHttp => Self::unusable_response("its head is not HTTP, or is too long"),
            Progress::Unsent => return Self::connect(source),
        };
        failed.caused_by(source)
    }

    /// The authorization server sent no answer in time.
    pub(crate) fn timeout(after: Duration) -> Self {
        Self::build(Kind::Timeout(after), FailureClass::Transient)
    }

    /// The token source did not finish in time.
    pub(crate) fn source_timeout(after: Duration) -> Self {
        Self::build(Kind::SourceTimeout(after), FailureClass::Transient)
    }

    /// A renewal could not begin, because others came before it and got no answer.
    pub(crate) fn queued(after: Duration) -> Self {
        Self::build(Kind::Queued(after), FailureClass::Transient)
    }

    /// The authorization server answered with an error status and no error code.
    pub(crate) fn unexplained_status(status: StatusCode) -> Self {
        Self::build(Kind::Status(status), FailureClass::of_status(status))
    }

    /// The authorization server refused with an error code (RFC 6749 §5.2).
    pub(crate) fn refused(status: StatusCode, code: String, description: Option<String>) -> Self {
        let class = FailureClass::of_refusal(status, &code);
        Self::build(Kind::Refused { status, code, description }, class)
    }

    /// The authorization server answered with a redirect. `to` is its target, or why that is not shown.
    pub(crate) fn redirected(to: String) -> Self {
        Self::build(Kind::Redirected(to), FailureClass::Transient)
    }

    /// An answer came that is not usable. `why` is a clause about the answer, such as "it has no `access_token`". It may
    /// give its own advice after a semicolon; without one, the message advises to check the URL.
    pub(crate) fn unusable_response(why: impl Into<Cow<'static, str>>) -> Self {
        Self::build(Kind::UnusableResponse(why.into()), FailureClass::Transient)
    }

    /// The answer began and did not end.
    pub(crate) fn broken_off(source: impl Into<BoxError>) -> Self {
        Self::unusable_response("it ended early; check the network, and that the server is up").caused_by(source)
    }

    /// A token came that is not usable. `why` is a clause about the token, such as "its signature is wrong". It
    /// may give its own advice after a semicolon.
    pub(crate) fn unusable_token(why: impl Into<Cow<'static, str>>) -> Self {
        Self::build(Kind::UnusableToken(why.into()), FailureClass::Transient)
    }

    /// The members of a token response do not fit what the caller wants to read. `why` is as for
    /// [`unusable_response`](Self::unusable_response).
    pub(crate) fn unreadable_members(why: &'static str) -> Self {
        Self::build(Kind::UnusableResponse(why.into()), FailureClass::Terminal)
    }

    /// A token came, and a check of it failed.
    #[cfg(feature = "jwt")]
    pub(crate) fn failed_check(why: &'static str, source: impl Into<BoxError>) -> Self {
        Self::unusable_token(why).caused_by(source)
    }

    /// A secret is missing where a setting says that it is, or cannot be read there. `text` is the whole message.
    pub(crate) fn unreadable(text: String) -> Self {
        Self::build(Kind::Unreadable(text), FailureClass::Transient)
    }

    /// User code did not return a secret. An error of this crate inside is returned unchanged.
    pub(crate) fn provider(source: BoxError) -> Self {
        match source.downcast::<Self>() {
            Ok(own) => own.at(ServerPart::TokenEndpoint),
            Err(source) => Self::build(Kind::Provider, FailureClass::Transient).caused_by(source),
        }
    }

    /// The failure of another process, as far as it is known.
    pub(crate) fn elsewhere(class: FailureClass, status: Option<StatusCode>, code: Option<String>) -> Self {
        let kind = match (status, code) {
            (status, Some(code)) => {
                Kind::Refused { status: status.unwrap_or(StatusCode::BAD_REQUEST), code, description: None }
            }
            (Some(status), None) => Kind::Status(status),
            (None, None) => Kind::Source,
        };
        let mut error = Self::build(kind, class);
        error.data_mut().is_elsewhere = true;
        error
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

    pub(crate) fn no_timers() -> Self {
        Self::build(Kind::NoTimers, FailureClass::Transient)
    }

    /// The last failure, for a caller who comes during the backoff.
    pub(crate) fn backing_off(last: &Self, retry_in: Duration) -> Self {
        Self::build(Kind::BackingOff { last: last.clone(), retry_in }, last.class())
    }

    /// Sets the class of a failed token request without a token and without a reason: some servers refuse a password in
    /// this way. A refusal that has a class of its own keeps it, and so does a failure before the request was sent.
    pub(crate) fn of_credentials(mut self) -> Self {
        let data = self.data_mut();
        if matches!(data.kind, Kind::Unanswered | Kind::Redirected(_) | Kind::UnusableResponse(_)) {
            data.class = FailureClass::Unexplained;
        }
        self
    }

    /// Sets what the token request presented, so that the advice names it.
    pub(crate) fn presenting(mut self, presented: Presented) -> Self {
        self.data_mut().presented.get_or_insert(presented);
        self
    }

    /// Sets which part of the authorization server failed; without this it is the token endpoint. The first call
    /// decides: an error about another authorization server that is passed on keeps its own.
    pub(crate) fn at(mut self, part: ServerPart) -> Self {
        let data = self.data_mut();
        if let Kind::BackingOff { last, .. } = &mut data.kind {
            *last = last.clone().at(part);
        } else {
            data.part.get_or_insert(part);
        }
        self
    }

    /// Sets the authorization server that failed: scheme, host and port. The first call decides, as for [`at`](Self::at).
    pub(crate) fn about(mut self, server: &str) -> Self {
        let data = self.data_mut();
        if let Kind::BackingOff { last, .. } = &mut data.kind {
            *last = last.clone().about(server);
        } else {
            data.server.get_or_insert_with(|| server.into());
        }
        self
    }
}
