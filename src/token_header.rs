//! Where a request carries its token, if that is not `Authorization: Bearer`.

use http::{HeaderName, HeaderValue, header::AUTHORIZATION};

use crate::token::AccessToken;

/// The header that carries the token, and the scheme before it.
///
/// It belongs to a layer and not to a cache, because the layers that share a cache may call different APIs. A token has its value
/// for `Authorization: Bearer` ready. Any other value is made for each request.
#[derive(Clone, Debug)]
pub(crate) struct TokenHeader {
    pub(crate) name: HeaderName,
    /// `None` means that the token stands alone.
    pub(crate) scheme: Option<Box<str>>,
    /// Whether the caller's `Authorization` is removed, although the token is in another header.
    pub(crate) drops_authorization: bool,
}

const BEARER: &str = "Bearer";

impl Default for TokenHeader {
    fn default() -> Self {
        Self { name: AUTHORIZATION, scheme: Some(BEARER.into()), drops_authorization: false }
    }
}

impl TokenHeader {
    /// Returns whether it is `Authorization: Bearer`.
    pub(crate) fn is_usual(&self) -> bool {
        self.name == AUTHORIZATION && self.scheme.as_deref() == Some(BEARER)
    }

    /// Returns the header's value for a token.
    pub(crate) fn value(&self, token: &AccessToken) -> HeaderValue {
        token.header_value_with(self.scheme.as_deref())
    }
}
