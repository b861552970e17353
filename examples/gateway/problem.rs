//! The gateway's own responses (RFC 9457). Details are in the logs only: users need not know the authorization server.

use std::time::Duration;

use http::{
    HeaderValue, Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use http_body_util::Full;
use serde_json::json;

/// The methods of the standard that the gateway forwards. It also forwards those that it does not know.
const FORWARDED: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");

/// Why a request does not get the upstream's response.
#[derive(Debug)]
pub enum Problem {
    /// The path is outside the upstream's base path, or the request has no path.
    Path,
    /// `CONNECT`.
    Tunnel,
    /// `TRACE`. Its response would show what the upstream receives (RFC 9110 §9.3.8).
    Trace,
    /// The request does not name a tenant, or names one that is not known.
    Tenant,
    /// The request has no token of a user.
    NoUser,
    /// The user's token has expired, or the authorization server refused it.
    RefusedUser,
    /// Without a token, nothing was sent. The time is until the next token request.
    NoToken(Option<Duration>),
    Unreachable,
    Timeout,
    /// The request's body is incomplete. Usually nobody is left to read the response.
    Incomplete,
}

impl Problem {
    pub fn response(&self) -> Response<Full<hyper::body::Bytes>> {
        let (status, detail) = match self {
            Self::Path => (StatusCode::BAD_REQUEST, "The path is outside the base path of the upstream."),
            Self::Tunnel => (StatusCode::NOT_IMPLEMENTED, "The gateway does not support CONNECT."),
            Self::Trace => (StatusCode::METHOD_NOT_ALLOWED, "The gateway does not forward TRACE."),
            Self::Tenant => (StatusCode::FORBIDDEN, "The request does not name a tenant that the gateway knows."),
            Self::NoUser => (StatusCode::UNAUTHORIZED, "The request has no token of a user."),
            Self::RefusedUser => (StatusCode::UNAUTHORIZED, "The user's token has expired, or was refused."),
            Self::NoToken(Some(_)) => {
                (StatusCode::SERVICE_UNAVAILABLE, "The gateway has no token for the upstream at the moment.")
            }
            Self::NoToken(None) => (StatusCode::BAD_GATEWAY, "The gateway has no token for the upstream."),
            Self::Unreachable => {
                (StatusCode::BAD_GATEWAY, "The upstream could not be reached, or closed the connection.")
            }
            Self::Timeout => (StatusCode::GATEWAY_TIMEOUT, "The upstream did not respond in time."),
            Self::Incomplete => (StatusCode::BAD_REQUEST, "The request is incomplete."),
        };
        let title = status.canonical_reason();
        let text = json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail });
        let mut response = Response::new(Full::from(text.to_string()));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response.headers_mut().extend(match self {
            Self::NoToken(Some(wait)) => Some((RETRY_AFTER, seconds(*wait).into())),
            Self::Trace => Some((ALLOW, FORWARDED)),
            // RFC 6750 §3: without a token, the challenge has no error.
            Self::NoUser => Some((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            Self::RefusedUser => Some((WWW_AUTHENTICATE, HeaderValue::from_static(r#"Bearer error="invalid_token""#))),
            _ => None,
        });
        response
    }
}

/// Rounds up, so that a user who waits this long does not come too early.
fn seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_rounded_up() {
        for (millis, rounded) in [(0, 1), (1, 1), (1_000, 1), (1_001, 2), (59_999, 60)] {
            assert_eq!(seconds(Duration::from_millis(millis)), rounded);
        }
    }
}
