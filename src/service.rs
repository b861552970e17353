//! The service: what happens before a request's first attempt.

use std::{
    fmt, mem,
    sync::Arc,
    task::{Context as Task, Poll, ready},
};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::error::BoxError;

use crate::{
    cache::{Awaited, Look},
    context::{Admission, Contexts, Shared, attach},
    error::Error,
    extensions::{RequestMarkers, RequiredScopes},
    future::{ResponseFuture, Retry, Sent, Wait},
    per_core::CachePadded,
    replay::Replay,
    source::TokenSource,
};

/// A service whose requests carry a token. Made by [`BearerAuthLayer`](crate::BearerAuthLayer), which tells what it does.
///
/// Requests and responses keep their types. Its error is [`BoxError`]: the inner service's own error, or an
/// [`Error`](crate::Error) when there was no token; the request was not sent then.
pub struct BearerAuth<S, T, R = crate::replay::CloneBody> {
    inner: S,
    contexts: Contexts<T, R>,
}

impl<S, T, R> BearerAuth<S, T, R> {
    pub(crate) fn new(inner: S, contexts: Contexts<T, R>) -> Self {
        Self { inner, contexts }
    }

    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

/// What a request begins with.
enum Start<T, R> {
    /// Nothing of ours.
    Pass,
    /// The token, which is on it.
    Send(Sent, Shared<T, R>),
    /// A wait for one.
    Wait(Awaited, Option<RequiredScopes>, Shared<T, R>),
}

impl<S, T, R, B, ResB> Service<Request<B>> for BearerAuth<S, T, R>
where
    S: Service<Request<B>, Response = Response<ResB>> + Clone,
    S::Error: Into<BoxError>,
    T: TokenSource,
    R: Replay<B> + Clone,
    ResB: Body,
{
    type Response = Response<ResB>;
    type Error = BoxError;
    type Future = ResponseFuture<S, B, ResB, T, R>;

    fn poll_ready(&mut self, task: &mut Task<'_>) -> Poll<Result<(), Self::Error>> {
        ready!(self.inner.poll_ready(task)).map_err(Into::into)?;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        match self.start(&mut request) {
            Ok(Start::Pass) => ResponseFuture::passing(self.inner.call(request)),
            Ok(Start::Send(sent, context)) => {
                let (request, kept) = context.keep(request);
                let Some(kept) = kept else {
                    return ResponseFuture::first(self.inner.call(request), sent, None, context);
                };
                // The instance that was polled ready is the one that is called, and called again for the retry:
                // <https://docs.rs/tower/latest/tower/trait.Service.html#be-careful-when-cloning-inner-services>
                let mut service = self.take_ready();
                let response = service.call(request);
                ResponseFuture::first(response, sent, Some(Retry { service, kept }), context)
            }
            Ok(Start::Wait(awaited, required, context)) => {
                // Whatever the ready instance reserved (a permit, a slot) is given up while we wait: the token's own
                // request may need it.
                drop(self.take_ready());
                ResponseFuture::waiting(Wait::new(awaited, self.inner.clone(), request, required, context))
            }
            Err(error) => {
                // The inner service is not called: what it reserved is given up, or this one would keep a shared permit
                // while idle.
                drop(self.take_ready());
                ResponseFuture::failed(error)
            }
        }
    }
}

impl<S, T: TokenSource, R: Clone> BearerAuth<S, T, R> {
    fn start<B>(&self, request: &mut Request<B>) -> Result<Start<T, R>, Error> {
        let context = self.contexts.local();
        let marks = RequestMarkers::read(request.extensions());
        match context.admit(request, &marks) {
            Admission::Attach => {}
            Admission::Pass => return Ok(Start::Pass),
            Admission::Refuse(error) => return Err(error),
        }
        let context = match marks.narrowing {
            None => Arc::clone(context),
            Some(narrowing) => Arc::new(CachePadded(context.narrowed(narrowing)?)),
        };
        let required = marks.required.cloned();
        let look = context.cache.look(|entry| {
            context.check(required.as_ref(), &entry.token)?;
            attach(request, entry.authorization());
            Ok(entry.token.generation())
        })?;
        Ok(match look {
            Look::Hit(generation) => Start::Send(Sent { generation: generation?, waited: false, required }, context),
            Look::Wait(awaited) => Start::Wait(awaited, required, context),
        })
    }
}

impl<S: Clone, T, R> BearerAuth<S, T, R> {
    fn take_ready(&mut self) -> S {
        let unready = self.inner.clone();
        mem::replace(&mut self.inner, unready)
    }
}

impl<S: Clone, T, R> Clone for BearerAuth<S, T, R> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), contexts: Arc::clone(&self.contexts) }
    }
}

impl<S: fmt::Debug, T, R: fmt::Debug> fmt::Debug for BearerAuth<S, T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BearerAuth").field("inner", &self.inner).field("context", self.contexts.local()).finish()
    }
}
