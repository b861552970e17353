//! The URL of the upstream.

use std::net::IpAddr;

use http::{
    Uri,
    uri::{self, Authority, PathAndQuery, Scheme},
};

/// The upstream's base URL. The path of every request is appended to it.
#[derive(Clone, Debug)]
pub struct Base {
    scheme: Scheme,
    authority: Authority,
    /// Without a slash at the end.
    path: String,
}

impl Base {
    /// # Errors
    /// Returns what is wrong with the URL.
    pub fn parse(url: &str) -> Result<Self, &'static str> {
        let parts = url.parse::<Uri>().map_err(|_| "is not a URL")?.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err("must have a scheme and a host, such as https://fhir.example.org/r4");
        };
        if scheme != Scheme::HTTPS && scheme != Scheme::HTTP {
            return Err("must be https or http");
        }
        if authority.as_str().contains('@') {
            return Err("has a user in it, which is not supported");
        }
        let path = parts.path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
        if path.query().is_some() {
            return Err("has a query, but only requests can have one");
        }
        let path = path.path().trim_end_matches('/').to_owned();
        Ok(Self { scheme, authority, path })
    }

    /// Returns whether the connection is https or stays on this machine.
    pub fn is_secure(&self) -> bool {
        let host = self.authority.host();
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        self.scheme == Scheme::HTTPS
            || host.eq_ignore_ascii_case("localhost")
            || address.is_ok_and(|address| address.is_loopback())
    }

    pub fn origin(&self) -> String {
        format!("{}://{}", self.scheme, self.authority)
    }

    /// Appends a request's path and query. Returns `None` if the result would be outside the base URL.
    pub fn join(&self, requested: &Uri) -> Option<Uri> {
        let target = requested.path_and_query()?;
        if !target.path().starts_with('/') || !self.path.is_empty() && has_parent_segment(target.path()) {
            return None;
        }
        let mut parts = uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(match self.path.as_str() {
            "" => target.clone(),
            path => format!("{path}{target}").parse().ok()?,
        });
        Uri::from_parts(parts).ok()
    }

    /// Returns the path, query and fragment that [`join`](Self::join) would append to get this URL or absolute path. Returns
    /// `None` if it is not below the base.
    pub fn below<'a>(&self, location: &'a str) -> Option<&'a str> {
        let path = match location.split_once("://") {
            _ if location.starts_with('/') && !location.starts_with("//") => location,
            Some((scheme, rest)) if self.scheme.as_str().eq_ignore_ascii_case(scheme) => {
                self.without_authority(rest)?
            }
            None if location.starts_with("//") => self.without_authority(&location[2..])?,
            _ => return None,
        };
        let below = path.strip_prefix(&*self.path)?;
        match below.chars().next() {
            Some('/') => Some(below),
            // A path of the gateway begins with a slash.
            None if location.len() > path.len() || !self.path.is_empty() => Some("/"),
            _ => None,
        }
    }

    /// Removes the host and port from the start of a text if they are the base's.
    fn without_authority<'a>(&self, text: &'a str) -> Option<&'a str> {
        let (authority, path) = text.split_at(text.find(['/', '?', '#']).unwrap_or(text.len()));
        let authority = authority.parse::<Authority>().ok()?;
        let default = if self.scheme == Scheme::HTTPS { 443 } else { 80 };
        let port = |authority: &Authority| authority.port_u16().unwrap_or(default);
        let is_same = authority.host().eq_ignore_ascii_case(self.authority.host())
            && port(&authority) == port(&self.authority)
            && !authority.as_str().contains('@');
        is_same.then_some(path)
    }
}

/// Returns whether a path has a `..` segment in any encoding, which a server may resolve to a path above the base.
fn has_parent_segment(path: &str) -> bool {
    let path = path.to_ascii_lowercase().replace("%2e", ".").replace("%2f", "/").replace("%5c", "/").replace('\\', "/");
    // `;` starts a segment's parameters.
    path.split('/').any(|segment| segment.split(';').next() == Some(".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(base: &str, requested: &str) -> Option<String> {
        let requested = requested.parse().unwrap();
        Base::parse(base).unwrap().join(&requested).map(|uri| uri.to_string())
    }

    #[test]
    fn path_and_query_are_appended_to_the_base() {
        for (base, requested, expected) in [
            ("https://a.test", "/", "https://a.test/"),
            ("https://a.test/", "/x/?q=%20/..", "https://a.test/x/?q=%20/.."),
            ("https://a.test:8443/r4/", "/Patient?_id=1", "https://a.test:8443/r4/Patient?_id=1"),
            ("https://a.test/r4", "//x", "https://a.test/r4//x"),
            ("https://a.test/r4", "http://other.test/x", "https://a.test/r4/x"),
            ("https://a.test/r4", "/a..b/...", "https://a.test/r4/a..b/..."),
        ] {
            assert_eq!(joined(base, requested).as_deref(), Some(expected));
        }
    }

    #[test]
    fn no_path_leaves_the_base() {
        for requested in ["/..", "/a/../../b", "/%2e%2E/b", "/a%2f..%2fb", "/.%2e;x/b", "/..%5cb", "*", "a.test:80"] {
            assert_eq!(joined("https://a.test/r4", requested), None, "{requested}");
        }
        assert!(joined("https://a.test", "/a/../b").is_some(), "there is nothing above it");
    }

    #[test]
    fn a_location_below_the_base_is_recognized() {
        for (base, location, below) in [
            ("https://a.test/r4", "https://a.test/r4/Patient/1?x=/#y", Some("/Patient/1?x=/#y")),
            ("https://a.test/r4", "HTTPS://A.test:443/r4/Patient", Some("/Patient")),
            ("https://a.test/r4", "//a.test/r4/Patient", Some("/Patient")),
            ("https://a.test/r4", "/r4/Patient", Some("/Patient")),
            ("https://a.test/r4", "https://a.test/r4", Some("/")),
            ("https://a.test", "https://a.test", Some("/")),
            ("https://a.test", "/Patient", Some("/Patient")),
            ("https://a.test/r4", "https://a.test/r4b/Patient", None),
            ("https://a.test/r4", "https://a.test/login", None),
            ("https://a.test/r4", "/login", None),
            ("https://a.test/r4", "https://b.test/r4/Patient", None),
            ("https://a.test/r4", "https://a.test@b.test/r4/x", None),
            ("https://a.test/r4", "https://a.test:444/r4/x", None),
            ("https://a.test/r4", "http://a.test/r4/x", None),
            ("https://a.test/r4", "Patient/1", None),
            ("https://a.test", "", None),
        ] {
            assert_eq!(Base::parse(base).unwrap().below(location), below, "{location}");
        }
    }

    #[test]
    fn loopback_and_https_are_secure() {
        let secure = |url| Base::parse(url).unwrap().is_secure();
        assert!(secure("https://a.test") && secure("http://127.0.0.1:80") && secure("http://[::1]:80"));
        assert!(!secure("http://a.test") && !secure("http://localhost.a.test"));
    }

    #[test]
    fn a_base_has_a_scheme_and_a_host_and_no_query() {
        for url in ["", "/r4", "a.test", "ftp://a.test", "https://u:p@a.test", "https://a.test/?q"] {
            assert!(Base::parse(url).is_err(), "{url}");
        }
    }
}
