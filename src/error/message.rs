//! The texts of errors. Each says what is wrong, with what, and what to do.

use std::{error::Error as StdError, fmt, io};

use http::StatusCode;

use crate::error::error::{Error, Kind, ServerPart};

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let data = self.data();
        let part = data.part.unwrap_or(ServerPart::TokenEndpoint);
        let place = Place { part, server: data.server.as_deref() };
        match &data.kind {
            Kind::Config(text) | Kind::Unreadable(text) => f.write_str(text),
            Kind::Source => f.write_str("the token source failed; read its own error, the `source()` of this one"),
            Kind::Connect => {
                write!(f, "{place} could not be reached")?;
                if let Some(cause) = self.network_cause() {
                    write!(f, " ({cause})")?;
                }
                write!(f, "; check {} and the network", part.url())
            }
            Kind::Timeout(after) => {
                write!(f, "no answer from {place} within {after:?}; check that the server is up, and the network")
            }
            Kind::SourceTimeout(after) => write!(
                f,
                "no answer from the token source within {after:?}; check that the authorization server is up, and the \
                 network"
            ),
            Kind::Status(status) => {
                write!(f, "{place} answered {status}")?;
                write_status_advice(f, part, *status)
            }
            Kind::Refused { code, description, .. } => {
                write!(f, "{place} refused the request with {code}")?;
                if let Some(description) = description {
                    write!(f, " ({description})")?;
                }
                write!(f, "; {}", code_advice(code))
            }
            Kind::Redirected(to) => {
                write!(f, "{place} redirects ({to}), and redirects are not followed; use the URL that it points to")
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
            Kind::MissingScope(missing) => write!(
                f,
                "the request was not sent, because it needs the scope {missing}, which its token was not granted; request \
                 that scope, or have it allowed for the user and the client"
            ),
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
        }
    }

    fn response(self) -> &'static str {
        match self {
            Self::TokenEndpoint => "the token response",
            Self::RevocationEndpoint => "the revocation response",
            Self::Metadata => "the authorization server's metadata",
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
            ServerPart::Metadata => "the metadata endpoint",
        })?;
        self.server.map_or(Ok(()), |server| write!(f, " of {server}"))
    }
}

/// Writes what a person can do about a status that came without an error code.
fn write_status_advice(f: &mut fmt::Formatter<'_>, part: ServerPart, status: StatusCode) -> fmt::Result {
    match status {
        StatusCode::TOO_MANY_REQUESTS => f.write_str("; send it fewer requests"),
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::GONE => {
            write!(f, "; check {}", part.url())
        }
        _ if status.is_client_error() && part == ServerPart::Metadata => write!(f, "; check {}", part.url()),
        _ if status.is_client_error() => write!(
            f,
            " without an error code; check {}, the client id and secret, and the username and password",
            part.url()
        ),
        _ if status.is_server_error() => f.write_str("; it, or a proxy in front of it, has a problem; try later"),
        _ => write!(f, "; check {}", part.url()),
    }
}

/// Returns what a person can do about a refusal with an error code (RFC 6749 §5.2, RFC 7009 §2.2.1).
fn code_advice(code: &str) -> &'static str {
    match code {
        "invalid_grant" => "check the username and the password, or the token or assertion that was sent instead",
        "invalid_client" => {
            "check the client id, its secret or key, the client authentication method and, for an assertion, this \
             machine's clock"
        }
        "invalid_request" => "check the parameters and the client authentication method",
        "invalid_scope" => "check the scope",
        "unauthorized_client" => "ask its operator to allow this grant for this client",
        "unsupported_grant_type" => "use a grant that it offers, or the URL where it offers this one",
        "unsupported_token_type" => {
            "tokens of this kind, such as JWTs, cannot be revoked there: wait until they expire"
        }
        "temporarily_unavailable" | "server_error" | "slow_down" => "try later",
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
                status(401).at(ServerPart::Metadata),
                "the metadata endpoint answered 401 Unauthorized; check the URL of the issuer or of the FHIR server",
            ),
            (
                status(502),
                "the token endpoint answered 502 Bad Gateway; it, or a proxy in front of it, has a problem; try later",
            ),
            (
                Error::refused(StatusCode::BAD_REQUEST, "invalid_scope".into(), Some("no such scope".into())),
                "the token endpoint refused the request with invalid_scope (no such scope); check the scope",
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
}
