//! What a request tells the layer.

use std::sync::Arc;

use http::Extensions;

use crate::{error::Error, recursion::Renewing, scope::Scopes, source::Narrowing, token::AccessToken};

/// Put into a request's extensions, it makes the layer pass the request on as it is, wherever it goes: no token, no retry.
///
/// ```
/// let health_check = http::Request::get("https://api.example.org/health")
///     .extension(tower_bearer::SkipBearerAuth)
///     .body(())?;
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct SkipBearerAuth;

/// Put into a request's extensions, it tells which scopes the request needs.
///
/// A 403 to it then comes with an [`InsufficientScope`], whatever the API says of the reason. And with
/// [`check_scopes`](crate::BearerAuthLayer::check_scopes), a request whose token plainly lacks them is not sent.
///
/// ```
/// use tower_bearer::RequiredScopes;
///
/// let request = http::Request::get("https://api.example.org/fhir/Observation?patient=1")
///     .extension(RequiredScopes::new("patient/Observation.rs".parse()?))
///     .body(())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct RequiredScopes(Arc<Scopes>);

impl RequiredScopes {
    /// These are needed, all of them. Keep it for a kind of request: a clone costs next to nothing.
    #[must_use]
    pub fn new(scopes: Scopes) -> Self {
        Self(Arc::new(scopes))
    }

    pub(crate) fn scopes(&self) -> &Scopes {
        &self.0
    }

    /// # Errors
    /// When a token plainly lacks one: not, if it does not say which it has.
    pub(crate) fn check(&self, token: &AccessToken) -> Result<(), Error> {
        match token.scopes() {
            // Asked first, because it allocates nothing.
            Some(granted) if !granted.is_empty() && !granted.covers(&self.0) => {
                Err(Error::missing_scopes(&self.0.missing_from(granted)))
            }
            _ => Ok(()),
        }
    }
}

/// What a request says to the layer, in its extensions.
#[derive(Default)]
pub(crate) struct RequestMarkers<'a> {
    pub(crate) narrowing: Option<&'a Narrowing>,
    pub(crate) required: Option<&'a RequiredScopes>,
    pub(crate) renewing: Option<&'a Renewing>,
    pub(crate) skip: bool,
}

impl<'a> RequestMarkers<'a> {
    #[inline]
    pub(crate) fn read(extensions: &'a Extensions) -> Self {
        if extensions.is_empty() { Self::default() } else { Self::read_all(extensions) }
    }

    fn read_all(extensions: &'a Extensions) -> Self {
        Self {
            narrowing: extensions.get(),
            required: extensions.get(),
            renewing: extensions.get(),
            skip: extensions.get::<SkipBearerAuth>().is_some(),
        }
    }
}
