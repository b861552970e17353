//! What the layer does with a request: attach a token, pass it on unchanged, or refuse it.

use http::{Request, header::AUTHORIZATION};

use crate::{
    config::LayerConfig,
    error::Error,
    extensions::{RequestMarkers, RequiredScopes},
    token::AccessToken,
};

/// What the layer does with a request.
pub(crate) enum Admission {
    /// It attaches a token.
    Attach,
    /// It passes the request on unchanged.
    Pass,
    /// It does not send the request.
    Refuse(Error),
}

/// Decides what the layer does with a request.
pub(crate) fn admit<B, R>(config: &LayerConfig<R>, request: &Request<B>, markers: &RequestMarkers<'_>) -> Admission {
    if markers.skip || config.keep_existing && request.headers().contains_key(AUTHORIZATION) {
        return Admission::Pass;
    }
    match config.destinations.covers(request.uri()) {
        Ok(true) => {}
        Ok(false) => return Admission::Pass,
        Err(error) => return Admission::Refuse(error),
    }
    // Last, because only a request that needs a token can wait for itself.
    if markers.renewing.is_some_and(|renewing| renewing.contains(config.cache.core.id())) {
        return Admission::Refuse(Error::recursion());
    }
    Admission::Attach
}

/// Checks that a request may be sent with this token, by the scopes that the request declares.
///
/// # Errors
/// When the layer checks scopes, and the token lacks one.
pub(crate) fn check_scopes<R>(
    config: &LayerConfig<R>,
    required: Option<&RequiredScopes>,
    token: &AccessToken,
) -> Result<(), Error> {
    match required {
        Some(required) if config.check_scopes => required.check(token),
        _ => Ok(()),
    }
}
