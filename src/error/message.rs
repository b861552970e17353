//! The texts of errors. Each says what is wrong, with what, and what to do.

use std::{error::Error as StdError, fmt, io};

use http::StatusCode;

use crate::error::{
    class::FailureClass,
    error::{Error, Kind, Presented, ServerPart},
};

impl fmt::Display for Error {
    #[expect(clippy::too_many_lines, reason = "each kind has one text")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let data = self.data();
        let part = data.part.unwrap_or(ServerPart::TokenEndpoint);
        let place = Place { part, server: data.server.as_deref() };
        if data.is_elsewhere {
            f.write_str("another process of the fleet got no token, and this one did not ask: ")?;
            if matches!(data.kind, Kind::Source) {
                return f.write_str("its token source failed; read its log");
            }
        }
        match &data.kind {
            Kind::Config(text) | Kind::Unreadable(text) => f.write_str(text),
            Kind::Source | Kind::Provider => {
                f.write_str("the token source failed; read its own error, the `source()` of this one")
            }
            Kind::NotMade => f.write_str(
                "the pool could not make this identity, and nothing was sent; read the error of the pool's function, the `source()` \
                 of this one",
            ),
            Kind::Connect => {
                write!(f, "{place} could not be reached")?;
                self.write_network_cause(f)?;
                write!(f, "; check {} and the network", part.url())
            }
            Kind::Unanswered => {
                write!(f, "{place} closed the connection after the request was sent, without an answer")?;
                self.write_network_cause(f)?;
                match data.presented {
                    None => f.write_str("; check that the server is up, and the network"),
                    Some(presented) => write!(
                        f,
                        "; some servers do this when they refuse the credentials: check {}, and that the server is up",
                        presented.credentials()
                    ),
                }
            }
            Kind::Timeout(after) => {
                write!(f, "no answer from {place} within {after:?}; check that the server is up, and the network")
            }
            Kind::SourceTimeout(after) => write!(
                f,
                "no answer from the token source within {after:?}; check that the authorization server is up, and the \
                 network"
            ),
            Kind::Queued(after) => write!(
                f,
                "no token was requested, because other renewals of the pool came first and none of them got an answer within \
                 {after:?}; check that the authorization server is up, or raise `max_renewals`"
            ),
            Kind::Status(status) => {
                write!(f, "{place} answered {status}")?;
                write_status_advice(f, part, data.presented, *status)
            }
            Kind::Refused { code, description, .. } => {
                write!(f, "{place} refused the request with {code}")?;
                if let Some(description) = description {
                    write!(f, " ({description})")?;
                }
                write!(f, "; {}", code_advice(code, data.presented))?;
                match data.presented {
                    Some(presented) if data.class == FailureClass::Unexplained => {
                        write!(f, "; some servers refuse credentials in this way: check {}", presented.credentials())
                    }
                    _ => Ok(()),
                }
            }
            Kind::Redirected(to) => {
                write!(f, "{place} redirects ({to}), and redirects are not followed; use the URL that it points to")?;
                data.presented.map_or(Ok(()), |presented| {
                    write!(f, " or, if that is a page to sign in, check {}", presented.credentials())
                })
            }
            Kind::UnusableResponse(why) => {
                f.write_str(part.response())?;
                if let Some(server) = place.server {
                    write!(f, " from {server}")?;
                }
                write!(f, " is not usable: {why}")?;
                if why.contains("; ") { Ok(()) } else { write!(f, "; check {}", part.url()) }
            }
            Kind::UnusableToken(why) => {
                write!(f, "the token is not usable: {why}")?;
                if why.contains("; ") { Ok(()) } else { f.write_str("; check that it is the right token") }
            }
            Kind::Panicked => f.write_str("the token source panicked; the panic message says where to correct it"),
            Kind::Recursion => f.write_str(
                "the token source's HTTP client is wrapped in the BearerAuthLayer that it gets tokens for; give it a \
                 client without that layer",
            ),
            Kind::NoRuntime => f.write_str("this needs a Tokio runtime; call it from within one, and keep it running"),
            Kind::NoTimers => {
                f.write_str("this Tokio runtime has no timers: call `enable_time` or `enable_all` on its builder")
            }
            Kind::Insecure(to) => write!(
                f,
                "the request to {to} was not sent, because others could read its token on the way; use https (only http \
                 to loopback is exempt), or allow_plain_http(true) if the network is private by other means"
            ),
            Kind::NoIdentity => f.write_str(
                "the request was not sent, because it has no identity in the pool of tokens; give it what the pool's layer \
                 selects the identity by, or mark it with SkipBearerAuth to send it without a token",
            ),
            Kind::MissingScope(missing) => write!(
                f,
                "the request was not sent, because it needs the scope {missing}, which its token was not granted; request \
                 that scope, or have it allowed for the user and the client"
            ),
            #[cfg(feature = "on-behalf-of")]
            Kind::SubjectExpired => f.write_str(
                "the user's token has expired, so no token was requested in exchange for it; answer 401, so that the caller gets a \
                 new token, and check this machine's clock",
            ),
            // There is nothing to retry.
            #[cfg(feature = "on-behalf-of")]
            Kind::BackingOff { last, .. } if matches!(last.data().kind, Kind::SubjectExpired) => last.fmt(f),
            Kind::BackingOff { last, retry_in } => {
                write!(f, "{last} (retrying is held back for another {retry_in:.1?})")
            }
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let data = self.data();
        let mut f = f.debug_struct("Error");
        f.field("kind", &data.kind).field("class", &data.class);
        if let Some(part) = data.part {
            f.field("part", &part);
        }
        if let Some(presented) = data.presented {
            f.field("presented", &presented);
        }
        if let Some(server) = &data.server {
            f.field("server", server);
        }
        if let Some(wait) = data.retry_after {
            f.field("retry_after", &wait);
        }
        // Not the source itself: another crate or user code may have put a URL or a secret into it.
        if let Some(cause) = self.network_cause() {
            f.field("cause", &cause);
        }
        f.finish()
    }
}

impl Error {
    fn write_network_cause(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.network_cause().map_or(Ok(()), |cause| write!(f, " ({cause})"))
    }

    /// Returns what the operating system or TLS says about a failed exchange. Nothing else of the chain is shown: a
    /// custom HTTP client may put URLs, or even secrets, into its errors.
    fn network_cause(&self) -> Option<String> {
        let mut cause = StdError::source(self);
        while let Some(error) = cause {
            #[cfg(feature = "client")]
            if let Some(tls) = error.downcast_ref::<rustls::Error>() {
                return Some(tls.to_string());
            }
            if let Some(io) = error.downcast_ref::<io::Error>() {
                match io.get_ref() {
                    // The standard library's own words, on Unix. The rest of them says the same in the system's language.
                    Some(_) if io.to_string().starts_with("failed to lookup address information") => {
                        return Some("the host name was not found".into());
                    }
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
}

impl ServerPart {
    /// Returns the setting that says where this part is.
    fn url(self) -> &'static str {
        match self {
            Self::TokenEndpoint => "the token URL",
            Self::RevocationEndpoint => "the revocation URL",
            Self::Metadata => "the URL of the issuer or of the FHIR server",
            Self::ApiMetadata => "the URL of the API, or name its issuer",
        }
    }

    fn response(self) -> &'static str {
        match self {
            Self::TokenEndpoint => "the token response",
            Self::RevocationEndpoint => "the revocation response",
            Self::Metadata => "the authorization server's metadata",
            Self::ApiMetadata => "the API's metadata",
        }
    }
}

impl Presented {
    /// Returns all that the server may have refused.
    fn credentials(self) -> &'static str {
        match self {
            Self::Nothing => "the client id and its secret or key",
            Self::Password => "the client id and secret, and the username and password",
            Self::RefreshToken => "the client id and secret, and the refresh token",
            Self::Assertion => "the client id and secret, and the assertion",
            Self::SubjectToken => "the client id and secret, and the token that is exchanged",
        }
    }
}

/// A part of a server that is known or not.
struct Place<'a> {
    part: ServerPart,
    server: Option<&'a str>,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.part {
            ServerPart::TokenEndpoint => "the token endpoint",
            ServerPart::RevocationEndpoint => "the revocation endpoint",
            ServerPart::Metadata | ServerPart::ApiMetadata => "the metadata endpoint",
        })?;
        self.server.map_or(Ok(()), |server| write!(f, " of {server}"))
    }
}

/// Writes what a person can do about a status that came without an error code.
fn write_status_advice(
    f: &mut fmt::Formatter<'_>,
    part: ServerPart,
    presented: Option<Presented>,
    status: StatusCode,
) -> fmt::Result {
    match status {
        StatusCode::TOO_MANY_REQUESTS => f.write_str("; send it fewer requests"),
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::GONE => {
            write!(f, "; check {}", part.url())
        }
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY => {
            f.write_str("; it, or a proxy in front of it, is busy; try later")
        }
        _ if status.is_client_error() && matches!(part, ServerPart::Metadata | ServerPart::ApiMetadata) => {
            write!(f, "; check {}", part.url())
        }
        _ if status.is_client_error() => write!(
            f,
            " without an error code; check {}, {}",
            part.url(),
            presented.unwrap_or(Presented::Password).credentials()
        ),
        _ if status.is_server_error() => f.write_str("; it, or a proxy in front of it, has a problem; try later"),
        _ => write!(f, "; check {}", part.url()),
    }
}

/// Returns what a person can do about a refusal with an error code (RFC 6749 §5.2, RFC 7009 §2.2.1).
fn code_advice(code: &str, presented: Option<Presented>) -> &'static str {
    match (code, presented) {
        ("invalid_grant", None) => {
            "check the username and the password, or the token or assertion that was sent instead"
        }
        ("invalid_grant", Some(Presented::Password)) => "check the username and the password",
        ("invalid_grant", Some(Presented::RefreshToken)) => {
            "the refresh token has expired, was revoked or was used before: ask the user to sign in again"
        }
        ("invalid_grant", Some(Presented::Assertion)) => {
            "check the assertion: its issuer, subject, audience and key, and this machine's clock"
        }
        ("invalid_grant", Some(Presented::SubjectToken)) => {
            "check the token that is exchanged: it may have expired or be for another audience"
        }
        // Against RFC 6749 §5.2: it should be `invalid_client`.
        ("invalid_grant", Some(Presented::Nothing)) => {
            "check the client id, its secret or key and, for an assertion, its key id and audience and this machine's clock"
        }
        ("invalid_client", _) => {
            "check the client id, its secret or key, the client authentication method and, for an assertion, this \
             machine's clock"
        }
        // Some servers say so of a wrong password.
        ("invalid_request", Some(Presented::Password)) => {
            "check the username and the password, the parameters and the client authentication method"
        }
        // RFC 8693 §2.2.2 requires this code for a token that is not accepted.
        ("invalid_request", Some(Presented::SubjectToken)) => {
            "check the user's token that is exchanged: it may have expired or be for another audience; then check the parameters and \
             the client authentication method"
        }
        ("invalid_request", Some(Presented::Assertion)) => {
            "check the user's token or the other assertion that was sent, then the parameters and the client authentication method"
        }
        ("invalid_request", _) => "check the parameters and the client authentication method",
        ("invalid_scope", _) => "check the scope",
        ("unauthorized_client", _) => "ask its operator to allow this grant for this client",
        ("unsupported_grant_type", _) => "use a grant that it offers, or the URL where it offers this one",
        ("unsupported_token_type", _) => {
            "tokens of this kind, such as JWTs, cannot be revoked there: wait until they expire"
        }
        ("temporarily_unavailable" | "server_error" | "slow_down", _) => "try later",
        _ => "ask its operator what that means",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const REFUSED_CONNECTION: io::ErrorKind = io::ErrorKind::ConnectionRefused;
    const SERVER: &str = "https://auth.example.org";

    #[test]
    fn a_message_says_what_is_wrong_with_what_and_what_to_do() {
        let status = |status: u16| Error::unexplained_status(StatusCode::from_u16(status).unwrap());
        for (error, text) in [
            (
                Error::connect(io::Error::from(REFUSED_CONNECTION)),
                "the token endpoint could not be reached (connection refused); check the token URL and the network",
            ),
            (
                Error::connect(io::Error::other("failed to lookup address information: Name or service not known"))
                    .about(SERVER)
                    .about("https://other.example.org"),
                "the token endpoint of https://auth.example.org could not be reached (the host name was not found); check the \
                 token URL and the network",
            ),
            (
                Error::unusable_response("it has no access_token").about(SERVER),
                "the token response from https://auth.example.org is not usable: it has no access_token; check the token URL",
            ),
            (
                Error::backing_off(&status(404).at(ServerPart::Metadata), Duration::from_secs(1)).about(SERVER),
                "the metadata endpoint of https://auth.example.org answered 404 Not Found; check the URL of the issuer or of \
                 the FHIR server (retrying is held back for another 1.0s)",
            ),
            (
                Error::timeout(Duration::from_secs(10)).at(ServerPart::RevocationEndpoint),
                "no answer from the revocation endpoint within 10s; check that the server is up, and the network",
            ),
            (
                Error::unusable_response("its content type is text/html, not JSON"),
                "the token response is not usable: its content type is text/html, not JSON; check the token URL",
            ),
            (
                Error::unusable_response("it has no issuer; ask for one").at(ServerPart::Metadata),
                "the authorization server's metadata is not usable: it has no issuer; ask for one",
            ),
            (status(404), "the token endpoint answered 404 Not Found; check the token URL"),
            (
                status(401),
                "the token endpoint answered 401 Unauthorized without an error code; check the token URL, the client id \
                 and secret, and the username and password",
            ),
            (
                status(408),
                "the token endpoint answered 408 Request Timeout; it, or a proxy in front of it, is busy; try later",
            ),
            (
                status(401).at(ServerPart::Metadata),
                "the metadata endpoint answered 401 Unauthorized; check the URL of the issuer or of the FHIR server",
            ),
            (
                status(502),
                "the token endpoint answered 502 Bad Gateway; it, or a proxy in front of it, has a problem; try later",
            ),
            (
                Error::request_failed(io::Error::from(io::ErrorKind::ConnectionReset)).at(ServerPart::Metadata),
                "the metadata endpoint closed the connection after the request was sent, without an answer (connection reset); \
                 check that the server is up, and the network",
            ),
            (
                Error::refused(StatusCode::BAD_REQUEST, "invalid_scope".into(), Some("no such scope".into())),
                "the token endpoint refused the request with invalid_scope (no such scope); check the scope",
            ),
            (
                Error::queued(Duration::from_secs(60)),
                "no token was requested, because other renewals of the pool came first and none of them got an answer within \
                 60s; check that the authorization server is up, or raise `max_renewals`",
            ),
            (Error::no_timers(), "this Tokio runtime has no timers: call `enable_time` or `enable_all` on its builder"),
            (
                Error::backing_off(&status(429), Duration::from_millis(1234)),
                "the token endpoint answered 429 Too Many Requests; send it fewer requests (retrying is held back for \
                 another 1.2s)",
            ),
        ] {
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn the_advice_names_what_the_request_presented() {
        use Presented::{Assertion, Nothing, Password, RefreshToken, SubjectToken};
        let refused =
            |status: u16, code: &str| Error::refused(StatusCode::from_u16(status).unwrap(), code.to_owned(), None);
        let status = |status: u16| Error::unexplained_status(StatusCode::from_u16(status).unwrap());
        let unanswered = || Error::request_failed(io::Error::from(io::ErrorKind::UnexpectedEof)).of_credentials();
        let redirected = || Error::redirected("/login".into()).of_credentials();
        for (error, presented, says, says_not) in [
            (refused(400, "invalid_request"), Password, "the username and the password", "key"),
            (refused(400, "invalid_request"), Nothing, "the parameters", "password"),
            (refused(400, "invalid_request"), SubjectToken, "; check the user's token", "password"),
            (refused(400, "invalid_request"), Assertion, "; check the user's token", "password"),
            (refused(400, "invalid_grant"), Password, "the username and the password", "assertion"),
            (refused(400, "invalid_grant"), Nothing, "its secret or key", "password"),
            (refused(400, "invalid_grant"), RefreshToken, "sign in again", "password"),
            (refused(500, "server_error"), Password, "try later; some servers refuse credentials in this way", "key"),
            (refused(503, "server_error"), Password, "try later", "password"),
            (status(401), Password, "the username and password", "key"),
            (status(401), Nothing, "the client id and its secret or key", "password"),
            (unanswered(), Password, "some servers do this when they refuse the credentials", "key"),
            (unanswered(), Nothing, "check the client id and its secret or key", "password"),
            (redirected(), Password, "use the URL that it points to or, if that is a page to sign in, check", "key"),
        ] {
            let text = error.presenting(presented).to_string();
            assert!(text.contains(says) && !text.contains(says_not), "{presented:?}: {text}");
        }
    }
}
