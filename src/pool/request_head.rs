//! The head of a request, by which its identity is chosen.

use std::fmt;

use http::{Extensions, HeaderMap, Method, Request, Uri, header::AUTHORIZATION};

/// The head of a request, as it came to the layer. [`BearerAuthLayer::with_pool`](crate::BearerAuthLayer::with_pool) chooses the
/// identity by it.
///
/// `Debug` does not show the headers and the query of the URI: they may hold secrets.
#[derive(Clone, Copy)]
pub struct RequestHead<'a> {
    method: &'a Method,
    uri: &'a Uri,
    headers: &'a HeaderMap,
    extensions: &'a Extensions,
}

impl<'a> RequestHead<'a> {
    pub(crate) fn of<B>(request: &'a Request<B>) -> Self {
        Self {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
            extensions: request.extensions(),
        }
    }

    /// Returns the method.
    #[must_use]
    pub fn method(&self) -> &'a Method {
        self.method
    }

    /// Returns the URI.
    #[must_use]
    pub fn uri(&self) -> &'a Uri {
        self.uri
    }

    /// Returns the headers, with any `Authorization` that the caller set.
    #[must_use]
    pub fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// Returns the token of an `Authorization: Bearer` header (RFC 6750 §2.1). The name of the scheme may be in any case. Returns
    /// `None` if there is no such header, if there are several, or if the token is empty or has a character that is not visible
    /// ASCII.
    #[must_use]
    pub fn bearer_token(&self) -> Option<&'a str> {
        let mut all = self.headers.get_all(AUTHORIZATION).iter();
        let (Some(one), None) = (all.next(), all.next()) else { return None };
        let (scheme, token) = one.to_str().ok()?.split_once(' ')?;
        let token = token.trim_matches(' ');
        let is_token = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        (scheme.eq_ignore_ascii_case("Bearer") && is_token).then_some(token)
    }

    /// Returns the extensions, where a layer above can put the identity.
    #[must_use]
    pub fn extensions(&self) -> &'a Extensions {
        self.extensions
    }
}

impl fmt::Debug for RequestHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, uri, .. } = self;
        f.debug_struct("RequestHead").field("method", method).field("path", &uri.path()).finish_non_exhaustive()
    }
}
