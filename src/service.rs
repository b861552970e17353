//! The service: what happens before a request's first attempt.

use std::{
    fmt, mem,
    sync::Arc,
    task::{Context as Task, Poll, ready},
};

use http::{Request, Response};
use tower_service::Service;

use crate::{
    admission::{Admission, admit, check_scopes},
    cache::{Lookup, PendingRenewal},
    config::{PerCoreConfig, SharedConfig},
    error::{BoxError, Error},
    extensions::{RequestMarkers, RequiredScopes},
    future::{Attempt, ResponseFuture, Retry, Sent, WaitForToken, attach, save},
    inner_service::{CloneableService, ResponseBody},
    per_core::CachePadded,
    replay::{CloneBody, Replay},
};

/// A service whose requests carry a token. [`BearerAuthLayer`](crate::BearerAuthLayer) makes it, and documents what it does.
///
/// Requests and responses keep their types. Its error is [`BoxError`]: the inner service's own error, or an
/// [`Error`](crate::Error) when there was no token and the request was not sent.
pub struct BearerAuth<S, R = CloneBody> {
    inner: S,
    config: PerCoreConfig<R>,
}

impl<S, R> BearerAuth<S, R> {
    pub(crate) fn new(inner: S, config: PerCoreConfig<R>) -> Self {
        Self { inner, config }
    }

    /// Returns the inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns the inner service, to change it.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the inner service, and drops this one.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

/// How a request begins.
enum Start<R> {
    /// It is passed on without a token.
    Pass,
    /// Its token is attached.
    Send(Attempt, SharedConfig<R>),
    /// It waits for a token.
    Wait(PendingRenewal, Option<RequiredScopes>, SharedConfig<R>),
}

impl<S, R, B, ResB> Service<Request<B>> for BearerAuth<S, R>
where
    S: Service<Request<B>, Response = Response<ResB>> + CloneableService,
    S::Error: Into<BoxError>,
    R: Replay<B> + Clone,
    ResB: ResponseBody,
{
    type Response = Response<ResB>;
    type Error = BoxError;
    type Future = ResponseFuture<S, B, ResB, R>;

    fn poll_ready(&mut self, task: &mut Task<'_>) -> Poll<Result<(), Self::Error>> {
        ready!(self.inner.poll_ready(task)).map_err(Into::into)?;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        match self.start(&mut request) {
            Ok(Start::Pass) => ResponseFuture::passing(self.inner.call(request)),
            Ok(Start::Send(attempt, config)) => {
                let (request, saved) = save(&*config, request);
                let Some((head, body)) = saved else {
                    let response = self.inner.call(request);
                    return ResponseFuture::first(Sent { response, attempt, retry: None, config });
                };
                // The instance that was polled ready is the one that is called, and called again for the retry:
                // <https://docs.rs/tower/latest/tower/trait.Service.html#be-careful-when-cloning-inner-services>
                let mut service = self.take_ready();
                let response = service.call(request);
                ResponseFuture::first(Sent { response, attempt, retry: Some(Retry { service, head, body }), config })
            }
            Ok(Start::Wait(pending, required, config)) => {
                // Whatever the ready instance reserved (a permit, a place in a queue) is given back during the wait: the
                // token's own request may need it.
                drop(self.take_ready());
                ResponseFuture::waiting(WaitForToken::new(pending, self.inner.clone(), request, required, config))
            }
            Err(error) => {
                // The inner service is not called, so what it reserved is given back. Otherwise this service would hold a
                // shared permit while it is idle.
                drop(self.take_ready());
                ResponseFuture::failed(error)
            }
        }
    }
}

impl<S, R: Clone> BearerAuth<S, R> {
    fn start<B>(&self, request: &mut Request<B>) -> Result<Start<R>, Error> {
        let config = self.config.local();
        let markers = RequestMarkers::read(request.extensions());
        match admit(config, request, &markers) {
            Admission::Attach => {}
            Admission::Pass => return Ok(Start::Pass),
            Admission::Refuse(error) => return Err(error),
        }
        let config = match markers.narrowing {
            None => Arc::clone(config),
            Some(narrowing) => Arc::new(CachePadded(config.narrowed(narrowing)?)),
        };
        let required = markers.required.cloned();
        let found = config.cache.core.lookup(|served| {
            check_scopes(&config, required.as_ref(), &served.token)?;
            attach(request, served.authorization());
            Ok(served.token.generation())
        })?;
        Ok(match found {
            Lookup::Hit(generation) => {
                Start::Send(Attempt { generation: generation?, waited: false, required }, config)
            }
            Lookup::Wait(pending) => Start::Wait(pending, required, config),
        })
    }
}

impl<S: Clone, R> BearerAuth<S, R> {
    fn take_ready(&mut self) -> S {
        let unready = self.inner.clone();
        mem::replace(&mut self.inner, unready)
    }
}

impl<S: Clone, R> Clone for BearerAuth<S, R> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), config: Arc::clone(&self.config) }
    }
}

impl<S: fmt::Debug, R: fmt::Debug> fmt::Debug for BearerAuth<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BearerAuth").field("inner", &self.inner).field("config", self.config.local()).finish()
    }
}
