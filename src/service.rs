//! The service: what happens before a request's first attempt.

use std::{
    fmt, mem,
    sync::Arc,
    task::{Context as Task, Poll, ready},
};

use http::{Request, header::AUTHORIZATION};
use tower_service::Service;

use crate::{
    admission::{Admission, admit, check_scopes, may_have_own_cache, own_cache},
    cache::Lookup,
    error::{BoxError, Error},
    extensions::RequestMarkers,
    future::{Attempt, ResponseFuture, Retry, Sent, WaitForToken, attach, save},
    inner_service::{CloneableService, RequestService, ResponseBody},
    layer_config::{PerCoreConfig, RequestContext},
    recursion::Renewing,
    replay::{CloneBody, Replay},
};

/// A service that attaches a token to each request. [`BearerAuthLayer`](crate::BearerAuthLayer) creates it, and its
/// documentation says what the service does.
///
/// Requests and responses keep their types. Its error is [`BoxError`]: the inner service's own error, or an
/// [`Error`](crate::Error) when the layer did not send the request.
///
/// # When the compiler says that trait bounds were not satisfied
/// "The method `ready` exists for struct `BearerAuth<…>`, but its trait bounds were not satisfied" means that this type is not
/// a `Service` for your request. The compiler does not say which bound fails. It does so if you pass the service to a function
/// that asks for the trait:
///
/// ```
/// # use http::{Request, Response};
/// # use tower::{Service, ServiceBuilder, service_fn};
/// # use tower_bearer::{BearerAuthLayer, BoxError, FixedToken};
/// fn is_service<B>(_: &impl Service<Request<B>>) {}
///
/// # let client = service_fn(async |_: Request<String>| Ok::<_, BoxError>(Response::new(String::new())));
/// let api = ServiceBuilder::new().layer(BearerAuthLayer::new(FixedToken::new("t")?)).service(client);
/// is_service::<String>(&api); // `String` is the type of the request body.
/// # Ok::<(), BoxError>(())
/// ```
///
/// The bounds are: the inner service is a `Service<Request<B>>` and `Clone`, its response is a `Response` whose body is an
/// `http_body::Body`, its error can become a [`BoxError`], and the layer's [`Replay`] can keep a `B`.
///
/// A `reqwest::Client` is not such a service: its requests and responses are its own. The crate `tower-bearer-reqwest`, in the
/// repository, makes it one.
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

impl<S, R, B> Service<Request<B>> for BearerAuth<S, R>
where
    S: RequestService<B, Body: ResponseBody> + CloneableService,
    S::Error: Into<BoxError>,
    R: Replay<B> + Clone,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = ResponseFuture<S, B, S::Body, R>;

    fn poll_ready(&mut self, task: &mut Task<'_>) -> Poll<Result<(), Self::Error>> {
        ready!(self.inner.poll_ready(task)).map_err(Into::into)?;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let config = self.config.local();
        let markers = RequestMarkers::read(request.extensions());
        match admit(config, &request, markers.as_ref()) {
            Admission::Attach => {}
            Admission::Pass => return ResponseFuture::passing(self.inner.call(request)),
            Admission::PassWithoutUser => {
                request.headers_mut().remove(AUTHORIZATION);
                return ResponseFuture::passing(self.inner.call(request));
            }
            Admission::Refuse(error) => return self.refuse(error),
        }
        let required = markers.as_ref().and_then(|markers| markers.required).cloned();
        let mut own = None;
        if may_have_own_cache(config, markers.as_ref()) {
            let chosen;
            (request, chosen) = own_cache(config, request);
            match chosen {
                Ok(chosen) => own = chosen,
                Err(error) => return self.refuse(error),
            }
        }
        let context = RequestContext::new(Arc::clone(config), own);
        let core = context.core();
        // `lookup`, in two steps: so only one place attaches a token, and it is inlined.
        let served = match core.leased() {
            Some(served) => served,
            None => match Renewing::scope_of_request(request.extensions(), || core.lookup_unleased()) {
                Ok(Lookup::Hit(served)) => served,
                Ok(Lookup::Wait(pending)) => {
                    // Whatever the ready instance reserved (a permit, a place in a queue) is given back during the wait: the
                    // token's own request may need it.
                    drop(self.take_ready());
                    let wait = WaitForToken::new(pending, self.inner.clone(), request, required, context);
                    return ResponseFuture::waiting(wait);
                }
                Err(error) => return self.refuse(error),
            },
        };
        if let Err(error) = check_scopes(&context, required.as_ref(), &served.token) {
            return self.refuse(error);
        }
        let attached = attach(&mut request, context.own_header.as_ref(), &served.token, || served.authorization());
        if let Err(error) = attached {
            return self.refuse(error);
        }
        let generation = served.token.generation();
        drop(served);
        self.send(request, Attempt { generation, waited: false, required }, context)
    }
}

impl<S: Clone, R> BearerAuth<S, R> {
    /// Sends the first attempt of a request that has its token.
    fn send<B, ResB>(
        &mut self,
        request: Request<B>,
        attempt: Attempt,
        context: RequestContext<R>,
    ) -> ResponseFuture<S, B, ResB, R>
    where
        S: Service<Request<B>>,
        R: Replay<B>,
    {
        let (request, saved) = save(&context, request);
        let Some((head, body)) = saved else {
            let response = self.inner.call(request);
            return ResponseFuture::first(response, Sent { attempt, retry: None, context });
        };
        // The instance that was polled ready is the one that is called, and called again for the retry:
        // <https://docs.rs/tower/latest/tower/trait.Service.html#be-careful-when-cloning-inner-services>
        let mut service = self.take_ready();
        let response = service.call(request);
        ResponseFuture::first(response, Sent { attempt, retry: Some(Retry { service, head, body }), context })
    }

    /// Fails a request. The inner service is not called, so what it reserved is given back. Otherwise this service would hold a
    /// shared permit while it is idle.
    fn refuse<B, ResB>(&mut self, error: Error) -> ResponseFuture<S, B, ResB, R>
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
