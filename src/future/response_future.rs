//! The answer to a request, and its first attempt.

use std::{
    fmt,
    pin::Pin,
    task::{Context as Task, Poll, ready},
};

use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::{
    config::SharedConfig,
    error::{BoxError, Error},
    future::{
        attempt::{Attempt, Retry, Sent},
        judge::judge,
        second_attempt::SecondAttempt,
        wait_for_token::WaitForToken,
    },
    replay::Replay,
    verdict::Verdict,
};

pin_project! {
    /// The answer to a request that went through [`BearerAuth`](crate::BearerAuth).
    ///
    /// # Cancel safety
    /// Dropping it drops the inner service's future. A renewal in progress goes on for other requests.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, B, ResB, R>
    where
        S: Service<Request<B>>,
        R: Replay<B>,
    {
        #[pin]
        state: State<S, B, ResB, R>,
    }
}

pin_project! {
    /// ```text
    /// Waiting ──► First ──┬─────────────────────► done
    ///                     └─ rejected ──► Second ──► done
    /// ```
    #[project = StateProj]
    #[project_replace = StateOwn]
    enum State<S, B, ResB, R>
    where
        S: Service<Request<B>>,
        R: Replay<B>,
    {
        Waiting { wait: Box<WaitForToken<S, B, R>> },
        First {
            // `None` once it is answered.
            #[pin]
            response: Option<S::Future>,
            attempt: Attempt,
            retry: Option<Retry<S, R::Kept>>,
            config: SharedConfig<R>,
        },
        Second { second: Pin<Box<SecondAttempt<S, B, ResB, R>>> },
        // A request that carries no token of ours.
        Passing { #[pin] response: S::Future },
        Failed { error: Error },
        Done,
    }
}

impl<S: Service<Request<B>>, B, ResB, R: Replay<B>> ResponseFuture<S, B, ResB, R> {
    pub(crate) fn passing(response: S::Future) -> Self {
        Self { state: State::Passing { response } }
    }

    pub(crate) fn failed(error: Error) -> Self {
        Self { state: State::Failed { error } }
    }

    pub(crate) fn waiting(wait: WaitForToken<S, B, R>) -> Self {
        Self { state: State::Waiting { wait: Box::new(wait) } }
    }

    pub(crate) fn first(sent: Sent<S::Future, S, R::Kept, R>) -> Self {
        Self { state: State::first(sent) }
    }
}

impl<S: Service<Request<B>>, B, ResB, R: Replay<B>> State<S, B, ResB, R> {
    fn first(sent: Sent<S::Future, S, R::Kept, R>) -> Self {
        let Sent { response, attempt, retry, config } = sent;
        Self::First { response: Some(response), attempt, retry, config }
    }
}

impl<S, B, ResB, R> Future for ResponseFuture<S, B, ResB, R>
where
    S: Service<Request<B>, Response = Response<ResB>> + Clone,
    S::Error: Into<BoxError>,
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
                    state.set(State::first(wait.send(token)?));
                }

                StateProj::First { mut response, attempt, retry, config } => {
                    let Some(inner) = response.as_mut().as_pin_mut() else {
                        panic!("`ResponseFuture` polled after completion")
                    };
                    let answer = ready!(inner.poll(task)).map_err(Into::into)?;
                    // Drops what the inner future holds, such as a permit: the renewal and the second attempt may need it.
                    response.set(None);
                    if !attempt.waited && config.rule.accepts_by_status(answer.status()) {
                        config.cache.core.accepted(attempt.generation, answer.status());
                        *retry = None;
                        return Poll::Ready(Ok(answer));
                    }
                    let mut answer = answer;
                    let verdict = judge(config, &mut answer, attempt.generation, attempt.required.as_ref());
                    if verdict == Verdict::Accepted {
                        config.cache.core.accepted(attempt.generation, answer.status());
                        // Drops the saved request.
                        *retry = None;
                        return Poll::Ready(Ok(if attempt.waited {
                            attempt.accepted_after_wait(answer)
                        } else {
                            answer
                        }));
                    }
                    let StateOwn::First { attempt, retry, config, .. } = state.as_mut().project_replace(State::Done)
                    else {
                        unreachable!("the state was just seen")
                    };
                    match SecondAttempt::after(verdict, answer, attempt, retry, config) {
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

impl<S: Service<Request<B>>, B, ResB, R: Replay<B>> fmt::Debug for ResponseFuture<S, B, ResB, R> {
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
