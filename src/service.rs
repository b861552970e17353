//! The service: what happens before a request's first attempt.

use std::{
    fmt, mem,
    sync::Arc,
    task::{Context as Task, Poll, ready},
};

use http::{Request, Response};
use http_body::Body;
use tower::{BoxError, Service};

use crate::{
    cache::Look,
    context::{Admission, Context, attach},
    error::Error,
    future::{First, ResponseFuture, Retry},
    replay::Replay,
    source::TokenSource,
};

/// A service whose requests carry a token. Made by [`BearerAuthLayer`](crate::BearerAuthLayer), which tells what it does.
///
/// Requests and responses keep their types. Its error is [`BoxError`]: the inner service's own error, or an
/// [`Error`](crate::Error) when there was no token; the request was not sent then.
pub struct BearerAuth<S, T, R = crate::replay::CloneBody> {
    inner: S,
    context: Arc<Context<T, R>>,
}

impl<S, T, R> BearerAuth<S, T, R> {
    pub(crate) fn new(inner: S, context: Arc<Context<T, R>>) -> Self {
        Self { inner, context }
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

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.context.admit(&request) {
            Admission::Pass => ResponseFuture::passing(self.inner.call(request)),
            Admission::Refuse(error) => self.refuse(error),
            Admission::Attach => self.attach(request).unwrap_or_else(|error| self.refuse(error)),
        }
    }
}

impl<S, T, R> BearerAuth<S, T, R> {
    /// Sends a request with a token, as soon as there is one.
    fn attach<B, ResB>(&mut self, request: Request<B>) -> Result<ResponseFuture<S, B, ResB, T, R>, Error>
    where
        S: Service<Request<B>, Response = Response<ResB>> + Clone,
        T: TokenSource,
        R: Replay<B> + Clone,
    {
        let context = match request.extensions().get() {
            None => Arc::clone(&self.context),
            Some(narrowing) => Arc::new(self.context.narrowed(narrowing)?),
        };
        let required = request.extensions().get().cloned();
        match context.cache.look()? {
            Look::Hit(token) => {
                context.check(required.as_ref(), &token)?;
                let (request, kept) = context.keep(request);
                let first = First { generation: token.generation(), waited: false, required };
                let request = attach(request, token.header_value());
                let Some(kept) = kept else {
                    return Ok(ResponseFuture::sending(self.inner.call(request), None, first, context));
                };
                // The instance that was polled ready is the one that is called, and called again for the retry:
                // <https://docs.rs/tower/latest/tower/trait.Service.html#be-careful-when-cloning-inner-services>
                let mut service = self.take_ready();
                let response = service.call(request);
                Ok(ResponseFuture::sending(response, Some(Retry { service, kept }), first, context))
            }
            Look::Wait(awaited) => {
                // Whatever the ready instance reserved (a permit, a slot) is given up while we wait: the token's own
                // request may need it.
                drop(self.take_ready());
                let token = Box::pin(context.cache.clone().arrival(awaited));
                Ok(ResponseFuture::waiting(token, self.inner.clone(), request, required, context))
            }
        }
    }
}

impl<S: Clone, T, R> BearerAuth<S, T, R> {
    /// The inner service is not called: what it reserved is given up, or this one would keep a shared permit while idle.
    fn refuse<B, ResB>(&mut self, error: Error) -> ResponseFuture<S, B, ResB, T, R>
    where
        S: Service<Request<B>>,
        R: Replay<B>,
    {
        drop(self.take_ready());
        ResponseFuture::failed(error)
    }

    fn take_ready(&mut self) -> S {
        let unready = self.inner.clone();
        mem::replace(&mut self.inner, unready)
    }
}

impl<S: Clone, T, R> Clone for BearerAuth<S, T, R> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), context: Arc::clone(&self.context) }
    }
}

impl<S: fmt::Debug, T, R: fmt::Debug> fmt::Debug for BearerAuth<S, T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BearerAuth").field("inner", &self.inner).field("context", &self.context).finish()
    }
}
