//! The failures that a test can command.

use std::error::Error;
use std::{fmt, future};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, LOCATION, RETRY_AFTER};
use http::{HeaderValue, Response};
use serde_json::json;

use crate::testing::response::{Content, empty_response, oauth_error};

/// How a token request fails; see [`Issuer::fail_next`](super::Issuer::fail_next).
///
/// A status that is not an HTTP status becomes 500. A header value that HTTP does not allow is omitted.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Failure {
    /// An OAuth error with this status and this code (RFC 6749 §5.2). Some servers send errors with status 200.
    OAuth(u16, &'static str),
    /// A status with an empty body.
    Status(u16),
    /// A status with an empty body and this `Retry-After`, valid or not.
    RetryAfter(u16, String),
    /// No response: the error [`Outage`] in process, a closed connection on loopback.
    ///
    /// On loopback the request has arrived before, so a client cannot tell it from a refusal: some servers answer a wrong
    /// password in this way. Drop the [`IssuerServer`](super::IssuerServer) for a refused connection.
    Outage,
    /// The request is carried out, then its response is lost as in an [`Outage`](Self::Outage).
    ///
    /// For example, a refresh token is used up and the client never gets the next one.
    AnswerLost,
    /// A response as given, for example HTML, truncated JSON or a large body.
    Answer {
        /// The status.
        status: u16,
        /// The `Content-Type`.
        content_type: String,
        /// The body.
        body: Bytes,
    },
    /// A 200 with a JSON body that does not end. In process, where a body must be complete, it ends after 16 MiB.
    Endless,
    /// A 307 redirect to this location. A client that follows it sends the credentials there.
    Redirect(String),
    /// No response, while the connection stays open.
    Hang,
}

impl Failure {
    /// Returns the failed response.
    ///
    /// [`AnswerLost`](Self::AnswerLost) is an outage here. The caller carries out the request before.
    pub(super) async fn respond(self) -> Result<Response<Content>, Outage> {
        Ok(match self {
            Self::OAuth(status, code) => oauth_error(status, &json!({ "error": code })),
            Self::Status(status) => empty_response(status),
            Self::RetryAfter(status, after) => with_header(empty_response(status), RETRY_AFTER, &after),
            Self::Outage | Self::AnswerLost => return Err(Outage(())),
            Self::Answer { status, content_type, body } => {
                with_header(empty_response(status), CONTENT_TYPE, &content_type).map(|_| Content::Whole(body))
            }
            Self::Endless => {
                with_header(empty_response(200), CONTENT_TYPE, "application/json").map(|_| Content::Endless)
            }
            Self::Redirect(location) => with_header(empty_response(307), LOCATION, &location),
            Self::Hang => future::pending().await,
        })
    }
}

fn with_header(mut response: Response<Content>, name: HeaderName, value: &str) -> Response<Content> {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
    response
}

/// The error of a request that gets no response, as if the server could not be reached.
#[derive(Clone, Copy, Debug)]
pub struct Outage(pub(super) ());

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the scripted server did not respond, because the test commanded an outage")
    }
}

impl Error for Outage {}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::BodyExt as _;
    use serde_json::json;

    use super::*;
    use crate::testing::issuer::Issuer;
    use crate::testing::test_client::{PASSWORD, json_body, post_form, try_post_form};

    #[tokio::test]
    async fn failures_happen_in_order_and_once_each() {
        let issuer = Issuer::new();
        issuer.fail_next(2, Failure::Status(503));
        issuer.fail_next(1, Failure::OAuth(400, "invalid_grant"));
        issuer.fail_next(1, Failure::RetryAfter(429, "soon".to_owned()));
        let mut seen = Vec::new();
        for _ in 0..5 {
            seen.push(post_form(&issuer, "/token", PASSWORD).await.status().as_u16());
        }
        assert_eq!(seen, [503, 503, 400, 429, 200]);
        assert_eq!((issuer.counts().issued, issuer.counts().refused), (1, 4));
    }

    #[tokio::test]
    async fn a_failure_until_cleared_lasts_until_it_is_cleared() {
        let issuer = Issuer::new();
        issuer.fail_until_cleared(Failure::Outage);
        for _ in 0..3 {
            try_post_form(&issuer, "/token", PASSWORD).await.unwrap_err();
        }
        issuer.clear_failures();
        assert_eq!(post_form(&issuer, "/token", PASSWORD).await.status(), 200);
    }

    #[tokio::test]
    async fn a_raw_response_and_a_redirect_arrive_unchanged() {
        let issuer = Issuer::new();
        issuer
            .fail_next(1, Failure::Answer { status: 502, content_type: "text/html".to_owned(), body: "<html>".into() });
        issuer.fail_next(1, Failure::Redirect("https://elsewhere.test/token".to_owned()));
        let html = post_form(&issuer, "/token", PASSWORD).await;
        assert_eq!(
            (html.status().as_u16(), &html.headers()[CONTENT_TYPE]),
            (502, &HeaderValue::from_static("text/html"))
        );
        assert_eq!(html.into_body().collect().await.unwrap().to_bytes(), "<html>");
        let redirect = post_form(&issuer, "/token", PASSWORD).await;
        assert_eq!(
            (redirect.status().as_u16(), &redirect.headers()[LOCATION]),
            (307, &HeaderValue::from_static("https://elsewhere.test/token"))
        );
    }

    #[tokio::test]
    async fn an_invalid_status_or_header_does_not_panic() {
        let issuer = Issuer::new();
        issuer.fail_next(1, Failure::Status(0));
        issuer.fail_next(1, Failure::RetryAfter(503, "a\nb".to_owned()));
        assert_eq!(post_form(&issuer, "/token", PASSWORD).await.status(), 500);
        assert!(!post_form(&issuer, "/token", PASSWORD).await.headers().contains_key(RETRY_AFTER));
    }

    #[tokio::test(start_paused = true)]
    async fn a_hang_never_responds() {
        let issuer = Issuer::new();
        issuer.fail_next(1, Failure::Hang);
        let day = Duration::from_secs(86_400);
        tokio::time::timeout(day, post_form(&issuer, "/token", PASSWORD)).await.unwrap_err();
    }

    #[tokio::test]
    async fn a_request_whose_response_is_lost_was_carried_out() {
        let issuer = Issuer::new();
        issuer.fail_next(1, Failure::AnswerLost);
        try_post_form(&issuer, "/token", PASSWORD).await.unwrap_err();
        assert_eq!(issuer.counts().issued, 1);
    }

    #[tokio::test]
    async fn scripted_and_changed_responses_come_in_order() {
        let issuer = Issuer::new();
        issuer.answer_next(json!({ "access_token": "abc", "token_type": "mac" }));
        issuer.amend_next(json!({ "expires_in": "3600", "scope": null }));
        let scripted = json_body(post_form(&issuer, "/token", PASSWORD).await).await;
        assert_eq!(scripted, json!({ "access_token": "abc", "token_type": "mac" }));
        let changed = json_body(post_form(&issuer, "/token", PASSWORD).await).await;
        assert_eq!(changed["expires_in"], "3600");
        assert_eq!(changed["token_type"], "Bearer");
        assert_eq!(changed.get("scope"), None);
    }
}
