//! Failures on command.

use std::error::Error;
use std::{fmt, future};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, LOCATION, RETRY_AFTER};
use http::{HeaderValue, Response};
use serde_json::json;

use super::answer::{Content, bare, oauth_error};

/// How a token request fails; see [`Issuer::fail_next`](super::Issuer::fail_next).
///
/// A status that is no HTTP status becomes 500, a header value that HTTP does not allow is left out.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Failure {
    /// An OAuth error: a status and the code (RFC 6749 §5.2). With status 200, the disguised kind that some servers send.
    OAuth(u16, &'static str),
    /// A status with an empty body.
    Status(u16),
    /// A status with an empty body and this `Retry-After`, sensible or not.
    RetryAfter(u16, String),
    /// No answer: [`Outage`] in process; on loopback the connection is closed.
    Outage,
    /// The request is carried out, then its answer is lost as in an [`Outage`](Self::Outage): a refresh token is used up,
    /// its successor never arrives.
    AnswerLost,
    /// An answer as given: HTML, cut-off JSON, 10 MiB of anything.
    Answer {
        /// The status.
        status: u16,
        /// The `Content-Type`.
        content_type: String,
        /// The body.
        body: Bytes,
    },
    /// A 200 of JSON whose body does not end. In process, where a body must be whole, it ends after 16 MiB.
    Endless,
    /// A 307 to this location, which asks to send the credentials there.
    Redirect(String),
    /// Never an answer, and the connection stays open.
    Hang,
}

impl Failure {
    /// Fails in this manner. [`AnswerLost`](Self::AnswerLost) is an outage here: who carries the request out calls this after.
    pub(super) async fn happen(self) -> Result<Response<Content>, Outage> {
        Ok(match self {
            Self::OAuth(status, code) => oauth_error(status, &json!({ "error": code })),
            Self::Status(status) => bare(status),
            Self::RetryAfter(status, after) => with(bare(status), RETRY_AFTER, &after),
            Self::Outage | Self::AnswerLost => return Err(Outage(())),
            Self::Answer { status, content_type, body } => {
                with(bare(status), CONTENT_TYPE, &content_type).map(|_| Content::Whole(body))
            }
            Self::Endless => with(bare(200), CONTENT_TYPE, "application/json").map(|_| Content::Endless),
            Self::Redirect(location) => with(bare(307), LOCATION, &location),
            Self::Hang => future::pending().await,
        })
    }
}

fn with(mut response: Response<Content>, name: HeaderName, value: &str) -> Response<Content> {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
    response
}

/// The issuer gave no answer, as if it could not be reached.
#[derive(Clone, Copy, Debug)]
pub struct Outage(pub(super) ());

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the scripted issuer gave no answer")
    }
}

impl Error for Outage {}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::BodyExt as _;
    use serde_json::json;

    use super::*;
    use crate::testing::Issuer;
    use crate::testing::ask::{PASSWORD, ask, json_body, try_ask};

    #[tokio::test]
    async fn failures_happen_in_order_and_then_no_more() {
        let issuer = Issuer::new();
        issuer.fail_next(2, Failure::Status(503));
        issuer.fail_next(1, Failure::OAuth(400, "invalid_grant"));
        issuer.fail_next(1, Failure::RetryAfter(429, "soon".to_owned()));
        let mut seen = Vec::new();
        for _ in 0..5 {
            seen.push(ask(&issuer, "/token", PASSWORD).await.status().as_u16());
        }
        assert_eq!(seen, [503, 503, 400, 429, 200]);
        assert_eq!((issuer.counts().issued, issuer.counts().refused), (1, 4));
    }

    #[tokio::test]
    async fn a_standing_failure_lasts_until_cleared() {
        let issuer = Issuer::new();
        issuer.fail_until_cleared(Failure::Outage);
        for _ in 0..3 {
            try_ask(&issuer, "/token", PASSWORD).await.unwrap_err();
        }
        issuer.clear_failures();
        assert_eq!(ask(&issuer, "/token", PASSWORD).await.status(), 200);
    }

    #[tokio::test]
    async fn a_raw_answer_and_a_redirect_arrive_as_given() {
        let issuer = Issuer::new();
        issuer
            .fail_next(1, Failure::Answer { status: 502, content_type: "text/html".to_owned(), body: "<html>".into() });
        issuer.fail_next(1, Failure::Redirect("https://elsewhere.test/token".to_owned()));
        let html = ask(&issuer, "/token", PASSWORD).await;
        assert_eq!(
            (html.status().as_u16(), &html.headers()[CONTENT_TYPE]),
            (502, &HeaderValue::from_static("text/html"))
        );
        assert_eq!(html.into_body().collect().await.unwrap().to_bytes(), "<html>");
        let redirect = ask(&issuer, "/token", PASSWORD).await;
        assert_eq!(
            (redirect.status().as_u16(), &redirect.headers()[LOCATION]),
            (307, &HeaderValue::from_static("https://elsewhere.test/token"))
        );
    }

    #[tokio::test]
    async fn impossible_scripts_do_not_panic() {
        let issuer = Issuer::new();
        issuer.fail_next(1, Failure::Status(0));
        issuer.fail_next(1, Failure::RetryAfter(503, "a\nb".to_owned()));
        assert_eq!(ask(&issuer, "/token", PASSWORD).await.status(), 500);
        assert!(!ask(&issuer, "/token", PASSWORD).await.headers().contains_key(RETRY_AFTER));
    }

    #[tokio::test(start_paused = true)]
    async fn a_hang_never_answers() {
        let issuer = Issuer::new();
        issuer.fail_next(1, Failure::Hang);
        let day = Duration::from_secs(86_400);
        tokio::time::timeout(day, ask(&issuer, "/token", PASSWORD)).await.unwrap_err();
    }

    #[tokio::test]
    async fn a_lost_answer_was_carried_out() {
        let issuer = Issuer::new();
        issuer.fail_next(1, Failure::AnswerLost);
        try_ask(&issuer, "/token", PASSWORD).await.unwrap_err();
        assert_eq!(issuer.counts().issued, 1);
    }

    #[tokio::test]
    async fn scripted_and_amended_answers_come_in_order() {
        let issuer = Issuer::new();
        issuer.answer_next(json!({ "access_token": "abc", "token_type": "mac" }));
        issuer.amend_next(json!({ "expires_in": "3600", "scope": null }));
        let scripted = json_body(ask(&issuer, "/token", PASSWORD).await).await;
        assert_eq!(scripted, json!({ "access_token": "abc", "token_type": "mac" }));
        let amended = json_body(ask(&issuer, "/token", PASSWORD).await).await;
        assert_eq!(amended["expires_in"], "3600");
        assert_eq!(amended["token_type"], "Bearer");
        assert_eq!(amended.get("scope"), None);
    }
}
