//! An origin: a scheme, a host and a port.

use http::{Uri, uri::Authority};

use crate::transport;

/// A scheme, a host and a port (RFC 9110 §4.3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    scheme: &'static str,
    host: Box<str>,
    /// `host` is what follows `*.`.
    wildcard: bool,
    port: u16,
    /// The authority as it was written in the URL, with its port.
    authority: Box<str>,
    /// Whether the transport to it is secure.
    pub(crate) is_secure: bool,
}

impl Origin {
    /// Returns the origin of a base URL.
    ///
    /// # Errors
    /// Returns what is wrong with it, and after a semicolon what to do if that is special. The text repeats nothing of the
    /// URL, which may hold a password.
    pub(crate) fn parse(url: &str) -> Result<Self, &'static str> {
        let url: Uri = url.parse().map_err(|_| "is not a URL")?;
        let scheme = match url.scheme_str() {
            Some("https") => "https",
            Some("http") => "http",
            _ => return Err("has no http or https scheme"),
        };
        let authority = url.authority().ok_or("has no host")?;
        if authority.as_str().contains('@') {
            return Err("has a user in it");
        }
        let port = match &authority.as_str()[authority.host().len()..] {
            "" => default_port(scheme),
            _ => authority.port_u16().ok_or("has a port that is not a number")?,
        };
        let host = without_root(authority.host());
        let (host, wildcard) = match host.strip_prefix("*.") {
            Some(rest) => (rest, true),
            None => (host, false),
        };
        if host.contains('*') || wildcard && !host.contains('.') {
            return Err(
                "has a wildcard in the wrong place; write https://*.example.org for all subdomains of example.org",
            );
        }
        if !host.starts_with('[') && host.split('.').any(str::is_empty) {
            return Err("has no host, or an empty label in it");
        }
        let is_secure = transport::is_secure(&url);
        Ok(Self { scheme, host: host.into(), wildcard, port, authority: authority.as_str().into(), is_secure })
    }

    /// Returns the URL of one origin, which has no wildcard.
    ///
    /// # Errors
    /// As [`parse`](Self::parse) does.
    pub(crate) fn parse_single(url: &str) -> Result<Uri, &'static str> {
        if url.contains('*') {
            return Err("has a wildcard in it; name one host, such as https://api.example.org");
        }
        Self::parse(url)?;
        url.parse().map_err(|_| "is not a URL")
    }

    /// Returns whether a request is written with exactly this origin.
    pub(crate) fn is_written(&self, scheme: Option<&str>, authority: &Authority) -> bool {
        scheme == Some(self.scheme) && authority.as_str() == &*self.authority
    }

    pub(crate) fn covers(&self, scheme: &str, authority: &Authority) -> bool {
        let port = authority.port_u16();
        // An invalid port, such as 99999, is not the default port.
        (port.is_some() || has_no_port(authority)) && self.is_of(scheme, authority.host(), port)
    }

    /// Compares without allocating, because each request asks.
    fn is_of(&self, scheme: &str, host: &str, port: Option<u16>) -> bool {
        scheme.eq_ignore_ascii_case(self.scheme)
            && port.unwrap_or(default_port(self.scheme)) == self.port
            && self.is_host(without_root(host))
    }

    fn is_host(&self, host: &str) -> bool {
        if !self.wildcard {
            return host.eq_ignore_ascii_case(&self.host);
        }
        let Some((subdomain, name)) = host.len().checked_sub(self.host.len()).and_then(|at| host.split_at_checked(at))
        else {
            return false;
        };
        name.eq_ignore_ascii_case(&self.host)
            && subdomain.strip_suffix('.').is_some_and(|labels| labels.split('.').all(|label| !label.is_empty()))
    }
}

fn has_no_port(authority: &Authority) -> bool {
    let place = authority.as_str().rsplit('@').next().unwrap_or_default();
    matches!(place.strip_prefix(authority.host()), Some("" | ":"))
}

fn default_port(scheme: &str) -> u16 {
    if scheme == "https" { 443 } else { 80 }
}

/// `example.org.` is `example.org`, to DNS and to TLS.
fn without_root(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(origin: &str, uri: &str) -> bool {
        let uri: Uri = uri.parse().unwrap();
        Origin::parse(origin).unwrap().covers(uri.scheme_str().unwrap(), uri.authority().unwrap())
    }

    #[test]
    fn an_origin_is_scheme_host_and_port_and_nothing_else() {
        for uri in [
            "https://api.example.org",
            "https://api.example.org/other?path=1",
            "https://api.example.org:443/",
            "https://api.example.org:/",
            "HTTPS://API.example.ORG/",
            "https://api.example.org./",
            "https://user:pw@api.example.org/",
        ] {
            assert!(matches("https://api.example.org/fhir", uri), "{uri}");
            assert!(matches("https://Api.Example.org.:443", uri), "{uri}");
        }
        for uri in [
            "http://api.example.org/",
            "http://api.example.org:443/",
            "https://api.example.org:8443/",
            "https://example.org/",
            "https://a.api.example.org/",
            "https://api.example.org../",
            "https://api.example.org.evil.example/",
            "https://api.example.org@evil.example/",
            "https://evil.example/https://api.example.org",
            "wss://api.example.org/",
            "https://api.example.org:99999/",
            "https://user:443@api.example.org:99999/",
        ] {
            assert!(!matches("https://api.example.org/fhir", uri), "{uri}");
        }
        assert!(
            matches("http://localhost:80", "http://localhost/") && !matches("http://localhost", "https://localhost")
        );
        assert!(matches("http://[::1]:8080", "http://[::1]:8080/") && !matches("http://[::1]:8080", "http://[::1]/"));
    }

    #[test]
    fn a_wildcard_is_for_subdomains_of_any_depth_and_not_for_the_name_itself() {
        for uri in ["https://a.example.org/", "https://a.b.EXAMPLE.org.:443/", "https://-.example.org/"] {
            assert!(matches("https://*.example.org/", uri), "{uri}");
        }
        for uri in [
            "https://example.org/",
            "https://evilexample.org/",
            "https://.example.org/",
            "https://a..example.org/",
            "https://a.example.org.evil.example/",
            "https://a.example.org:8443/",
            "http://a.example.org/",
            "https://org/",
        ] {
            assert!(!matches("https://*.example.org", uri), "{uri}");
        }
    }

    proptest! {
        /// Against the same rule in words that may allocate.
        #[test]
        fn a_wildcard_is_a_suffix_after_whole_labels(host in "([a-cA-C.]{0,4}\\.)?(b\\.a|B\\.A|cb\\.a|a)\\.?") {
            let lower = host.to_ascii_lowercase();
            let labels: Vec<_> = lower.strip_suffix('.').unwrap_or(&lower).split('.').collect();
            let below = labels.len() > 2 && labels.ends_with(&["b", "a"]) && !labels.contains(&"");
            let origin = Origin::parse("https://*.b.a").unwrap();
            prop_assert_eq!(origin.is_of("https", &host, None), below);
        }
    }

    #[test]
    fn a_wildcard_in_a_request_is_a_name_like_any_other() {
        assert!(!matches("https://a.example.org", "https://*.example.org/"));
    }

    #[test]
    fn a_bad_base_url_says_what_is_wrong_with_it() {
        for (url, says) in [
            ("", "not a URL"),
            ("https://", "not a URL"),
            ("https://bücher.example/", "not a URL"),
            ("api.example.org", "scheme"),
            ("/fhir", "scheme"),
            ("ftp://api.example.org", "scheme"),
            ("unix:///run/api.sock", "not a URL"),
            ("https://user:hidden@api.example.org", "user"),
            ("https://api.example.org:99999", "port"),
            ("https://api.example.org:", "port"),
            ("https://api..example.org", "label"),
            ("https://.", "host"),
            ("https://*", "wildcard"),
            ("https://*.", "wildcard"),
            ("https://*.org", "wildcard"),
            ("https://a.*.example.org", "wildcard"),
            ("https://*.*.example.org", "wildcard"),
            ("https://*example.org", "wildcard"),
            ("https://api*.example.org", "wildcard"),
        ] {
            let wrong = Origin::parse(url).unwrap_err();
            assert!(wrong.contains(says), "{url}: {wrong}");
        }
    }
}
