//! Where the metadata of an API is.

use http::HeaderMap;

use crate::challenge::Challenge;

/// The URL of an API's metadata, which says what its authorization server is (RFC 9728 §5.1).
///
/// It is in the extensions of a response with status 401 or 403 that has a challenge with `resource_metadata`, of any scheme. The
/// answers to first and second attempts are treated alike.
///
/// The URL comes from the API and is not checked. Do not fetch it without the checks of RFC 9728 §3.3 and §7.7: give the API's own
/// URL to [`AuthorizationServer::protected_resource`](crate::grant::AuthorizationServer::protected_resource), which makes them.
///
/// ```
/// use tower_bearer::ResourceMetadata;
///
/// fn log<B>(response: &http::Response<B>) {
///     if let Some(metadata) = response.extensions().get::<ResourceMetadata>() {
///         eprintln!("the API is described at {}", metadata.url());
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceMetadata(Box<str>);

impl ResourceMetadata {
    /// Reads the first challenge that has a `resource_metadata`.
    pub(crate) fn read(headers: &HeaderMap) -> Option<Self> {
        let challenges = Challenge::all(headers);
        let url = challenges.iter().find_map(|challenge| challenge.param("resource_metadata"))?.trim_ascii();
        (!url.is_empty()).then(|| Self(url.into()))
    }

    /// Returns the URL as the API wrote it.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.0
    }
}
