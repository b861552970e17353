//! What a request tells the layer.

use std::sync::Arc;

use http::Extensions;

use crate::{error::Error, recursion::Renewing, scope::Scopes, source::Narrowing, token::AccessToken};

/// Makes the layer pass a request on unchanged, wherever it goes: without a token, and without a retry. It goes into the
/// extensions of the request.
///
/// A layer [on behalf of users](crate::BearerAuthLayer::on_behalf_of) removes `Authorization` from it: the user's own token is not
/// passed on in any case.
///
/// ```
/// let health_check = http::Request::get("https://api.example.org/health")
///     .extension(tower_bearer::SkipBearerAuth)
///     .body(())?;
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct SkipBearerAuth;

/// The scopes that a request needs. It goes into the extensions of the request.
///
/// A 403 to it then has an [`InsufficientScope`](crate::InsufficientScope) in its extensions, whatever reason the API gives. With
/// [`check_scopes`](crate::BearerAuthLayer::check_scopes), a request whose token lacks them is not sent.
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
    /// Creates a requirement of all these scopes. It is cheap to clone: create it once for all requests of one kind.
    #[must_use]
    pub fn new(scopes: Scopes) -> Self {
        Self(Arc::new(scopes))
    }

    pub(crate) fn scopes(&self) -> &Scopes {
        &self.0
    }

    /// Checks that a token has the scopes. A token that does not say which scopes it has passes.
    ///
    /// # Errors
    /// When the token lacks one.
    pub(crate) fn check(&self, token: &AccessToken) -> Result<(), Error> {
        match token.scopes() {
            // `covers` first, because it does not allocate.
            Some(granted) if !granted.is_empty() && !granted.covers(&self.0) => {
                Err(Error::missing_scopes(&self.0.missing_from(granted)))
            }
            _ => Ok(()),
        }
    }
}

/// What a request tells the layer in its extensions.
pub(crate) struct RequestMarkers<'a> {
    pub(crate) narrowing: Option<&'a Narrowing>,
    pub(crate) required: Option<&'a RequiredScopes>,
    pub(crate) renewing: Option<&'a Renewing>,
    pub(crate) skip: bool,
}

impl<'a> RequestMarkers<'a> {
    /// Returns `None` for a request without extensions, as most are.
    #[inline]
    pub(crate) fn read(extensions: &'a Extensions) -> Option<Self> {
        (!extensions.is_empty()).then(|| Self::read_all(extensions))
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
