//! Successful and failed responses, in the form of RFC 6749 §5.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

/// The body of a response.
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

    pub(super) fn response(&self) -> Response<Content> {
        let status = if self.error == "invalid_client" { 401 } else { 400 };
        let body = json!({ "error": self.error, "error_description": self.description });
        oauth_error(status, &body)
    }
}

/// Returns an error response. A 401 names the authentication scheme.
pub(super) fn oauth_error(code: u16, body: &Value) -> Response<Content> {
    let mut response = json_response(body);
    *response.status_mut() = status(code);
    if code == 401 {
        let challenge = HeaderValue::from_static("Basic realm=\"issuer\"");
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}

/// Returns a 200 response that must not be cached (RFC 6749 §5.1).
pub(super) fn json_response(body: &Value) -> Response<Content> {
    let mut response = Response::new(Content::Whole(body.to_string().into()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Returns a response with an empty body and no headers.
pub(super) fn empty_response(code: u16) -> Response<Content> {
    let mut response = Response::new(Content::Whole(Bytes::new()));
    *response.status_mut() = status(code);
    response
}

pub(super) fn method_not_allowed(allowed: &'static str) -> Response<Content> {
    let mut response = empty_response(405);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// Returns the status code, or 500 if the number is not a valid one.
pub(super) fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
