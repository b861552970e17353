//! Answers of our own (RFC 9457). What exactly went wrong is in the logs: users of the gateway need not know its issuer.

use std::time::Duration;

use http::{
    HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use http_body_util::Full;
use serde_json::json;

/// Why the upstream's answer is not what comes back.
#[derive(Debug)]
pub enum Problem {
    /// The path leads out of the upstream's base path, or there is none.
    Path,
    /// `CONNECT`.
    Tunnel,
    /// There is no token, and nothing was sent. With the time until it is asked for again.
    NoToken(Option<Duration>),
    Unreachable,
    Timeout,
    /// The request's body broke off: hardly anybody is left to read this.
    BrokeOff,
}

impl Problem {
    pub fn answer(&self) -> Response<Full<hyper::body::Bytes>> {
        let (status, detail) = match self {
            Self::Path => (StatusCode::BAD_REQUEST, "The path is not below the upstream's."),
            Self::Tunnel => (StatusCode::NOT_IMPLEMENTED, "This is no forward proxy."),
            Self::NoToken(Some(_)) => {
                (StatusCode::SERVICE_UNAVAILABLE, "There is no token for the upstream at the moment.")
            }
            Self::NoToken(None) => (StatusCode::BAD_GATEWAY, "There is no token for the upstream."),
            Self::Unreachable => (StatusCode::BAD_GATEWAY, "The upstream could not be reached, or broke off."),
            Self::Timeout => (StatusCode::GATEWAY_TIMEOUT, "The upstream did not answer in time."),
            Self::BrokeOff => (StatusCode::BAD_REQUEST, "The request broke off."),
        };
        let title = status.canonical_reason();
        let text = json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail });
        let mut answer = Response::new(Full::from(text.to_string()));
        *answer.status_mut() = status;
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Self::NoToken(Some(wait)) = self {
            answer.headers_mut().insert(RETRY_AFTER, seconds(*wait).into());
        }
        answer
    }
}

/// Rounded up: whoever comes a moment too early is refused again.
fn seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_rounded_up() {
        for (millis, rounded) in [(0, 1), (1, 1), (1_000, 1), (1_001, 2), (59_999, 60)] {
            assert_eq!(seconds(Duration::from_millis(millis)), rounded);
        }
    }
}
