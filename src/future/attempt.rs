//! What belongs to one attempt to send a request.

use http::{HeaderValue, Request, Response, StatusCode, header::AUTHORIZATION};

use crate::{
    cache::CacheCore,
    error::Error,
    extensions::{NotRetried, Outcome, RequiredScopes},
    layer_config::{LayerConfig, RequestContext},
    replay::Replay,
    saved_head::SavedHead,
    token::AccessToken,
    token_header::TokenHeader,
};

/// What is known of a first attempt.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) generation: u64,
    pub(crate) waited: bool,
    pub(crate) required: Option<RequiredScopes>,
}

/// What a second attempt needs: the service, and the request as it was saved.
pub(crate) struct Retry<S, K> {
    pub(crate) service: S,
    pub(crate) head: SavedHead,
    pub(crate) body: K,
}

/// A first attempt that was sent, and what a second one needs.
pub(crate) struct Sent<S, K, R> {
    pub(crate) attempt: Attempt,
    pub(crate) retry: Option<Retry<S, K>>,
    pub(crate) context: RequestContext<R>,
}

/// Puts the token on a request: as its `authorization`, or in the layer's own header. It replaces any header of that name.
///
/// # Errors
/// When the request's map of headers is full.
#[inline]
pub(crate) fn attach<B>(
    request: &mut Request<B>,
    own: Option<&TokenHeader>,
    token: &AccessToken,
    authorization: impl FnOnce() -> HeaderValue,
) -> Result<(), Error> {
    let headers = request.headers_mut();
    let replaced = match own {
        None => headers.try_insert(AUTHORIZATION, authorization()),
        Some(own) => {
            if own.drops_authorization {
                headers.remove(AUTHORIZATION);
            }
            headers.try_insert(&own.name, own.value(token))
        }
    };
    match replaced {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::no_room_for_token()),
    }
}

/// Puts the token on a request whose head was restored. It has a place for the token already, which a full map has not twice.
pub(super) fn attach_again<B>(request: &mut Request<B>, own: Option<&TokenHeader>, token: &AccessToken) {
    let (name, value) = match own {
        None => (&AUTHORIZATION, token.header_value()),
        Some(own) => (&own.name, own.value(token)),
    };
    if let Some(place) = request.headers_mut().get_mut(name) {
        *place = value;
    }
}

/// Saves what a second attempt needs of a request. Returns `None` beside the request if it cannot be sent twice.
pub(crate) fn save<B, R: Replay<B>>(
    config: &LayerConfig<R>,
    request: Request<B>,
) -> (Request<B>, Option<(SavedHead, R::Kept)>) {
    let (head, body) = request.into_parts();
    let (body, kept) = config.replay.keep(body);
    let saved = kept.map(|kept| (SavedHead::save(&head, config.own_header.as_ref().map(|own| &own.name)), kept));
    (Request::from_parts(head, body), saved)
}

impl<S, K, R> Sent<S, K, R> {
    /// Returns whether an answer with this status ends a hit: it is accepted by its status alone, and gets no [`Outcome`].
    #[inline]
    pub(super) fn is_hit(&self, status: StatusCode) -> bool {
        !self.attempt.waited && self.context.rule.accepts_by_status(status)
    }
}

impl Attempt {
    /// Returns the accepted answer to a first attempt that had to wait for its token, with an [`Outcome`] that says so.
    #[cold]
    pub(super) fn accepted_after_wait<ResB>(&self, mut answer: Response<ResB>) -> Response<ResB> {
        answer.extensions_mut().insert(Outcome::new(self.generation, true, false, None));
        answer
    }

    /// Returns the answer to a first attempt with the reason why no second one follows.
    pub(super) fn pass_on<ResB>(
        &self,
        core: &CacheCore,
        mut answer: Response<ResB>,
        why_not: NotRetried,
    ) -> Response<ResB> {
        core.note_not_retried(self.generation, &why_not);
        answer.extensions_mut().insert(Outcome::new(self.generation, self.waited, false, Some(why_not)));
        answer
    }
}
