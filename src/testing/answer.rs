//! Answers, good and bad, in the form of RFC 6749 §5.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

/// The body of an answer.
#[derive(Debug)]
pub(super) enum Content {
    Whole(Bytes),
    /// Spaces without an end.
    Endless,
}

/// Why a request is refused (RFC 6749 §5.2).
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) error: &'static str,
    pub(super) description: &'static str,
}

impl Refusal {
    pub(super) const fn new(error: &'static str, description: &'static str) -> Self {
        Self { error, description }
    }

    pub(super) fn answer(&self) -> Response<Content> {
        let status = if self.error == "invalid_client" { 401 } else { 400 };
        let body = json!({ "error": self.error, "error_description": self.description });
        oauth_error(status, &body)
    }
}

/// An error answer; a 401 names the scheme to authenticate with.
pub(super) fn oauth_error(code: u16, body: &Value) -> Response<Content> {
    let mut response = json_answer(body);
    *response.status_mut() = status(code);
    if code == 401 {
        let challenge = HeaderValue::from_static("Basic realm=\"issuer\"");
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}

/// A 200 that no cache may keep (RFC 6749 §5.1).
pub(super) fn json_answer(body: &Value) -> Response<Content> {
    let mut response = Response::new(Content::Whole(body.to_string().into()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Nothing but a status.
pub(super) fn bare(code: u16) -> Response<Content> {
    let mut response = Response::new(Content::Whole(Bytes::new()));
    *response.status_mut() = status(code);
    response
}

pub(super) fn wrong_method(allowed: &'static str) -> Response<Content> {
    let mut response = bare(405);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// A number that is no status becomes 500.
pub(super) fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
