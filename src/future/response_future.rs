//! The answer to a request, and the first attempt.

use std::{
    fmt,
    pin::Pin,
    task::{Context as Task, Poll, ready},
};

use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::error::BoxError;

use crate::{
    context::{Kept, Shared},
    error::Error,
    extensions::RequiredScopes,
    extensions::{NotRetried, Outcome},
    future::{second::Second, wait::Wait},
    replay::Replay,
    source::TokenSource,
    verdict::Verdict,
};

pin_project! {
    /// The answer to a request that went through [`BearerAuth`](crate::BearerAuth).
    ///
    /// # Cancel safety
    /// Dropping it drops the inner service's future. A renewal that is under way goes on for the others.
    pub struct ResponseFuture<S, B, ResB, T, R>
    where
        S: Service<Request<B>>,
        R: Replay<B>,
    {
        #[pin]
        state: State<S, B, ResB, T, R>,
    }
}

pin_project! {
    /// ```text
    /// Waiting ──► First ──┬──────────────────────► done
    ///                     └─ rejected ──► Second ──► done
    /// ```
    #[project = StateProj]
    #[project_replace = StateOwn]
    enum State<S, B, ResB, T, R>
    where
        S: Service<Request<B>>,
        R: Replay<B>,
    {
        Waiting { wait: Box<Wait<S, B, T, R>> },
        First { #[pin] response: S::Future, sent: Sent, retry: Option<Retry<S, R::Kept>>, context: Shared<T, R> },
        Second { second: Pin<Box<Second<S, B, ResB, T, R>>> },
        // Not ours.
        Passing { #[pin] response: S::Future },
        Failed { error: Error },
        Done,
    }
}

/// What is known of the first attempt.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) generation: u64,
    pub(crate) waited: bool,
    pub(crate) required: Option<RequiredScopes>,
}

/// What a second attempt needs.
pub(crate) struct Retry<S, K> {
    pub(crate) service: S,
    pub(crate) kept: Kept<K>,
}

impl<S: Service<Request<B>>, B, ResB, T, R: Replay<B>> ResponseFuture<S, B, ResB, T, R> {
    pub(crate) fn passing(response: S::Future) -> Self {
        Self { state: State::Passing { response } }
    }

    pub(crate) fn failed(error: Error) -> Self {
        Self { state: State::Failed { error } }
    }

    pub(crate) fn waiting(wait: Wait<S, B, T, R>) -> Self {
        Self { state: State::Waiting { wait: Box::new(wait) } }
    }

    pub(crate) fn first(
        response: S::Future,
        sent: Sent,
        retry: Option<Retry<S, R::Kept>>,
        context: Shared<T, R>,
    ) -> Self {
        Self { state: State::First { response, sent, retry, context } }
    }
}

impl<S, B, ResB, T, R> Future for ResponseFuture<S, B, ResB, T, R>
where
    S: Service<Request<B>, Response = Response<ResB>> + Clone,
    S::Error: Into<BoxError>,
    T: TokenSource,
    R: Replay<B>,
    ResB: Body,
{
    type Output = Result<Response<ResB>, BoxError>;

    fn poll(self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                StateProj::Passing { response } => return response.poll(task).map_err(Into::into),

                StateProj::Waiting { wait } => {
                    let token = ready!(wait.poll(task))?;
                    let StateOwn::Waiting { wait } = state.as_mut().project_replace(State::Done) else {
                        unreachable!("the state was just seen")
                    };
                    state.set(wait.send(token)?.state);
                }

                StateProj::First { response, sent, context, .. } => {
                    let mut polled = response.poll(task).map_err(Into::into);
                    let Poll::Ready(Ok(answer)) = &mut polled else { return polled };
                    let verdict = context.judge(answer, sent.generation, sent.required.as_ref());
                    if verdict == Verdict::Accepted {
                        if !answer.status().is_server_error() {
                            context.cache.accepted(sent.generation);
                        }
                        if sent.waited {
                            answer.extensions_mut().insert(Outcome::new(sent.generation, true, false, None));
                        }
                        // With it goes what it holds: a permit, the kept body.
                        state.set(State::Done);
                        return polled;
                    }
                    let Poll::Ready(Ok(answer)) = polled else { unreachable!("the answer was just seen") };
                    // The inner future goes now, and with it whatever it holds (a permit): the renewal and the second
                    // attempt may need it.
                    let StateOwn::First { sent, retry, context, .. } = state.as_mut().project_replace(State::Done)
                    else {
                        unreachable!("the state was just seen")
                    };
                    match Second::after(verdict, answer, sent, retry, context) {
                        Ok(second) => state.set(State::Second { second }),
                        Err(answer) => return Poll::Ready(Ok(answer)),
                    }
                }

                StateProj::Second { second } => return second.as_mut().poll(task),
                StateProj::Failed { error } => return Poll::Ready(Err(error.clone().into())),
                StateProj::Done => panic!("`ResponseFuture` polled after completion"),
            }
        }
    }
}

impl Sent {
    /// The answer to the first attempt, with the reason why there is no second.
    pub(super) fn pass_on<ResB>(&self, mut answer: Response<ResB>, why_not: NotRetried) -> Response<ResB> {
        tracing::debug!(generation = self.generation, ?why_not, "rejected, not retried");
        answer.extensions_mut().insert(Outcome::new(self.generation, self.waited, false, Some(why_not)));
        answer
    }
}

impl<S: Service<Request<B>>, B, ResB, T, R: Replay<B>> fmt::Debug for ResponseFuture<S, B, ResB, T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Waiting { .. } => "waiting for a token",
            State::First { .. } => "first attempt",
            State::Second { .. } => "second attempt",
            State::Passing { .. } => "passing",
            State::Failed { .. } => "failed",
            State::Done => "done",
        };
        f.debug_struct("ResponseFuture").field("state", &state).finish_non_exhaustive()
    }
}
