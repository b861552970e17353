//! URLs that secrets are sent to.

use std::fmt;

use http::Uri;

use crate::{error::Error, transport};

/// The most characters of a URL that are shown. A server chooses how long its own URLs are.
const MAX_SHOWN: usize = 256;

/// A checked URL: http or https, with a host, and with nothing in it that would expose a secret.
#[derive(Clone)]
pub(crate) struct Url {
    /// The URL as it was written. Assertions name it, and issuers are compared by it (RFC 8414 §3.3).
    pub(crate) text: String,
    pub(crate) uri: Uri,
}

impl Url {
    /// Checks a URL.
    ///
    /// # Errors
    /// Says what is wrong, as the end of a sentence that begins with the URL's name, and after a semicolon what to do if that
    /// is special.
    pub(crate) fn new(text: &str, plain_http: bool) -> Result<Self, &'static str> {
        let uri: Uri = text.parse().map_err(|_| "is not a URL")?;
        if !matches!(uri.scheme_str(), Some("https" | "http")) || uri.host().is_none_or(str::is_empty) {
            return Err("does not have an http or https scheme and a host");
        }
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err("contains a username, which belongs in `ClientAuth`");
        }
        if !has_valid_port(&uri) {
            return Err("has a port that is not a number from 1 to 65535");
        }
        // A fragment is never sent, and RFC 6749 §3.2 does not allow one.
        if text.contains('#') {
            return Err("has a fragment, which is not allowed");
        }
        if !plain_http && !transport::is_secure(&uri) {
            return Err(
                "is plain http, which would send secrets unencrypted; use https, or call `allow_plain_http(true)` if the network \
                 is private by other means",
            );
        }
        Ok(Self { text: text.to_owned(), uri })
    }

    /// Checks a URL that was given as a setting. The error names the server of one that is right but for its transport.
    pub(crate) fn from_setting(text: &str, name: &str, example: &str, plain_http: bool) -> Result<Self, Error> {
        Self::new(text, plain_http).map_err(|why| {
            let advice =
                if why.contains("; ") { String::new() } else { format!(": give a full URL, such as {example}") };
            let server =
                Self::new(text, true).map_or_else(|_| String::new(), |url| format!(" at {}", server_name(&url.uri)));
            Error::config(format!("the {name}{server} {why}{advice}"))
        })
    }

    pub(crate) fn is_https(&self) -> bool {
        self.uri.scheme_str() == Some("https")
    }
}

fn has_valid_port(uri: &Uri) -> bool {
    let Some(authority) = uri.authority() else { return true };
    authority.as_str() == authority.host() || authority.port_u16().is_some_and(|port| port > 0)
}

/// Returns the URL without the parts that may be secret: user, query, path parameters, and path segments with unusual
/// characters. An ellipsis takes the place of such a segment.
pub(crate) fn redacted(uri: &Uri) -> String {
    let host = uri.authority().map_or_else(String::new, |authority| {
        let host = authority.as_str().rsplit('@').next().unwrap_or_default();
        format!("{}://{host}", uri.scheme_str().unwrap_or("https"))
    });
    let path = uri.path().split(';').next().unwrap_or_default();
    let segments: Vec<_> = path.split('/').map(|it| if is_harmless(it) { it } else { "…" }).collect();
    host.chars().chain(segments.join("/").chars()).take(MAX_SHOWN).collect()
}

/// Returns whether a path segment looks like a name that a person has chosen.
fn is_harmless(segment: &str) -> bool {
    segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// Returns a URL's scheme, host and port, for errors.
pub(crate) fn server_name(uri: &Uri) -> String {
    let host = uri.host().unwrap_or_default();
    let name = format!("{}://{host}", uri.scheme_str().unwrap_or("https"));
    let port = uri.port().map_or_else(String::new, |port| format!(":{port}"));
    name.chars().chain(port.chars()).take(MAX_SHOWN).collect()
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redacted(&self.uri))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_a_number_from_1_to_65535() {
        for text in [
            "https://a.test:0/",
            "https://a.test:65536/",
            "https://a.test:99999/",
            "https://a.test:/",
            "https://a.test:x/",
            "https://[::1]:0/",
            "https://a.test:-1/",
            "https://[::1]:99999/x",
        ] {
            assert!(Url::new(text, false).is_err(), "{text}");
        }
        for text in
            ["https://a.test/", "https://a.test:1/", "https://a.test:65535", "https://[::1]:1/", "https://[::1]/"]
        {
            assert!(Url::new(text, false).is_ok(), "{text}");
        }
    }
}
