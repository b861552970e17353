//! A scripted API, a scripted token source, and a wrapper that checks that its callers follow the contract of
//! `tower::Service`.

use std::{
    collections::VecDeque,
    convert::Infallible,
    fmt,
    future::pending,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response, header::WWW_AUTHENTICATE, request::Parts};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tokio::task::yield_now;
use tower::{BoxError, Layer, Service, ServiceExt};
use tower_bearer::{AccessToken, BearerAuth, BearerAuthLayer, Error, Outcome, Reason, TokenSource};

/// The URL of the API.
pub(crate) const URI: &str = "https://api.example.org/fhir/Patient";

/// How the API responds to one request.
pub(crate) enum Answer {
    Say(Response<Full<Bytes>>),
    Fail(&'static str),
    Hang,
}

/// A response with this status. A 401 has the error `invalid_token`.
pub(crate) fn status(status: u16) -> Answer {
    if status == 401 { challenge(401, "Bearer error=invalid_token") } else { challenge(status, "") }
}

/// A response with this status, and with this challenge if it is not empty.
pub(crate) fn challenge(status: u16, challenge: &'static str) -> Answer {
    let mut answer = Response::builder().status(status);
    if !challenge.is_empty() {
        answer = answer.header(WWW_AUTHENTICATE, challenge);
    }
    Answer::Say(answer.body(Full::default()).unwrap())
}

/// A request as the API received it.
pub(crate) struct Seen {
    pub(crate) head: Parts,
    pub(crate) body: Bytes,
}

/// An API that sends its scripted responses in order, and then responds with 200.
#[derive(Clone, Default)]
pub(crate) struct Api(Arc<Mutex<(VecDeque<Answer>, Vec<Seen>)>>);

impl Api {
    pub(crate) fn answering(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self(Arc::new(Mutex::new((answers.into_iter().collect(), Vec::new()))))
    }

    pub(crate) fn will(&self, answer: Answer) {
        self.0.lock().unwrap().0.push_back(answer);
    }

    pub(crate) fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.0.lock().unwrap().1)
    }

    /// Returns the `Authorization` headers of all requests so far, and forgets them.
    pub(crate) fn take_authorizations(&self) -> Vec<String> {
        let header = |seen: Seen| match seen.head.headers.get("authorization") {
            Some(value) => value.to_str().unwrap().to_owned(),
            None => "none".to_owned(),
        };
        self.take_seen().into_iter().map(header).collect()
    }
}

impl<B> Service<Request<B>> for Api
where
    B: Body<Data = Bytes, Error: fmt::Debug> + Send + 'static,
{
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let shared = Arc::clone(&self.0);
        Box::pin(async move {
            yield_now().await;
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let answer = {
                let (answers, seen) = &mut *shared.lock().unwrap();
                seen.push(Seen { head, body });
                answers.pop_front()
            };
            match answer {
                Some(Answer::Say(response)) => Ok(response),
                Some(Answer::Fail(why)) => Err(why.into()),
                Some(Answer::Hang) => pending().await,
                None => Ok(Response::new(Full::from("welcome"))),
            }
        })
    }
}

/// A service that is ready at the second poll, for one call, on the polled instance. A clone is not ready. It panics if
/// the contract is broken:
/// <https://docs.rs/tower/latest/tower/trait.Service.html#be-careful-when-cloning-inner-services>
pub(crate) struct Strict<S> {
    inner: S,
    readiness: Readiness,
}

#[derive(Debug, PartialEq)]
enum Readiness {
    Unasked,
    Asked,
    Ready,
}

impl<S> Strict<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner, readiness: Readiness::Unasked }
    }
}

impl<S: Clone> Clone for Strict<S> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone())
    }
}

impl<S: Service<R>, R> Service<R> for Strict<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, task: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        if self.readiness == Readiness::Unasked {
            self.readiness = Readiness::Asked;
            task.waker().wake_by_ref();
            return Poll::Pending;
        }
        let ready = self.inner.poll_ready(task);
        if ready.is_ready() {
            self.readiness = Readiness::Ready;
        }
        ready
    }

    fn call(&mut self, request: R) -> S::Future {
        assert_eq!(self.readiness, Readiness::Ready, "called without being ready");
        self.readiness = Readiness::Unasked;
        self.inner.call(request)
    }
}

/// A source that returns `t1`, `t2` and so on, or fails on command.
#[derive(Clone, Debug, Default)]
pub(crate) struct Numbered {
    asked: Arc<AtomicU64>,
    failing: Arc<AtomicBool>,
}

impl Numbered {
    pub(crate) fn fail(&self, failing: bool) {
        self.failing.store(failing, SeqCst);
    }

    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(SeqCst)
    }
}

impl TokenSource for Numbered {
    async fn obtain(&self, _why: Reason) -> Result<AccessToken, Error> {
        let number = self.asked.fetch_add(1, SeqCst) + 1;
        yield_now().await;
        if self.failing.load(SeqCst) {
            return Err(Error::transient("the source is down"));
        }
        AccessToken::new(format!("t{number}"))
    }
}

/// Polls a service until it is ready, and calls it.
pub(crate) async fn send<S, Req>(service: &mut S, request: Req) -> Result<S::Response, S::Error>
where
    S: Service<Req>,
{
    service.ready().await?.call(request).await
}

pub(crate) fn get(uri: &str) -> Request<Full<Bytes>> {
    Request::get(uri).body(Full::default()).unwrap()
}

/// Returns the whole body of a response.
pub(crate) async fn text(body: Full<Bytes>) -> Bytes {
    let whole: Result<_, Infallible> = body.collect().await;
    whole.unwrap().to_bytes()
}

/// A layer with numbered tokens, and its API.
pub(crate) struct World {
    pub(crate) api: Api,
    pub(crate) source: Numbered,
    pub(crate) layer: BearerAuthLayer,
}

pub(crate) fn world(answers: impl IntoIterator<Item = Answer>) -> World {
    let source = Numbered::default();
    World { api: Api::answering(answers), layer: BearerAuthLayer::new(source.clone()), source }
}

impl World {
    pub(crate) fn service(&self) -> BearerAuth<Strict<Api>> {
        self.layer.layer(Strict::new(self.api.clone()))
    }

    pub(crate) async fn get(&self) -> Response<Full<Bytes>> {
        send(&mut self.service(), get(URI)).await.unwrap()
    }
}

pub(crate) fn outcome<B>(answer: &Response<B>) -> &Outcome {
    answer.extensions().get().expect("an outcome of more than a plain hit")
}
