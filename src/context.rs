//! What a layer, its services and their requests share.

use std::fmt;

use http::{HeaderValue, Request, Response, header::AUTHORIZATION, request};

use crate::{
    cache::TokenCache,
    error::Error,
    guard::Guard,
    insufficiency::{InsufficientScope, InsufficientUserAuthentication},
    recursion::Renewing,
    rejection::{Rule, Verdict},
    replay::Replay,
    source::TokenSource,
};

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

/// What a service and its requests need to know.
pub(crate) struct Context<T, R> {
    pub(crate) cache: TokenCache<T>,
    pub(crate) replay: R,
    pub(crate) rule: Rule,
    pub(crate) keep_existing: bool,
    pub(crate) guard: Guard,
}

/// What the layer does with a request.
pub(crate) enum Admission {
    Attach,
    Pass,
    Refuse(Error),
}

impl<T: TokenSource, R> Context<T, R> {
    /// What is to be done with a request.
    pub(crate) fn admit<B>(&self, request: &Request<B>) -> Admission {
        let extensions = request.extensions();
        if extensions.get::<SkipBearerAuth>().is_some()
            || self.keep_existing && request.headers().contains_key(AUTHORIZATION)
        {
            return Admission::Pass;
        }
        match self.guard.covers(request.uri()) {
            Ok(true) => {}
            Ok(false) => return Admission::Pass,
            Err(error) => return Admission::Refuse(error),
        }
        // Last, because only a request that needs a token can wait for itself.
        if extensions.get::<Renewing>().is_some_and(|renewing| renewing.contains(self.cache.id())) {
            return Admission::Refuse(Error::recursion());
        }
        Admission::Attach
    }

    /// The verdict on an answer. What the API says that is missing goes into the answer's extensions.
    pub(crate) fn judge<B>(&self, answer: &mut Response<B>, generation: u64) -> Verdict {
        let verdict = self.rule.judge(answer.status(), answer.headers());
        match verdict {
            Verdict::InsufficientScope => {
                let missing = InsufficientScope::read(answer.headers(), self.cache.scope_of(generation));
                answer.extensions_mut().insert(missing);
            }
            Verdict::InsufficientUserAuthentication => {
                let missing = InsufficientUserAuthentication::read(answer.headers());
                answer.extensions_mut().insert(missing);
            }
            Verdict::Accepted | Verdict::Rejected => {}
        }
        verdict
    }

    /// Keeps what a second attempt needs.
    pub(crate) fn keep<B>(&self, request: Request<B>) -> (Request<B>, Option<Kept<R::Kept>>)
    where
        R: Replay<B>,
    {
        let (head, body) = request.into_parts();
        let (body, kept) = self.replay.keep(body);
        let kept = kept.map(|body| Kept { head: head.clone(), body });
        (Request::from_parts(head, body), kept)
    }
}

/// A request kept for its second attempt.
pub(crate) struct Kept<K> {
    pub(crate) head: request::Parts,
    pub(crate) body: K,
}

/// Puts the token on a request, in the place of whatever stood there.
pub(crate) fn attach<B>(mut request: Request<B>, authorization: HeaderValue) -> Request<B> {
    request.headers_mut().insert(AUTHORIZATION, authorization);
    request
}

impl<T, R: Clone> Clone for Context<T, R> {
    fn clone(&self) -> Self {
        Self {
            cache: self.cache.clone(),
            replay: self.replay.clone(),
            rule: self.rule.clone(),
            keep_existing: self.keep_existing,
            guard: self.guard.clone(),
        }
    }
}

impl<T, R: fmt::Debug> fmt::Debug for Context<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("cache", &self.cache)
            .field("replay", &self.replay)
            .field("rule", &self.rule)
            .field("keep_existing", &self.keep_existing)
            .field("guard", &self.guard)
            .finish()
    }
}
