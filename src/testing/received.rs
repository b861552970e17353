//! A request that a scripted API received, and the names of its token.

use std::collections::HashMap;
use std::fmt;

use http::header::{AUTHORIZATION, HeaderMap};
use http::request::Parts;
use http::{Method, Uri};

/// A request that an [`Upstream`](super::Upstream) received.
///
/// `Debug` and `Display` do not show the query, the body and the values of headers, which may be secrets.
#[derive(Clone)]
pub struct ReceivedRequest {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    token: String,
    pub(super) body: Vec<u8>,
    pub(super) is_whole: bool,
    pub(super) status: Option<u16>,
}

impl ReceivedRequest {
    pub(super) fn new(head: &Parts, tokens: &mut TokenNames) -> Self {
        Self {
            method: head.method.clone(),
            uri: head.uri.clone(),
            token: tokens.name(&head.headers),
            headers: head.headers.clone(),
            body: Vec::new(),
            is_whole: false,
            status: None,
        }
    }

    /// Returns the method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Returns the path, without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.uri.path()
    }

    /// Returns the URI as it arrived: on loopback a path and a query, in process the whole URL.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Returns the headers. Those with credentials are [sensitive](http::HeaderValue::is_sensitive) on loopback, and as the client
    /// marked them in process.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Returns the first header with this name, if it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns a name for the token, which is safe to show.
    ///
    /// Each upstream counts the bearer tokens that it meets: `token 1`, `token 2`. The same token has the same name. A request
    /// without an `Authorization` header has `no token`. Other credentials have the name of their scheme, such as `Basic`, and
    /// several headers are `several`.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Returns the body, as far as it has arrived.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Returns whether the body has arrived to its end.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Returns the status of the answer. `None` if there is no answer, or not yet.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.status
    }
}

impl fmt::Display for ReceivedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, token, body, .. } = self;
        let part = if self.is_whole { "" } else { " (not the whole body)" };
        write!(f, "{method} {}, {token}, {} bytes{part}, ", self.path(), body.len())?;
        match self.status {
            Some(status) => write!(f, "answered {status}"),
            None => f.write_str("not answered"),
        }
    }
}

impl fmt::Debug for ReceivedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.keys().map(http::HeaderName::as_str).collect();
        f.debug_struct("ReceivedRequest")
            .field("request", &format_args!("{self}"))
            .field("headers", &names)
            .finish_non_exhaustive()
    }
}

/// The tokens that one upstream has met, in this order.
#[derive(Default)]
pub(super) struct TokenNames(HashMap<Vec<u8>, usize>);

impl TokenNames {
    fn name(&mut self, headers: &HeaderMap) -> String {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let Some(value) = values.next() else { return "no token".to_owned() };
        if values.next().is_some() {
            return "several".to_owned();
        }
        let value = value.as_bytes();
        let scheme = value.split(|byte| *byte == b' ').next().unwrap_or_default();
        if !scheme.eq_ignore_ascii_case(b"Bearer") {
            // What has no space may be a token without a scheme.
            let is_scheme = scheme.len() < value.len() && scheme.iter().all(u8::is_ascii_alphanumeric);
            return if is_scheme {
                String::from_utf8_lossy(scheme).into_owned()
            } else {
                "without a scheme".to_owned()
            };
        }
        let token = value[scheme.len()..].trim_ascii_start();
        let next = self.0.len() + 1;
        format!("token {}", self.0.entry(token.to_owned()).or_insert(next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_the_same_name_each_time_and_no_name_shows_it() {
        let mut names = TokenNames::default();
        let mut name = |values: &[&'static str]| {
            let headers = values.iter().map(|value| (AUTHORIZATION, http::HeaderValue::from_static(value)));
            let mut map = HeaderMap::new();
            headers.for_each(|(name, value)| {
                map.append(name, value);
            });
            names.name(&map)
        };
        assert_eq!(name(&["Bearer a"]), "token 1");
        assert_eq!(name(&["Bearer b"]), "token 2");
        assert_eq!(name(&["bearer  a"]), "token 1");
        assert_eq!(name(&[]), "no token");
        assert_eq!(name(&["Basic YTpi"]), "Basic");
        assert_eq!(name(&["s3cret"]), "without a scheme");
        assert_eq!(name(&["s3/cret x"]), "without a scheme");
        assert_eq!(name(&["Bearer a", "Bearer b"]), "several");
    }
}
