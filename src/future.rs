//! The life of a request from its first attempt on.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context as Task, Poll, ready},
};

use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower::{BoxError, Service};

use crate::{
    cache::AfterRejection,
    context::{Context, Kept, attach},
    drain::Drain,
    error::Error,
    insufficiency::RequiredScopes,
    outcome::{NotRetried, Outcome},
    rejection::Verdict,
    replay::Replay,
    source::TokenSource,
    token::AccessToken,
};

type StateOf<S, B, ResB, R> = State<S, <S as Service<Request<B>>>::Future, Request<B>, ResB, <R as Replay<B>>::Kept>;

type Renewal = Pin<Box<dyn Future<Output = Result<AccessToken, Error>> + Send>>;

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
        state: StateOf<S, B, ResB, R>,
        first: First,
        // `None` when the layer has nothing to do with the request.
        context: Option<Arc<Context<T, R>>>,
    }
}

/// What is known of the first attempt.
#[derive(Debug, Default)]
pub(crate) struct First {
    pub(crate) generation: u64,
    pub(crate) waited: bool,
    pub(crate) required: Option<RequiredScopes>,
}

/// A request that has its token, and waits to be sent.
struct Attempt<S, Req> {
    service: S,
    request: Req,
    token: AccessToken,
}

/// What a second attempt needs.
pub(crate) struct Retry<S, K> {
    pub(crate) service: S,
    pub(crate) kept: Kept<K>,
}

pin_project! {
    /// ```text
    /// Waiting ──► Readying ──► Sending ──┬──────────────► done
    ///              ▲  │ (second)         │ rejected
    ///              │  ▼                  ▼
    ///              │ Resending ──► done  Renewing ──► done, with the first answer
    ///              └───── Draining ◄──────┘
    /// ```
    #[project = StateProj]
    #[project_replace = StateOwn]
    enum State<S, F, Req, ResB, K> {
        // There was no token. Nothing is held of the inner service's readiness.
        Waiting { token: Renewal, service: S, request: Req },
        // There is one; the service is being polled ready.
        Readying { attempt: Attempt<S, Req>, second: bool },
        // The first attempt.
        Sending { #[pin] response: F, retry: Option<Retry<S, K>> },
        // The first attempt was rejected: its answer is kept until it is clear that there will be a second one.
        Renewing { token: Renewal, retry: Retry<S, K>, rejected: Response<ResB> },
        // There will be a second attempt. What is left of the first answer is read, so that its connection can be used again.
        Draining { #[pin] rejected: Drain<ResB>, second: Attempt<S, Req> },
        // The second attempt.
        Resending { #[pin] response: F, generation: u64 },
        // Not ours.
        Passing { #[pin] response: F },
        Failed { error: Error },
        Done,
    }
}

impl<S, B, ResB, T, R> ResponseFuture<S, B, ResB, T, R>
where
    S: Service<Request<B>>,
    R: Replay<B>,
{
    pub(crate) fn passing(response: S::Future) -> Self {
        Self { state: State::Passing { response }, first: First::default(), context: None }
    }

    pub(crate) fn failed(error: Error) -> Self {
        Self { state: State::Failed { error }, first: First::default(), context: None }
    }

    pub(crate) fn waiting(
        token: Renewal,
        service: S,
        request: Request<B>,
        required: Option<RequiredScopes>,
        context: Arc<Context<T, R>>,
    ) -> Self {
        let state = State::Waiting { token, service, request };
        Self { state, first: First { generation: 0, waited: true, required }, context: Some(context) }
    }

    pub(crate) fn sending(
        response: S::Future,
        retry: Option<Retry<S, R::Kept>>,
        first: First,
        context: Arc<Context<T, R>>,
    ) -> Self {
        Self { state: State::Sending { response, retry }, first, context: Some(context) }
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
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProj::Passing { response } => {
                    return Poll::Ready(ready!(response.poll(task)).map_err(Into::into));
                }

                StateProj::Waiting { token, .. } => {
                    let token = ready!(token.as_mut().poll(task))?;
                    let StateOwn::Waiting { service, request, .. } = this.state.as_mut().project_replace(State::Done)
                    else {
                        unreachable!("the state was just seen")
                    };
                    State::Readying { attempt: Attempt { service, request, token }, second: false }
                }

                StateProj::Readying { attempt, .. } => {
                    ready!(attempt.service.poll_ready(task)).map_err(Into::into)?;
                    let StateOwn::Readying { attempt, second } = this.state.as_mut().project_replace(State::Done)
                    else {
                        unreachable!("the state was just seen")
                    };
                    let Attempt { mut service, request, token } = attempt;
                    let Some(context) = this.context.as_ref() else { unreachable!("only `Passing` has no context") };
                    // Becoming ready may have taken longer than the token lived.
                    let token = context.cache.newest(token);
                    if second {
                        let response = service.call(attach(request, token.header_value()));
                        State::Resending { response, generation: token.generation() }
                    } else {
                        context.check(this.first.required.as_ref(), &token)?;
                        this.first.generation = token.generation();
                        let (request, kept) = context.keep(request);
                        let response = service.call(attach(request, token.header_value()));
                        State::Sending { response, retry: kept.map(|kept| Retry { service, kept }) }
                    }
                }

                StateProj::Sending { response, .. } => {
                    let answer = ready!(response.poll(task)).map_err(Into::into)?;
                    // The inner future goes now, and with it whatever it holds (a permit): the renewal and the second
                    // attempt may need it.
                    let StateOwn::Sending { retry, .. } = this.state.as_mut().project_replace(State::Done) else {
                        unreachable!("the state was just seen")
                    };
                    let Some(context) = this.context.as_ref() else { unreachable!("only `Passing` has no context") };
                    match context.after_first(answer, retry, this.first) {
                        Next::Return(answer) => return Poll::Ready(Ok(answer)),
                        Next::Await { token, mut retry, rejected } => {
                            context.replay.pause(&mut retry.kept.body);
                            State::Renewing { token, retry, rejected }
                        }
                        Next::Resend { token, retry, rejected } => {
                            match context.resend(retry, token, rejected, this.first) {
                                Ok(second) => second,
                                Err(rejected) => return Poll::Ready(Ok(rejected)),
                            }
                        }
                    }
                }

                StateProj::Renewing { token, .. } => {
                    let renewed = ready!(token.as_mut().poll(task));
                    let StateOwn::Renewing { retry, rejected, .. } = this.state.as_mut().project_replace(State::Done)
                    else {
                        unreachable!("the state was just seen")
                    };
                    let Some(context) = this.context.as_ref() else { unreachable!("only `Passing` has no context") };
                    let second = match renewed {
                        Err(error) => Err(this.first.pass_on(rejected, NotRetried::RenewalFailed(error))),
                        Ok(token) if token.generation() == this.first.generation => {
                            Err(this.first.pass_on(rejected, NotRetried::SameToken))
                        }
                        Ok(token) => context.resend(retry, token, rejected, this.first),
                    };
                    match second {
                        Ok(second) => second,
                        Err(rejected) => return Poll::Ready(Ok(rejected)),
                    }
                }

                StateProj::Draining { rejected, .. } => {
                    ready!(rejected.poll(task));
                    let StateOwn::Draining { second: attempt, .. } = this.state.as_mut().project_replace(State::Done)
                    else {
                        unreachable!("the state was just seen")
                    };
                    State::Readying { attempt, second: true }
                }

                StateProj::Resending { response, generation } => {
                    let mut answer = ready!(response.poll(task)).map_err(Into::into)?;
                    let Some(context) = this.context.as_ref() else { unreachable!("only `Passing` has no context") };
                    context.after_second(&mut answer, *generation, this.first);
                    let outcome = Outcome::new(*generation, this.first.waited, true, None);
                    answer.extensions_mut().insert(outcome);
                    return Poll::Ready(Ok(answer));
                }

                StateProj::Failed { error } => return Poll::Ready(Err(error.clone().into())),
                StateProj::Done => panic!("`ResponseFuture` polled after completion"),
            };
            this.state.set(next);
        }
    }
}

/// What follows the answer to a first attempt.
enum Next<S, K, Res> {
    Return(Res),
    Await { token: Renewal, retry: Retry<S, K>, rejected: Res },
    Resend { token: AccessToken, retry: Retry<S, K>, rejected: Res },
}

impl<T: TokenSource, R> Context<T, R> {
    /// Judges the first answer; in this order: is it a rejection, is the token still the current one, can the request be
    /// sent again, is there a different token.
    fn after_first<S, K, ResB>(
        &self,
        mut answer: Response<ResB>,
        retry: Option<Retry<S, K>>,
        first: &First,
    ) -> Next<S, K, Response<ResB>> {
        let why_not = match self.judge(&mut answer, first.generation, first.required.as_ref()) {
            Verdict::Accepted => {
                if !answer.status().is_server_error() {
                    self.cache.accepted(first.generation);
                }
                if first.waited {
                    answer.extensions_mut().insert(Outcome::new(first.generation, true, false, None));
                }
                return Next::Return(answer);
            }
            insufficient @ (Verdict::InsufficientScope | Verdict::InsufficientUserAuthentication) => {
                // The API knows the token well enough to say what it lacks.
                self.cache.accepted(first.generation);
                match insufficient {
                    Verdict::InsufficientScope => NotRetried::InsufficientScope,
                    _ => NotRetried::InsufficientUserAuthentication,
                }
            }
            Verdict::Rejected => {
                let after = self.cache.rejected(first.generation);
                match (retry, after) {
                    (None, _) => NotRetried::NotReplayable,
                    (_, AfterRejection::BudgetSpent) => NotRetried::BudgetSpent,
                    (_, AfterRejection::Failed(error)) => NotRetried::RenewalFailed(error),
                    (Some(retry), AfterRejection::Newer(token)) => {
                        return Next::Resend { token, retry, rejected: answer };
                    }
                    (Some(retry), AfterRejection::Wait(awaited)) => {
                        let token = Box::pin(self.cache.clone().arrival(awaited));
                        return Next::Await { token, retry, rejected: answer };
                    }
                }
            }
        };
        Next::Return(first.pass_on(answer, why_not))
    }

    /// Tells the cache how the second attempt went; its answer is final in any case.
    fn after_second<ResB>(&self, answer: &mut Response<ResB>, generation: u64, first: &First) {
        match self.judge(answer, generation, first.required.as_ref()) {
            Verdict::Rejected => self.cache.retried(generation, false),
            _ if answer.status().is_server_error() => {}
            _ => {
                self.cache.retried(generation, true);
                self.cache.accepted(generation);
            }
        }
    }

    /// The second attempt: as the first, but for the token. Or the first answer, which is dropped only here, when there is
    /// something to send.
    fn resend<S, B, ResB>(
        &self,
        retry: Retry<S, R::Kept>,
        token: AccessToken,
        rejected: Response<ResB>,
        first: &First,
    ) -> Result<StateOf<S, B, ResB, R>, Response<ResB>>
    where
        S: Service<Request<B>>,
        R: Replay<B>,
        ResB: Body,
    {
        let Retry { service, kept: Kept { head, body } } = retry;
        let Some(body) = self.replay.replay(body) else {
            return Err(first.pass_on(rejected, NotRetried::NotReplayable));
        };
        tracing::debug!(generation = token.generation(), "rejected, sending the request once more");
        let second = Attempt { service, request: Request::from_parts(head, body), token };
        Ok(match Drain::new(rejected.into_body()) {
            Some(rejected) => State::Draining { rejected, second },
            None => State::Readying { attempt: second, second: true },
        })
    }
}

impl First {
    /// The answer to the first attempt, with the reason why there is no second.
    fn pass_on<ResB>(&self, mut answer: Response<ResB>, why_not: NotRetried) -> Response<ResB> {
        tracing::debug!(generation = self.generation, ?why_not, "rejected, not retried");
        answer.extensions_mut().insert(Outcome::new(self.generation, self.waited, false, Some(why_not)));
        answer
    }
}

impl<S, B, ResB, T, R> fmt::Debug for ResponseFuture<S, B, ResB, T, R>
where
    S: Service<Request<B>>,
    R: Replay<B>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").field("first", &self.first).finish_non_exhaustive()
    }
}
