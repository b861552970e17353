//! The service that looks at the answers of the inner one.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context as Task, Poll, ready},
};

use http::{Request, Response, response::Parts};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::{
    extensions::{BodyMark, SkipBearerAuth},
    inner_service::ResponseBody,
    judge_body::{
        body::JudgedBody,
        content_type::{ContentTypes, is_answered_with_body},
        first_bytes::FirstBytes,
        make_body::MakeBody,
        rule::BodyRule,
    },
};

/// What is looked at, and how it is judged.
#[derive(Clone, Debug)]
pub(super) struct Judge<M> {
    pub(super) limit: usize,
    pub(super) rule: BodyRule,
    pub(super) types: ContentTypes,
    pub(super) make: M,
}

/// A service that judges the first bytes of the answers of the inner one. It is between
/// [`BearerAuth`](crate::BearerAuth) and the inner service; [`JudgeBodyLayer`](crate::judge_body::JudgeBodyLayer) puts it there.
#[derive(Clone)]
pub struct JudgeBody<S, M> {
    inner: S,
    judge: Arc<Judge<M>>,
}

impl<S, M> JudgeBody<S, M> {
    pub(super) fn new(inner: S, judge: Arc<Judge<M>>) -> Self {
        Self { inner, judge }
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

impl<S, M, B, ResB> Service<Request<B>> for JudgeBody<S, M>
where
    S: Service<Request<B>, Response = Response<ResB>>,
    ResB: ResponseBody,
    M: MakeBody<ResB>,
{
    type Response = Response<M::Body>;
    type Error = S::Error;
    type Future = JudgeBodyFuture<S::Future, ResB, M>;

    fn poll_ready(&mut self, task: &mut Task<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(task)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let is_meant =
            is_answered_with_body(request.method()) && request.extensions().get::<SkipBearerAuth>().is_none();
        let state = State::Waiting { response: self.inner.call(request), is_meant };
        JudgeBodyFuture { state, judge: Arc::clone(&self.judge) }
    }
}

pin_project! {
    /// The answer to a request whose body may be [judged](crate::BearerAuthLayer::judge_body).
    ///
    /// # Cancel safety
    /// Dropping it drops the inner service's future, or the answer.
    #[must_use = "futures do nothing unless polled"]
    pub struct JudgeBodyFuture<F, B: Body, M> {
        #[pin]
        state: State<F, B>,
        judge: Arc<Judge<M>>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, B: Body> {
        Waiting { #[pin] response: F, is_meant: bool },
        // `None` when it is done.
        Reading { answer: Option<(Parts, FirstBytes<B>)> },
    }
}

impl<F, E, B, M> Future for JudgeBodyFuture<F, B, M>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
    M: MakeBody<B>,
{
    type Output = Result<Response<M::Body>, E>;

    fn poll(self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Judge { limit, rule, types, make } = &**this.judge;
        if let StateProj::Waiting { response, is_meant } = this.state.as_mut().project() {
            let (mut head, body) = ready!(response.poll(task))?.into_parts();
            // That of another layer.
            head.extensions.remove::<BodyMark>();
            if !*is_meant || *limit == 0 || body.is_end_stream() || !types.are_in(&head) {
                return Poll::Ready(Ok(Response::from_parts(head, make.unread(body))));
            }
            // Drops what the inner future holds, such as a permit.
            this.state.set(State::Reading { answer: Some((head, FirstBytes::new(body, *limit))) });
        }
        let StateProj::Reading { answer } = this.state.project() else { unreachable!("it was just set") };
        let (_, first_bytes) = answer.as_mut().expect("`JudgeBodyFuture` polled after completion");
        let verdict = ready!(first_bytes.poll(rule, task));
        let Some((mut head, first_bytes)) = answer.take() else { unreachable!("it was just seen") };
        head.extensions.insert(BodyMark { verdict, is_whole: first_bytes.is_whole() });
        Poll::Ready(Ok(Response::from_parts(head, make.judged(JudgedBody::read(first_bytes)))))
    }
}

impl<S: fmt::Debug, M: fmt::Debug> fmt::Debug for JudgeBody<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JudgeBody").field("inner", &self.inner).field("judge", &self.judge).finish()
    }
}

impl<F, B: Body, M> fmt::Debug for JudgeBodyFuture<F, B, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Waiting { .. } => "waiting for the answer",
            State::Reading { answer: Some(_) } => "reading its first bytes",
            State::Reading { answer: None } => "done",
        };
        f.debug_struct("JudgeBodyFuture").field("state", &state).finish_non_exhaustive()
    }
}
