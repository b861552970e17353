//! One request to a token endpoint, and its answer taken as hostile input.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use bytes::{Buf, Bytes};
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, LOCATION, RETRY_AFTER},
};
use http_body::Body;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tower::{BoxError, Service, ServiceExt};
use zeroize::Zeroizing;

use crate::{
    clock,
    error::Error,
    grant::client_auth::ClientAuth,
    origin,
    recursion::Renewing,
    token::{AccessToken, Lifetime},
};

/// The most that is read of an answer.
const LARGEST_ANSWER: usize = 1 << 20;

/// The codes of RFC 6749 §5.2, which are shown whatever was sent.
const WELL_KNOWN: [&str; 6] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
];

/// Any HTTP client for token requests: a `tower::Service` from `Request<Full<Bytes>>`, such as hyper-util's client.
///
/// Implemented for all that fit. Give it its own deadlines, and none of the layers that serve the API: above all not the
/// [`BearerAuthLayer`](crate::BearerAuthLayer) that it gets tokens for.
pub trait HttpService: Clone + Send + Sync + 'static {
    #[doc(hidden)]
    fn send(&self, request: Request<Full<Bytes>>) -> impl Future<Output = Result<Response<Answer>, Error>> + Send;
}

/// A whole answer, within its bounds.
#[doc(hidden)]
#[derive(Debug)]
pub struct Answer(Bytes);

impl<S, B> HttpService for S
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Body + Send,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Answer>, Error> {
        let response = self.clone().oneshot(request).await.map_err(Error::connect)?;
        let (head, body) = response.into_parts();
        let whole = std::pin::pin!(Limited::new(body, LARGEST_ANSWER)).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                Error::not_a_token("it is larger than 1 MiB")
            } else {
                Error::broken_off(error)
            }
        })?;
        Ok(Response::from_parts(head, Answer(whole.to_bytes())))
    }
}

/// A token endpoint, with the way in which the client authenticates there.
#[derive(Clone)]
pub(crate) struct Endpoint<C> {
    http: C,
    url: Uri,
    auth: ClientAuth,
    show_description: bool,
    deadline: Duration,
}

/// What a token endpoint gives (RFC 6749 §5.1).
pub(crate) struct Granted {
    pub(crate) token: AccessToken,
    pub(crate) refresh_token: Option<SecretString>,
}

/// A form in the making; wiped from memory when the request is done.
pub(crate) struct Form(Zeroizing<String>);

impl Form {
    pub(crate) fn new(grant_type: &str) -> Self {
        let mut form = Self(Zeroizing::new(String::with_capacity(1024)));
        form.append("grant_type", grant_type);
        form
    }

    pub(crate) fn append(&mut self, name: &str, value: &str) {
        // Grown here and by hand, because growing in place would leave the old copy behind.
        let needed = self.0.len() + 2 + 3 * (name.len() + value.len());
        if needed > self.0.capacity() {
            let mut larger = Zeroizing::new(String::with_capacity(2 * needed));
            larger.push_str(&self.0);
            self.0 = larger;
        }
        if !self.0.is_empty() {
            self.0.push('&');
        }
        self.0.extend(form_urlencoded::byte_serialize(name.as_bytes()));
        self.0.push('=');
        self.0.extend(form_urlencoded::byte_serialize(value.as_bytes()));
    }

    fn into_body(mut self) -> Full<Bytes> {
        let bytes = std::mem::take(&mut *self.0).into_bytes();
        Full::new(Bytes::from_owner(Zeroizing::new(bytes)))
    }
}

impl<C: HttpService> Endpoint<C> {
    /// # Errors
    /// When the URL is not one that secrets may be sent to.
    pub(crate) fn new(
        http: C,
        url: &str,
        auth: ClientAuth,
        plain_http: bool,
        show_description: bool,
        deadline: Duration,
    ) -> Result<Self, Error> {
        let advice = "give the whole token URL, such as https://auth.example.org/oauth2/token";
        let url: Uri = url.parse().map_err(|_| Error::config(format!("the token URL is no URL: {advice}")))?;
        if !matches!(url.scheme_str(), Some("https" | "http")) || url.host().is_none_or(str::is_empty) {
            return Err(Error::config(format!("the token URL has no http or https scheme, or no host: {advice}")));
        }
        if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(Error::config("the token URL has a user in it: give the client's credentials by ClientAuth"));
        }
        if !plain_http && !origin::is_private(&url) {
            return Err(Error::config(
                "the token URL is plain http, which would send the password in the clear: use https \
                 (only loopback addresses are exempt)",
            ));
        }
        auth.check()?;
        Ok(Self { http, url, auth, show_description, deadline })
    }

    /// One token request (RFC 6749 §3.2).
    pub(crate) async fn request(&self, mut form: Form) -> Result<Granted, Error> {
        let authorization = self.auth.apply(&mut form)?;
        let sent = form.0.clone();
        let mut request = Request::new(form.into_body());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.url.clone();
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(authorization) = authorization {
            headers.insert(AUTHORIZATION, authorization);
        }
        Renewing::mark(request.extensions_mut());
        let exchange = tokio::time::timeout(self.deadline, self.http.send(request));
        let (head, Answer(body)) = exchange.await.map_err(|_| Error::timeout(self.deadline))??.into_parts();
        self.read(head.status, &head.headers, body, &sent)
    }

    fn read(&self, status: StatusCode, headers: &HeaderMap, body: Bytes, sent: &str) -> Result<Granted, Error> {
        if status.is_redirection() {
            let to = target(headers);
            let shown =
                if self.repeats_a_secret(&to, sent) { "it is not shown, there is a secret in it".into() } else { to };
            return Err(Error::redirected(shown));
        }
        let parsed = parse(headers, body);
        let failed = |error: Error| match retry_after(headers) {
            Some(wait) => error.with_retry_after(wait),
            None => error,
        };
        match parsed {
            // Some servers send an error with status 200.
            Ok(Fields { error: Some(code), error_description, access_token: None, .. }) => {
                let description = error_description.filter(|_| self.show_description);
                let code = if self.repeats_a_secret(&code, sent) { String::new() } else { code };
                Err(failed(Error::refused(status, printable(code), description)))
            }
            _ if !status.is_success() => Err(failed(Error::unexplained_status(status))),
            Ok(fields) => fields.into_granted(date(headers)).map_err(failed),
            Err(error) => Err(failed(error)),
        }
    }

    /// Whether an error code holds a secret that was sent in this form, or in the header beside it.
    fn repeats_a_secret(&self, code: &str, sent: &str) -> bool {
        let in_form = sent.split('&').filter_map(|pair| pair.split_once('='));
        // What form-encoding changes is not printable in a code anyway.
        let in_form = in_form.filter(|(name, _)| matches!(*name, "password" | "refresh_token")).map(|(_, value)| value);
        !WELL_KNOWN.contains(&code)
            && in_form.chain(self.auth.secret()).any(|secret| !secret.is_empty() && code.contains(secret))
    }
}

impl<C> fmt::Debug for Endpoint<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, path) = (self.url.authority(), self.url.path());
        f.debug_struct("Endpoint")
            .field("host", &host)
            .field("path", &path)
            .field("auth", &self.auth)
            .finish_non_exhaustive()
    }
}

/// The members of an answer that matter (RFC 6749 §5.1, §5.2); others are ignored, a doubled one is an error.
#[derive(Deserialize)]
struct Fields {
    access_token: Option<SecretString>,
    token_type: Option<String>,
    #[serde(default, deserialize_with = "lifetime")]
    expires_in: Option<Lifetime>,
    #[serde(default, deserialize_with = "lifetime")]
    refresh_in: Option<Lifetime>,
    refresh_token: Option<SecretString>,
    #[serde(default, deserialize_with = "scope")]
    scope: Option<String>,
    error: Option<String>,
    #[serde(default, deserialize_with = "text")]
    error_description: Option<String>,
}

impl Fields {
    fn into_granted(self, date: Option<SystemTime>) -> Result<Granted, Error> {
        let Some(token) = self.access_token else { return Err(Error::not_a_token("there is no access_token in it")) };
        match self.token_type {
            Some(kind) if kind.eq_ignore_ascii_case("bearer") => {}
            Some(_) => return Err(Error::not_a_token("its token_type is not Bearer")),
            None => return Err(Error::not_a_token("it has no token_type (RFC 6749 §5.1)")),
        }
        let mut token = AccessToken::new(token)?;
        if let Some(lifetime) = self.expires_in {
            token = token.with_expires_in(lifetime);
        }
        if let Some(Lifetime::For(age)) = self.refresh_in {
            token = token.with_refresh_in(age);
        }
        if let Some(scope) = self.scope {
            token = token.with_scope(scope);
        }
        if let Some(date) = date {
            token = token.with_issuer_time(date);
        }
        // Some servers say that there is none by an empty one.
        let refresh_token = self.refresh_token.filter(|refresh_token| !refresh_token.expose_secret().is_empty());
        Ok(Granted { token, refresh_token })
    }
}

/// JSON, and said to be JSON. The answer's memory is wiped if nobody else holds it.
fn parse(headers: &HeaderMap, body: Bytes) -> Result<Fields, Error> {
    let kind = headers.get(CONTENT_TYPE).map_or("", |kind| kind.to_str().unwrap_or("?"));
    let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if !(essence == "application/json" || essence.ends_with("+json")) {
        return Err(Error::not_a_token("its content type is not JSON, so check the token URL"));
    }
    let mut text = Zeroizing::new(vec![0; body.len()]);
    body.clone().copy_to_slice(&mut text);
    if let Ok(mut ours) = body.try_into_mut() {
        zeroize::Zeroize::zeroize(&mut *ours);
    }
    if text.trim_ascii_start().first() != Some(&b'{') {
        return Err(Error::not_a_token("it is not the JSON object of RFC 6749 §5.1"));
    }
    if is_deep(&text) {
        return Err(Error::not_a_token("its JSON is nested too deeply"));
    }
    serde_json::from_slice(&text).map_err(|_| Error::not_a_token("it is not the JSON object of RFC 6749 §5.1"))
}

/// Whether JSON nests further than any token response does: members that are skipped are skipped at any depth.
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
fn text<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(match serde_json::Value::deserialize(from)? {
        serde_json::Value::String(text) => Some(text),
        _ => None,
    })
}

/// `scope` as a string or, against RFC 6749 §5.1, as an array of them. What is neither is as good as absent.
fn scope<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let join = |values: Vec<serde_json::Value>| {
        let scopes: Option<Vec<_>> = values.iter().map(serde_json::Value::as_str).collect();
        scopes.map(|scopes| scopes.join(" "))
    };
    Ok(match serde_json::Value::deserialize(from)? {
        serde_json::Value::String(scope) => Some(scope),
        serde_json::Value::Array(values) => join(values),
        _ => None,
    })
}

/// `expires_in` as a number, a number in a string, or a float. What is none of these is as good as absent.
fn lifetime<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Lifetime>, D::Error> {
    let value = serde_json::Value::deserialize(from)?;
    let seconds = match &value {
        serde_json::Value::Number(number) => number.as_f64(),
        serde_json::Value::String(text) => text.trim().parse::<f64>().ok().filter(|seconds| !seconds.is_nan()),
        _ => None,
    };
    Ok(seconds.map(Lifetime::from_secs_f64))
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

/// Where a redirect points, without what may be secret in it.
fn target(headers: &HeaderMap) -> String {
    let location =
        headers.get(LOCATION).and_then(|value| value.to_str().ok()).and_then(|value| value.parse::<Uri>().ok());
    match location {
        Some(uri) => {
            let host = uri.authority().map_or_else(String::new, |authority| {
                let host = authority.as_str().rsplit('@').next().unwrap_or_default();
                format!("{}://{host}", uri.scheme_str().unwrap_or("https"))
            });
            format!("{host}{}", uri.path().split(';').next().unwrap_or_default())
        }
        None => "it does not say where".to_owned(),
    }
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
