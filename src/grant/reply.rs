//! What an authorization server answered, taken as hostile input.

use std::{
    borrow::Cow,
    time::{Duration, SystemTime},
};

use bytes::{Buf, Bytes};
use http::{
    HeaderMap, Response, StatusCode, Uri,
    header::{CONTENT_TYPE, DATE, LOCATION, RETRY_AFTER},
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, de::DeserializeOwned};
use zeroize::{Zeroize, Zeroizing};

use crate::{
    clock,
    error::Error,
    grant::{form::Form, http_service::Answer},
};

/// The codes of RFC 6749 §5.2 and RFC 7009 §2.2.1, which are shown whatever was sent.
const WELL_KNOWN: [&str; 7] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "unsupported_token_type",
];

/// What was sent, as far as it must not come back in an error.
pub(crate) struct Sent {
    pub(crate) form: Form,
    pub(crate) client_secret: Option<SecretString>,
}

/// A whole answer to what was sent.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Bytes,
    sent: Option<Sent>,
}

/// The members of a refusal (RFC 6749 §5.2).
#[derive(Deserialize)]
pub(crate) struct Refusal {
    #[serde(rename = "error")]
    pub(crate) code: String,
    #[serde(default, rename = "error_description", deserialize_with = "text")]
    pub(crate) description: Option<String>,
}

impl Reply {
    /// # Errors
    /// When it is a redirect, which is not followed: the credentials would go elsewhere.
    pub(crate) fn new(response: Response<Answer>, sent: Option<Sent>) -> Result<Self, Error> {
        let (head, Answer(body)) = response.into_parts();
        let reply = Self { status: head.status, headers: head.headers, body, sent };
        if !reply.status.is_redirection() {
            return Ok(reply);
        }
        let to = target(&reply.headers);
        Err(Error::redirected(if reply.repeats_a_secret(&to) {
            "it is not shown, there is a secret in it".into()
        } else {
            to
        }))
    }

    /// Its JSON object, or why it has none. To be asked for once: the memory is wiped if nobody else holds it.
    pub(crate) fn json<T: DeserializeOwned>(&mut self) -> Result<T, Cow<'static, str>> {
        self.check_content_type()?;
        parse(std::mem::take(&mut self.body)).map_err(Cow::Borrowed)
    }

    /// Returns what is wrong with the content type, if it is not JSON.
    fn check_content_type(&self) -> Result<(), Cow<'static, str>> {
        let Some(kind) = self.headers.get(CONTENT_TYPE) else { return Err("it has no content type".into()) };
        let essence = kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
        let lower = essence.to_ascii_lowercase();
        if lower == "application/json" || lower.ends_with("+json") {
            return Ok(());
        }
        Err(if is_media_type(&lower) && !self.repeats_a_secret(essence) {
            format!("its content type is {lower}, not JSON").into()
        } else {
            "its content type is not JSON".into()
        })
    }

    /// The error for a refusal with a reason.
    pub(crate) fn refused(&self, refusal: Refusal, show_description: bool) -> Error {
        let Refusal { code, description } = refusal;
        let shown = WELL_KNOWN.contains(&code.as_str()) || !self.repeats_a_secret(&code);
        let code = if shown { printable(code) } else { printable(String::new()) };
        self.failed(Error::refused(self.status, code, description.filter(|_| show_description)))
    }

    fn repeats_a_secret(&self, text: &str) -> bool {
        self.sent.as_ref().is_some_and(|sent| sent.is_repeated_in(text))
    }

    /// `error`, with the wait that the server asked for.
    pub(crate) fn failed(&self, error: Error) -> Error {
        match retry_after(&self.headers) {
            Some(wait) => error.with_retry_after(wait),
            None => error,
        }
    }

    /// The time by the server's own clock.
    pub(crate) fn date(&self) -> Option<SystemTime> {
        date(&self.headers)
    }
}

impl Sent {
    fn is_repeated_in(&self, text: &str) -> bool {
        let secret = self.client_secret.as_ref().map_or("", ExposeSecret::expose_secret);
        self.form.is_repeated_in(text) || (!secret.is_empty() && text.contains(secret))
    }
}

/// Returns whether a text looks like a registered media type (RFC 6838 §4.2), so that it may be shown.
fn is_media_type(text: &str) -> bool {
    let types = ["application", "audio", "font", "image", "message", "model", "multipart", "text", "video"];
    text.len() <= 64
        && text.split_once('/').is_some_and(|(kind, subtype)| {
            types.contains(&kind)
                && subtype.starts_with(|c: char| c.is_ascii_lowercase())
                && subtype.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b))
        })
}

fn parse<T: DeserializeOwned>(body: Bytes) -> Result<T, &'static str> {
    let mut text = Zeroizing::new(vec![0; body.len()]);
    body.clone().copy_to_slice(&mut text);
    if let Ok(mut ours) = body.try_into_mut() {
        (*ours).zeroize();
    }
    if text.trim_ascii_start().first() != Some(&b'{') {
        return Err("it is not the JSON object that the standard wants");
    }
    if is_deep(&text) {
        return Err("its JSON is nested too deeply");
    }
    serde_json::from_slice(&text).map_err(|_| "it is not the JSON object that the standard wants")
}

/// Whether JSON nests further than any answer does: members that are skipped are skipped at any depth.
fn is_deep(json: &[u8]) -> bool {
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
        if depth > 64 {
            return true;
        }
    }
    false
}

/// Text, or nothing: what is said in other forms beside an error code must not hide the code.
pub(crate) fn text<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(match serde_json::Value::deserialize(from)? {
        serde_json::Value::String(text) => Some(text),
        _ => None,
    })
}

/// The characters that all registered codes are made of, and not too many: it is shown to people. No base64 and hardly a
/// password is made of these alone.
fn printable(code: String) -> String {
    if !code.is_empty() && code.len() <= 64 && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') {
        code
    } else {
        "an unreadable error code".to_owned()
    }
}

/// Where a redirect points.
fn target(headers: &HeaderMap) -> String {
    let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
    location.and_then(|value| value.parse().ok()).map_or("it does not say where".to_owned(), |uri| shown(&uri))
}

/// The most characters of a URL that are shown: a server chooses how long its own are.
const LONGEST_SHOWN: usize = 256;

/// A URL without what may be secret in it.
pub(crate) fn shown(uri: &Uri) -> String {
    let host = uri.authority().map_or_else(String::new, |authority| {
        let host = authority.as_str().rsplit('@').next().unwrap_or_default();
        format!("{}://{host}", uri.scheme_str().unwrap_or("https"))
    });
    let path = uri.path().split(';').next().unwrap_or_default();
    host.chars().chain(path.chars()).take(LONGEST_SHOWN).collect()
}

fn date(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()
}

/// `Retry-After` in seconds or as a date (RFC 9110 §10.2.3), the date by the server's own clock if it tells the time.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(value).ok()?;
    Some(at.duration_since(date(headers).unwrap_or_else(clock::wall_now)).unwrap_or_default())
}
