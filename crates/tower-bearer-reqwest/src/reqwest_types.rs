//! The top of a tower stack.

use std::{
    any::Any,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use pin_project_lite::pin_project;
use reqwest::Body;
use tower_bearer::BoxError;
use tower_layer::Layer;
use tower_service::Service;

use crate::{error::Error, response_body::ResponseBody};

/// Gives a tower stack reqwest's requests and responses. It is the uppermost layer: [an example](crate#in-a-tower-stack).
///
/// What reqwest adds to a request goes through the stack: a timeout, a version, and
/// [extensions](crate::RequestBuilderExt::with_extension). The response has the URL that answered, also after redirects.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReqwestTypesLayer;

impl<S> Layer<S> for ReqwestTypesLayer {
    type Service = ReqwestTypes<S>;

    fn layer(&self, inner: S) -> ReqwestTypes<S> {
        ReqwestTypes { inner }
    }
}

/// A service of reqwest's requests and responses over one of `http`'s. [`ReqwestTypesLayer`] creates it.
#[derive(Clone, Debug)]
pub struct ReqwestTypes<S> {
    inner: S,
}

impl<S, B> Service<reqwest::Request> for ReqwestTypes<S>
where
    S: Service<http::Request<Body>, Response = http::Response<B>>,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data: Into<Bytes>, Error: Into<BoxError>> + Send + Sync + 'static,
{
    type Response = reqwest::Response;
    type Error = Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, task: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(task).map_err(|error| Error::from_boxed(error.into()))
    }

    fn call(&mut self, request: reqwest::Request) -> Self::Future {
        let url = request.url().clone();
        let state = match http::Request::try_from(request) {
            Ok(request) => State::Sent { response: self.inner.call(request) },
            Err(error) => State::NotSent { error: Some(error.with_url(url)) },
        };
        ResponseFuture { state }
    }
}

pin_project! {
    /// The response to a request that went through [`ReqwestTypes`].
    pub struct ResponseFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        Sent { #[pin] response: F },
        NotSent { error: Option<reqwest::Error> },
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<http::Response<B>, E>>,
    B: http_body::Body<Data: Into<Bytes>, Error: Into<BoxError>> + Send + Sync + 'static,
    E: Into<BoxError>,
{
    type Output = Result<reqwest::Response, Error>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Sent { response } => Poll::Ready(match ready!(response.poll(task)) {
                Ok(response) => Ok(into_reqwest(response)),
                Err(error) => Err(Error::from_boxed(error.into())),
            }),
            StateProj::NotSent { error } => match error.take() {
                Some(error) => Poll::Ready(Err(error.into())),
                None => panic!("`ResponseFuture` polled after completion"),
            },
        }
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseFuture")
    }
}

fn into_reqwest<B>(response: http::Response<B>) -> reqwest::Response
where
    B: http_body::Body<Data: Into<Bytes>, Error: Into<BoxError>> + Send + Sync + 'static,
{
    let (parts, body) = response.into_parts();
    let mut body = Some(body);
    let ours = (&mut body as &mut dyn Any).downcast_mut::<Option<ResponseBody>>().and_then(Option::take);
    match (ours, body) {
        (Some(ours), _) => ResponseBody::into_reqwest(http::Response::from_parts(parts, ours)),
        (None, Some(other)) => http::Response::from_parts(parts, Body::wrap(other)).into(),
        (None, None) => unreachable!("only a body of our type was taken"),
    }
}
