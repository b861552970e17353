//! The reply of an authorization server, which is untrusted input.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{
    HeaderMap, StatusCode, Uri,
    header::{CONTENT_TYPE, DATE, LOCATION, RETRY_AFTER},
    response::Parts,
};
use zeroize::{Zeroize, Zeroizing};

use crate::{
    challenge::Challenge,
    clock,
    error::Error,
    grant::{
        exchange::{
            members::{Members, NOT_AN_OBJECT},
            sent_secrets::SentSecrets,
        },
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

/// A whole reply to a request.
pub(crate) struct ServerReply {
    pub(crate) status: StatusCode,
    headers: HeaderMap,
    /// The body, or why it is not complete: the status counts anyway.
    body: Result<Bytes, Error>,
    /// How errors name the server.
    server: String,
    sent: Option<SentSecrets>,
}

/// The members of a refusal (RFC 6749 §5.2).
pub(crate) struct Refusal {
    code: String,
    description: Option<String>,
}

impl Refusal {
    fn without_description(code: String) -> Self {
        Self { code, description: None }
    }
}

impl ServerReply {
    /// Wraps a response.
    ///
    /// # Errors
    /// When it is a redirect. Redirects are not followed: the credentials would go to another server.
    pub(crate) fn new(
        head: Parts,
        body: Result<Bytes, Error>,
        server: String,
        sent: Option<SentSecrets>,
    ) -> Result<Self, Error> {
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

    /// Takes the text out of the body, without a byte order mark. Bytes that are not UTF-8 become U+FFFD: they may be in a
    /// member that nobody reads. Call it once. The memory of the body is wiped if nothing else holds it.
    ///
    /// # Errors
    /// When the body is not complete.
    pub(crate) fn take_text(&mut self) -> Result<Zeroizing<String>, Error> {
        let body = std::mem::replace(&mut self.body, Ok(Bytes::new()))?;
        let text = body.utf8_chunks().fold(Zeroizing::new(String::with_capacity(3 * body.len())), |mut text, chunk| {
            text.push_str(chunk.valid());
            if !chunk.invalid().is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
            }
            text
        });
        if let Ok(mut ours) = body.try_into_mut() {
            (*ours).zeroize();
        }
        Ok(match text.strip_prefix('\u{feff}') {
            Some(rest) => Zeroizing::new(rest.to_owned()),
            None => text,
        })
    }

    /// Reads the members of the JSON object in a text of this reply, whatever its content type says.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn members<'a>(&self, text: &'a str) -> Result<Members<'a>, Error> {
        Members::parse(text).map_err(|why| self.unusable(why))
    }

    /// Returns the error for a body that is not usable. If it is not JSON at all, the error names its content type, unless
    /// that could be a secret.
    fn unusable(&self, why: &'static str) -> Error {
        let value = self.headers.get(CONTENT_TYPE).filter(|_| why == NOT_AN_OBJECT);
        let Some(value) = value else { return Error::unusable_response(why) };
        let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
        let media_type = essence.to_ascii_lowercase();
        if media_type == "application/json" || media_type.ends_with("+json") {
            return Error::unusable_response(why);
        }
        Error::unusable_response(if is_media_type(&media_type) && !self.repeats_secret(essence) {
            format!("its content type is {media_type}, not JSON")
        } else {
            "its content type is not JSON".to_owned()
        })
    }

    /// Finds an error code, wherever it is: in the members of the JSON object, in a form, or in the challenge.
    pub(crate) fn refusal(&self, members: Option<&Members<'_>>, text: &str) -> Option<Refusal> {
        let is_registered = |code: &String| REGISTERED_CODES.contains(&code.as_str());
        let refusal = match members {
            Some(members) => {
                let code = members.text("error").filter(|code| !code.is_empty());
                // Some servers describe the error in an object.
                let code = code.or_else(|| members.nested_text("error", "code").filter(is_registered));
                code.map(|code| Refusal { code, description: members.text("error_description") })
            }
            None => form_code(text).map(Refusal::without_description),
        };
        let challenge = || {
            let challenges = Challenge::all(&self.headers).into_iter().filter(|_| self.status.is_client_error());
            let mut codes = challenges.filter_map(|challenge| challenge.param("error").map(str::to_owned));
            codes.find(is_registered).map(Refusal::without_description)
        };
        // A page for a server error often has a member `error` that is not a code but a text, such as `Internal Server Error`.
        let refusal = refusal.filter(|refusal| !self.status.is_server_error() || is_code(&refusal.code));
        refusal.or_else(challenge)
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

    /// Returns a short name that the server sent, if it cannot be a secret.
    pub(crate) fn displayable<'a>(&self, name: &'a str) -> Option<&'a str> {
        (is_code(&name.to_ascii_lowercase()) && !self.repeats_secret(name)).then_some(name)
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

/// Returns the error code in a form (`application/x-www-form-urlencoded`). Only a registered one counts: the text may be
/// anything.
fn form_code(text: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(text.trim_ascii().as_bytes());
    let (_, code) = pairs.find(|(name, _)| name == "error")?;
    REGISTERED_CODES.contains(&&*code).then(|| code.into_owned())
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
