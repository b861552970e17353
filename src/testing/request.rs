//! A received token request.

use std::borrow::Cow;
use std::fmt;

use http::Uri;
use http::header::{CONTENT_TYPE, HOST, HeaderMap};
use http::request::Parts;

/// A request that the token endpoint received, recorded so that a test can check what was sent.
///
/// [`Issuer::requests`](super::Issuer::requests) returns them. `Debug` does not show the values, which may be secrets.
#[derive(Clone)]
pub struct TokenRequest {
    headers: HeaderMap,
    base: String,
    query: Option<String>,
    params: Vec<(String, String)>,
}

impl TokenRequest {
    /// Reads a request from any bytes. Whether it is valid is checked later, by [`defect`](Self::defect).
    pub(super) fn new(parts: Parts, body: &[u8]) -> Self {
        Self {
            base: base(&parts.uri, &parts.headers),
            query: parts.uri.query().map(str::to_owned),
            headers: parts.headers,
            params: form_urlencoded::parse(body).into_owned().collect(),
        }
    }

    /// Returns the `grant_type` parameter.
    #[must_use]
    pub fn grant_type(&self) -> Option<&str> {
        self.param("grant_type")
    }

    /// Returns the first parameter of the body with this name, decoded.
    ///
    /// A parameter without a value is treated as absent (RFC 6749 §3.2).
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        self.values(name).next()
    }

    /// Returns all parameters of the body in the order in which they were sent, decoded.
    #[must_use]
    pub fn params(&self) -> &[(String, String)] {
        &self.params
    }

    /// Returns the first header with this name, if it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns all headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Returns the URL at which the client reached the issuer, without a path.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    pub(super) fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.params.iter().filter(move |(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// Returns why this is not a valid request by RFC 6749 §3.2, if it is not.
    pub(super) fn defect(&self) -> Option<&'static str> {
        if !self.is_form() {
            return Some("The content type is not application/x-www-form-urlencoded");
        }
        if self.has_secret_in_query() {
            return Some("The URI contains credentials");
        }
        self.has_repeated_param().then_some("A parameter is repeated")
    }

    fn is_form(&self) -> bool {
        let mut types = self.headers.get_all(CONTENT_TYPE).iter();
        let (Some(one), None) = (types.next(), types.next()) else {
            return false;
        };
        let essence = one.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
        essence.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
    }

    fn has_secret_in_query(&self) -> bool {
        const SECRET: [&str; 6] =
            ["client_secret", "client_assertion", "assertion", "password", "refresh_token", "subject_token"];
        let query = self.query.as_deref().unwrap_or_default();
        form_urlencoded::parse(query.as_bytes()).any(|(name, _)| SECRET.contains(&Cow::as_ref(&name)))
    }

    fn has_repeated_param(&self) -> bool {
        // `resource` may be repeated (RFC 8707 §2), and so may `audience` (RFC 8693 §2.1).
        let mut names: Vec<_> = self
            .params
            .iter()
            .map(|(name, _)| name.as_str())
            .filter(|name| !matches!(*name, "resource" | "audience"))
            .collect();
        names.sort_unstable();
        names.windows(2).any(|pair| pair[0] == pair[1])
    }
}

/// Returns the URL at which the client reached the issuer, without a path.
///
/// In process the request has its whole URL. On loopback it has a `Host` header.
pub(super) fn base(uri: &Uri, headers: &HeaderMap) -> String {
    match (uri.scheme_str(), uri.authority()) {
        (Some(scheme), Some(authority)) => format!("{scheme}://{authority}"),
        _ => format!("http://{}", headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default()),
    }
}

impl fmt::Debug for TokenRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.params.iter().map(|(name, _)| name).collect();
        f.debug_struct("TokenRequest").field("params", &names).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn request(uri: &str, content_type: &str, body: &str) -> TokenRequest {
        let request = Request::post(uri).header(CONTENT_TYPE, content_type).body(()).unwrap();
        TokenRequest::new(request.into_parts().0, body.as_bytes())
    }

    const FORM: &str = "application/x-www-form-urlencoded";

    #[test]
    fn a_content_type_may_have_parameters_and_any_case() {
        let request = request("/token", "Application/X-WWW-Form-Urlencoded; charset=utf-8", "a=1");
        assert_eq!(request.defect(), None);
    }

    #[test]
    fn json_and_repeated_parameters_and_secrets_in_the_query_are_invalid() {
        assert!(request("/token", "application/json", "{}").defect().is_some());
        assert!(request("/token", FORM, "a=1&b=2&a=1").defect().is_some());
        assert!(request("/token?password=x", FORM, "a=1").defect().is_some());
        assert!(request("/token?tenant=x", FORM, "resource=a:b&resource=c:d").defect().is_none());
    }

    #[test]
    fn a_parameter_without_a_value_is_absent() {
        assert_eq!(request("/token", FORM, "scope=&a=b").param("scope"), None);
    }

    #[test]
    fn debug_shows_names_but_not_values() {
        let shown = format!("{:?}", request("/token", FORM, "password=hunter2"));
        assert!(shown.contains("password") && !shown.contains("hunter2"), "{shown}");
    }
}
