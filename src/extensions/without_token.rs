//! A request that the layer passed on without a token.

/// Says that the layer sent a request without a token. It is in the extensions of the response.
///
/// A 401 to such a request says nothing of the token. A request with [`SkipBearerAuth`](crate::SkipBearerAuth), one that kept its
/// own `Authorization`, and a `TRACE` are not marked.
///
/// ```
/// use tower_bearer::SentWithoutToken;
///
/// fn explain<B>(response: &http::Response<B>) {
///     if let Some(SentWithoutToken::OtherOrigin) = response.extensions().get() {
///         eprintln!("{}: this host is not in `origins`", response.status());
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SentWithoutToken {
    /// Its origin is not one of the [listed ones](crate::BearerAuthLayer::origins). The first such request to an origin is a
    /// warning in the log.
    OtherOrigin,
}
