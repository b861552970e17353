//! The reply of an authorization server, which is untrusted input.

use std::{
    borrow::Cow,
    time::{Duration, SystemTime},
};

use bytes::{Buf, Bytes};
use http::{
    HeaderMap, Response, StatusCode, Uri,
    header::{CONTENT_TYPE, DATE, LOCATION, RETRY_AFTER},
};
use serde::{Deserialize, de::DeserializeOwned};
use zeroize::{Zeroize, Zeroizing};

use crate::{
    clock,
    error::Error,
    grant::{
        exchange::{http_service::CollectedBody, lenient, sent_secrets::SentSecrets},
        server::url::redacted,
    },
};

/// The codes of RFC 6749 §5.2 and RFC 7009 §2.2.1. They are shown even if a secret that was sent is the same text.
const REGISTERED_CODES: [&str; 7] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "unsupported_token_type",
];

/// The deepest nesting of JSON that is read.
const MAX_DEPTH: u32 = 64;

/// A whole reply to a request.
pub(crate) struct ServerReply {
    pub(crate) status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    /// How errors name the server.
    server: String,
    sent: Option<SentSecrets>,
}

/// The members of a refusal (RFC 6749 §5.2).
#[derive(Deserialize)]
pub(crate) struct Refusal {
    #[serde(rename = "error")]
    pub(crate) code: String,
    #[serde(default, rename = "error_description", deserialize_with = "lenient::text")]
    pub(crate) description: Option<String>,
}

impl ServerReply {
    /// Wraps a response.
    ///
    /// # Errors
    /// When it is a redirect. Redirects are not followed: the credentials would go to another server.
    pub(crate) fn new(
        response: Response<CollectedBody>,
        server: String,
        sent: Option<SentSecrets>,
    ) -> Result<Self, Error> {
        let (head, CollectedBody(body)) = response.into_parts();
        let reply = Self { status: head.status, headers: head.headers, body, server, sent };
        if !reply.status.is_redirection() {
            return Ok(reply);
        }
        let shown = match redirect_target(&reply.headers) {
            None => "the reply does not say where".to_owned(),
            Some(target) if reply.repeats_secret(&without_query(&target)) => {
                "not shown, because it contains a secret".to_owned()
            }
            Some(target) => redacted(&target),
        };
        Err(Error::redirected(shown).about(&reply.server))
    }

    /// Reads the JSON object in the body, or says why there is none. It takes the body: call it once. The memory of the body
    /// is wiped if nothing else holds it.
    pub(crate) fn json<T: DeserializeOwned>(&mut self) -> Result<T, Cow<'static, str>> {
        let body = std::mem::take(&mut self.body);
        self.check_content_type()?;
        parse_object(body).map_err(Cow::Borrowed)
    }

    /// # Errors
    /// When the content type is not JSON. It is named only if it cannot be a secret.
    fn check_content_type(&self) -> Result<(), Cow<'static, str>> {
        let Some(value) = self.headers.get(CONTENT_TYPE) else { return Err("it has no content type".into()) };
        let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
        let media_type = essence.to_ascii_lowercase();
        if media_type == "application/json" || media_type.ends_with("+json") {
            return Ok(());
        }
        Err(if is_media_type(&media_type) && !self.repeats_secret(essence) {
            format!("its content type is {media_type}, not JSON").into()
        } else {
            "its content type is not JSON".into()
        })
    }

    /// Returns the error for a refusal. The server's text is shown only if it cannot be a secret.
    pub(crate) fn refusal_error(&self, refusal: Refusal, show_description: bool) -> Error {
        let Refusal { code, description } = refusal;
        let is_safe = REGISTERED_CODES.contains(&code.as_str()) || (is_code(&code) && !self.repeats_secret(&code));
        let code = if is_safe { code } else { "an unreadable error code".to_owned() };
        self.complete(Error::refused(self.status, code, description.filter(|_| show_description)))
    }

    /// Adds to an error which server it is about, and the wait that the server asked for.
    pub(crate) fn complete(&self, error: Error) -> Error {
        let error = error.about(&self.server);
        match retry_after(&self.headers) {
            Some(wait) => error.with_retry_after(wait),
            None => error,
        }
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Returns the time by the server's clock.
    pub(crate) fn date(&self) -> Option<SystemTime> {
        date(&self.headers)
    }

    fn repeats_secret(&self, text: &str) -> bool {
        self.sent.as_ref().is_some_and(|sent| sent.are_repeated_in(text))
    }
}

/// Returns whether a text in lower case has the form of a registered media type (RFC 6838 §4.2).
fn is_media_type(text: &str) -> bool {
    let is_type = |kind| {
        matches!(
            kind,
            "application" | "audio" | "font" | "image" | "message" | "model" | "multipart" | "text" | "video"
        )
    };
    text.len() <= 64
        && text.split_once('/').is_some_and(|(kind, subtype)| {
            is_type(kind)
                && subtype.starts_with(|c: char| c.is_ascii_lowercase())
                && subtype.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b))
        })
}

fn parse_object<T: DeserializeOwned>(body: Bytes) -> Result<T, &'static str> {
    const WRONG: &str = "it is not a JSON object of the form that the standard requires";
    let mut text = Zeroizing::new(vec![0; body.len()]);
    body.clone().copy_to_slice(&mut text);
    if let Ok(mut ours) = body.try_into_mut() {
        (*ours).zeroize();
    }
    if text.trim_ascii_start().first() != Some(&b'{') {
        return Err(WRONG);
    }
    if is_nested_too_deeply(&text) {
        return Err("its JSON is nested too deeply");
    }
    serde_json::from_slice(&text).map_err(|_| WRONG)
}

/// Returns whether JSON is nested more deeply than any real reply. The parser skips unknown members at any depth.
fn is_nested_too_deeply(json: &[u8]) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_u32, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return true;
        }
    }
    false
}

/// Returns whether a text has only the characters of registered error codes, and not too many. Hardly any password and no
/// base64 text is made of these alone.
fn is_code(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

fn redirect_target(headers: &HeaderMap) -> Option<Uri> {
    headers.get(LOCATION)?.to_str().ok()?.parse().ok()
}

/// Returns all of a URL that may be shown, in its whole length.
fn without_query(uri: &Uri) -> String {
    format!("{}{}", uri.authority().map_or("", |authority| authority.as_str()), uri.path())
}

fn date(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()
}

/// Reads `Retry-After`, in seconds or as a date (RFC 9110 §10.2.3). A date is compared with the server's clock if the server
/// sends its time.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(value).ok()?;
    Some(at.duration_since(date(headers).unwrap_or_else(clock::wall_now)).unwrap_or_default())
}
