//! URLs that secrets are sent to.

use std::fmt;

use http::Uri;

use crate::{error::Error, grant::reply::shown, transport};

/// A URL that was looked at: http or https with a host, and nothing in it that goes in the clear.
#[derive(Clone)]
pub(crate) struct Url {
    /// As it was written: assertions name it, and issuers are compared by it (RFC 8414 §3.3).
    pub(crate) text: String,
    pub(crate) uri: Uri,
}

impl Url {
    /// Or what is wrong with it.
    pub(crate) fn new(text: &str, plain_http: bool) -> Result<Self, &'static str> {
        let uri: Uri = text.parse().map_err(|_| "is no URL")?;
        if !matches!(uri.scheme_str(), Some("https" | "http")) || uri.host().is_none_or(str::is_empty) {
            return Err("has no http or https scheme, or no host");
        }
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err("has a user in it, which belongs into `ClientAuth`");
        }
        // It is never sent, and RFC 6749 §3.2 allows none.
        if text.contains('#') {
            return Err("has a fragment");
        }
        if !plain_http && !transport::is_secure(&uri) {
            return Err("is plain http, which would send secrets in the clear (only loopback addresses may be)");
        }
        Ok(Self { text: text.to_owned(), uri })
    }

    pub(crate) fn is_https(&self) -> bool {
        self.uri.scheme_str() == Some("https")
    }

    /// One that was set.
    pub(crate) fn setting(text: &str, name: &str, example: &str, plain_http: bool) -> Result<Self, Error> {
        Self::new(text, plain_http)
            .map_err(|why| Error::config(format!("the {name} {why}: give all of it, such as {example}")))
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.uri))
    }
}
