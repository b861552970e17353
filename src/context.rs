//! What a layer, its services and their requests share.

use std::{fmt, sync::Arc};

use http::{HeaderValue, Request, Response, StatusCode, header::AUTHORIZATION};

use crate::{
    cache::TokenCache,
    destination::Destinations,
    error::Error,
    extensions::{InsufficientScope, InsufficientUserAuthentication, RequestMarkers, RequiredScopes},
    per_core::{CachePadded, PerCore},
    replay::Replay,
    saved_head::SavedHead,
    source::{Narrowing, TokenSource},
    token::AccessToken,
    verdict::{Rule, Verdict},
};

/// What a service and its requests need to know.
pub(crate) struct Context<T, R> {
    pub(crate) cache: TokenCache<T>,
    pub(crate) replay: R,
    pub(crate) rule: Rule,
    pub(crate) keep_existing: bool,
    pub(crate) guard: Destinations,
    pub(crate) check_scopes: bool,
}

/// A context, to be taken along by a request. Threads have their own.
pub(crate) type Shared<T, R> = Arc<CachePadded<Context<T, R>>>;

/// Those of all threads.
pub(crate) type Contexts<T, R> = Arc<PerCore<Shared<T, R>>>;

/// What the layer does with a request.
pub(crate) enum Admission {
    Attach,
    Pass,
    Refuse(Error),
}

impl<T: TokenSource, R: Clone> Context<T, R> {
    /// The same for a request that asks for a narrowed token, with the cache of those.
    ///
    /// # Errors
    /// When the source cannot be narrowed.
    pub(crate) fn narrowed(&self, to: &Narrowing) -> Result<Self, Error> {
        Ok(Self { cache: self.cache.narrowed(to)?, ..self.clone() })
    }
}

impl<T: TokenSource, R> Context<T, R> {
    /// What is to be done with a request.
    pub(crate) fn admit<B>(&self, request: &Request<B>, marks: &RequestMarkers<'_>) -> Admission {
        if marks.skip || self.keep_existing && request.headers().contains_key(AUTHORIZATION) {
            return Admission::Pass;
        }
        match self.guard.covers(request.uri()) {
            Ok(true) => {}
            Ok(false) => return Admission::Pass,
            Err(error) => return Admission::Refuse(error),
        }
        // Last, because only a request that needs a token can wait for itself.
        if marks.renewing.is_some_and(|renewing| renewing.contains(self.cache.id())) {
            return Admission::Refuse(Error::recursion());
        }
        Admission::Attach
    }

    /// Whether a request may be sent with this token, as far as the scopes that it declares go.
    ///
    /// # Errors
    /// When the token plainly lacks one.
    pub(crate) fn check(&self, required: Option<&RequiredScopes>, token: &AccessToken) -> Result<(), Error> {
        match required {
            Some(required) if self.check_scopes => required.check(token),
            _ => Ok(()),
        }
    }

    /// The verdict on an answer. What the API says that is missing goes into the answer's extensions.
    pub(crate) fn judge<B>(
        &self,
        answer: &mut Response<B>,
        generation: u64,
        required: Option<&RequiredScopes>,
    ) -> Verdict {
        let verdict = self.rule.judge(answer.status(), answer.headers());
        let forbidden = required.is_some() && answer.status() == StatusCode::FORBIDDEN;
        if forbidden || !matches!(verdict, Verdict::Accepted | Verdict::Rejected) {
            self.explain(verdict, answer, generation, required);
        }
        verdict
    }

    /// Puts among an answer's extensions what the API says that is missing.
    #[cold]
    fn explain<B>(
        &self,
        verdict: Verdict,
        answer: &mut Response<B>,
        generation: u64,
        required: Option<&RequiredScopes>,
    ) {
        if verdict == Verdict::InsufficientUserAuthentication {
            let missing = InsufficientUserAuthentication::read(answer.headers());
            answer.extensions_mut().insert(missing);
        } else {
            let granted = self.cache.scopes_of(generation);
            let missing = InsufficientScope::read(answer.headers(), required.map(RequiredScopes::scopes), granted);
            answer.extensions_mut().insert(missing);
        }
    }

    /// Keeps what a second attempt needs.
    pub(crate) fn keep<B>(&self, request: Request<B>) -> (Request<B>, Option<Kept<R::Kept>>)
    where
        R: Replay<B>,
    {
        let (head, body) = request.into_parts();
        let (body, kept) = self.replay.keep(body);
        let kept = kept.map(|body| Kept { head: SavedHead::keep(&head), body });
        (Request::from_parts(head, body), kept)
    }
}

/// A request kept for its second attempt.
pub(crate) struct Kept<K> {
    pub(crate) head: SavedHead,
    pub(crate) body: K,
}

/// Puts the token on a request, in the place of whatever stood there.
pub(crate) fn attach<B>(request: &mut Request<B>, authorization: HeaderValue) {
    request.headers_mut().insert(AUTHORIZATION, authorization);
}

impl<T, R: Clone> Clone for Context<T, R> {
    fn clone(&self) -> Self {
        Self {
            cache: self.cache.clone(),
            replay: self.replay.clone(),
            rule: self.rule.clone(),
            keep_existing: self.keep_existing,
            guard: self.guard.clone(),
            check_scopes: self.check_scopes,
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
            .field("check_scopes", &self.check_scopes)
            .finish()
    }
}
