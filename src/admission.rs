//! What the layer does with a request: attach a token, pass it on unchanged, or refuse it.

use std::sync::Arc;

use http::{Method, Request, header::AUTHORIZATION};

use crate::{
    cache::CacheCore,
    error::Error,
    events,
    extensions::{RequestMarkers, RequiredScopes, SentWithoutToken},
    layer_config::LayerConfig,
    pool::RequestHead,
    recursion::Renewing,
    source::Narrowing,
    token::AccessToken,
};

/// What the layer does with a request.
pub(crate) enum Admission {
    /// It attaches a token.
    Attach,
    /// It passes the request on without a token. Its answer is marked with this reason, if there is one.
    Pass(Option<SentWithoutToken>),
    /// The same, without the `Authorization` of a user.
    PassWithoutUser(Option<SentWithoutToken>),
    /// It does not send the request.
    Refuse(Error),
}

/// Decides what the layer does with a request.
pub(crate) fn admit<B, R>(
    config: &LayerConfig<R>,
    request: &Request<B>,
    markers: Option<&RequestMarkers<'_>>,
) -> Admission {
    if markers.is_some_and(|markers| markers.skip) || config.keep_existing && has_own_token(config, request) {
        // A layer on behalf of users keeps no `Authorization` that it finds, so this is a request that skips it.
        return without_token(config, None);
    }
    // Its answer shows the request's headers, perhaps to another person (RFC 9110 §9.3.8).
    if *request.method() == Method::TRACE {
        events::trace_passed();
        return without_token(config, None);
    }
    match config.destinations.covers(request.uri()) {
        Ok(true) => {}
        Ok(false) => return without_token(config, Some(SentWithoutToken::OtherOrigin)),
        Err(error) => return Admission::Refuse(error),
    }
    // Last, because only a request that needs a token can wait for itself.
    if markers
        .and_then(|markers| markers.renewing)
        .is_some_and(|renewing| renewing.contains(config.layer_cache().core.id()))
    {
        return Admission::Refuse(Error::recursion());
    }
    Admission::Attach
}

/// Returns how a request is passed on that the layer keeps without a token.
#[cold]
fn without_token<R>(config: &LayerConfig<R>, why: Option<SentWithoutToken>) -> Admission {
    if config.on_behalf_of { Admission::PassWithoutUser(why) } else { Admission::Pass(why) }
}

/// Returns whether the caller has set the header that carries the token.
#[cold]
fn has_own_token<B, R>(config: &LayerConfig<R>, request: &Request<B>) -> bool {
    request.headers().contains_key(config.own_header.as_ref().map_or(&AUTHORIZATION, |own| &own.name))
}

/// Returns whether a request may have another cache than that of the layer.
#[inline]
pub(crate) fn may_have_own_cache<R>(config: &LayerConfig<R>, markers: Option<&RequestMarkers<'_>>) -> bool {
    config.identities.is_some() || markers.is_some_and(|markers| markers.narrowing.is_some())
}

/// Returns the cache of a request's identity or narrowing, beside the request. `None` means that it has the cache of the layer.
///
/// It takes the request by value. If user code saw the address of the request, the compiler would copy it once more for each hit.
///
/// # Errors
/// When the request has no identity, its cache cannot be made, or its source cannot be narrowed.
#[inline(never)]
pub(crate) fn own_cache<B, R>(
    config: &LayerConfig<R>,
    request: Request<B>,
) -> (Request<B>, Result<Option<Arc<CacheCore>>, Error>) {
    let chosen = choose_cache(config, &request);
    (request, chosen)
}

fn choose_cache<B, R>(config: &LayerConfig<R>, request: &Request<B>) -> Result<Option<Arc<CacheCore>>, Error> {
    let narrowing = request.extensions().get::<Narrowing>();
    let Some(identities) = &config.identities else {
        return narrowing.map(|to| config.layer_cache().core.narrowed(to)).transpose();
    };
    let chosen = identities.choose(RequestHead::of(request))?;
    if request.extensions().get::<Renewing>().is_some_and(|renewing| renewing.contains(chosen.id())) {
        return Err(Error::recursion());
    }
    match narrowing {
        None => Ok(Some(chosen)),
        Some(to) => chosen.narrowed(to).map(Some),
    }
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
