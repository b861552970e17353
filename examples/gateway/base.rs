//! Where requests go.

use std::net::IpAddr;

use http::{
    Uri,
    uri::{self, Authority, PathAndQuery, Scheme},
};

/// The upstream's base URL. Every request goes below it.
#[derive(Clone, Debug)]
pub struct Base {
    scheme: Scheme,
    authority: Authority,
    /// Without a slash at its end.
    path: String,
}

impl Base {
    /// # Errors
    /// What is wrong with it.
    pub fn parse(url: &str) -> Result<Self, &'static str> {
        let parts = url.parse::<Uri>().map_err(|_| "is no URL")?.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err("is no whole URL, such as https://fhir.example.org/r4");
        };
        if scheme != Scheme::HTTPS && scheme != Scheme::HTTP {
            return Err("is neither https nor http");
        }
        if authority.as_str().contains('@') {
            return Err("has a user in it");
        }
        let path = parts.path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
        if path.query().is_some() {
            return Err("has a query, which belongs to requests");
        }
        let path = path.path().trim_end_matches('/').to_owned();
        Ok(Self { scheme, authority, path })
    }

    /// Whether nobody on the way can read along.
    pub fn is_private(&self) -> bool {
        let host = self.authority.host();
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        self.scheme == Scheme::HTTPS
            || host.eq_ignore_ascii_case("localhost")
            || address.is_ok_and(|address| address.is_loopback())
    }

    pub fn origin(&self) -> String {
        format!("{}://{}", self.scheme, self.authority)
    }

    /// The URL of a request's path and query below this one. `None`: it would lead elsewhere.
    pub fn join(&self, asked: &Uri) -> Option<Uri> {
        let asked = asked.path_and_query()?;
        if !asked.path().starts_with('/') || !self.path.is_empty() && climbs(asked.path()) {
            return None;
        }
        let mut parts = uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(match self.path.as_str() {
            "" => asked.clone(),
            path => format!("{path}{asked}").parse().ok()?,
        });
        Uri::from_parts(parts).ok()
    }
}

/// Whether a path has segments that a server may resolve to something above the base path, however they are written.
fn climbs(path: &str) -> bool {
    let path = path.to_ascii_lowercase().replace("%2e", ".").replace("%2f", "/").replace("%5c", "/").replace('\\', "/");
    // `;` begins a segment's parameters.
    path.split('/').any(|segment| segment.split(';').next() == Some(".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(base: &str, asked: &str) -> Option<String> {
        let asked = asked.parse().unwrap();
        Base::parse(base).unwrap().join(&asked).map(|uri| uri.to_string())
    }

    #[test]
    fn path_and_query_are_kept_under_the_base() {
        for (base, asked, expected) in [
            ("https://a.test", "/", "https://a.test/"),
            ("https://a.test/", "/x/?q=%20/..", "https://a.test/x/?q=%20/.."),
            ("https://a.test:8443/r4/", "/Patient?_id=1", "https://a.test:8443/r4/Patient?_id=1"),
            ("https://a.test/r4", "//x", "https://a.test/r4//x"),
            ("https://a.test/r4", "http://other.test/x", "https://a.test/r4/x"),
            ("https://a.test/r4", "/a..b/...", "https://a.test/r4/a..b/..."),
        ] {
            assert_eq!(joined(base, asked).as_deref(), Some(expected));
        }
    }

    #[test]
    fn nothing_leads_out_of_the_base() {
        for asked in ["/..", "/a/../../b", "/%2e%2E/b", "/a%2f..%2fb", "/.%2e;x/b", "/..%5cb", "*", "a.test:80"] {
            assert_eq!(joined("https://a.test/r4", asked), None, "{asked}");
        }
        assert!(joined("https://a.test", "/a/../b").is_some(), "there is nothing above it");
    }

    #[test]
    fn loopback_and_https_are_private() {
        let private = |url| Base::parse(url).unwrap().is_private();
        assert!(private("https://a.test") && private("http://127.0.0.1:80") && private("http://[::1]:80"));
        assert!(!private("http://a.test") && !private("http://localhost.a.test"));
    }

    #[test]
    fn a_base_is_a_whole_url_without_more() {
        for url in ["", "/r4", "a.test", "ftp://a.test", "https://u:p@a.test", "https://a.test/?q"] {
            assert!(Base::parse(url).is_err(), "{url}");
        }
    }
}
