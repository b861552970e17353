//! A request whose first attempt was rejected.

use std::{
    pin::Pin,
    task::{Context as Task, Poll, ready},
};

use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::error::BoxError;

use crate::{
    cache::AfterRejection,
    context::{Context, Kept, Shared, attach},
    drain::Drain,
    extensions::{NotRetried, Outcome},
    future::{
        Renewal,
        response_future::{Retry, Sent},
    },
    replay::Replay,
    source::TokenSource,
    token::AccessToken,
    verdict::Verdict,
};

type StepOf<S, B, ResB, R> = Step<S, <S as Service<Request<B>>>::Future, Request<B>, ResB, <R as Replay<B>>::Kept>;

pin_project! {
    /// The way to a second attempt, and that.
    pub(super) struct Second<S, B, ResB, T, R>
    where
        S: Service<Request<B>>,
        R: Replay<B>,
    {
        #[pin]
        step: StepOf<S, B, ResB, R>,
        first: Sent,
        context: Shared<T, R>,
    }
}

/// A request that has its token, and waits to be sent.
struct Attempt<S, Req> {
    service: S,
    request: Req,
    token: AccessToken,
}

pin_project! {
    /// ```text
    /// Renewing ──► Draining ──► Readying ──► Sending ──► done
    ///     └─ no other token ──► done, with the first answer
    /// ```
    #[project = StepProj]
    #[project_replace = StepOwn]
    enum Step<S, F, Req, ResB, K> {
        // The answer to the first attempt is kept until it is clear that there will be a second one.
        Renewing { renewal: Renewal, retry: Retry<S, K>, rejected: Response<ResB> },
        // There will be. What is left of the first answer is read, so that its connection can be used again.
        Draining { #[pin] rejected: Drain<ResB>, attempt: Attempt<S, Req> },
        // The service is being polled ready.
        Readying { attempt: Attempt<S, Req> },
        Sending { #[pin] response: F, generation: u64 },
        Done,
    }
}

impl<S, B, ResB, T, R> Second<S, B, ResB, T, R>
where
    S: Service<Request<B>>,
    T: TokenSource,
    R: Replay<B>,
    ResB: Body,
{
    /// What follows a first answer that was not simply accepted. Decided in this order: is it a rejection, is the token
    /// still the current one, can the request be sent again, is there a different token.
    ///
    /// # Errors
    /// That answer, when nothing follows.
    #[cold]
    pub(super) fn after(
        verdict: Verdict,
        answer: Response<ResB>,
        first: Sent,
        retry: Option<Retry<S, R::Kept>>,
        context: Shared<T, R>,
    ) -> Result<Pin<Box<Self>>, Response<ResB>> {
        let why_not = match verdict {
            Verdict::Rejected => match (retry, context.cache.rejected(first.generation)) {
                (None, _) => NotRetried::NotReplayable,
                (_, AfterRejection::BudgetSpent) => NotRetried::BudgetSpent,
                (_, AfterRejection::Failed(error)) => NotRetried::RenewalFailed(error),
                (Some(retry), AfterRejection::Newer(token)) => {
                    let step = resend(&*context, retry, token, answer, &first)?;
                    return Ok(Box::pin(Self { step, first, context }));
                }
                (Some(mut retry), AfterRejection::Wait(awaited)) => {
                    let renewal = Box::pin(context.cache.clone().arrival(awaited));
                    context.replay.pause(&mut retry.kept.body);
                    let step = Step::Renewing { renewal, retry, rejected: answer };
                    return Ok(Box::pin(Self { step, first, context }));
                }
            },
            insufficient => {
                // The API knows the token well enough to say what it lacks.
                context.cache.accepted(first.generation);
                match insufficient {
                    Verdict::InsufficientScope => NotRetried::InsufficientScope,
                    _ => NotRetried::InsufficientUserAuthentication,
                }
            }
        };
        Err(first.pass_on(answer, why_not))
    }
}

impl<S, B, ResB, T, R> Future for Second<S, B, ResB, T, R>
where
    S: Service<Request<B>, Response = Response<ResB>>,
    S::Error: Into<BoxError>,
    T: TokenSource,
    R: Replay<B>,
    ResB: Body,
{
    type Output = Result<Response<ResB>, BoxError>;

    fn poll(self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.step.as_mut().project() {
                StepProj::Renewing { renewal, .. } => {
                    let renewed = ready!(renewal.as_mut().poll(task));
                    let StepOwn::Renewing { retry, rejected, .. } = this.step.as_mut().project_replace(Step::Done)
                    else {
                        unreachable!("the step was just seen")
                    };
                    let second = match renewed {
                        Err(error) => Err(this.first.pass_on(rejected, NotRetried::RenewalFailed(error))),
                        Ok(token) if token.generation() == this.first.generation => {
                            Err(this.first.pass_on(rejected, NotRetried::SameToken))
                        }
                        Ok(token) => resend(&*this.context, retry, token, rejected, this.first),
                    };
                    match second {
                        Ok(second) => second,
                        Err(rejected) => return Poll::Ready(Ok(rejected)),
                    }
                }

                StepProj::Draining { rejected, .. } => {
                    ready!(rejected.poll(task));
                    let StepOwn::Draining { attempt, .. } = this.step.as_mut().project_replace(Step::Done) else {
                        unreachable!("the step was just seen")
                    };
                    Step::Readying { attempt }
                }

                StepProj::Readying { attempt } => {
                    ready!(attempt.service.poll_ready(task)).map_err(Into::into)?;
                    let StepOwn::Readying { attempt } = this.step.as_mut().project_replace(Step::Done) else {
                        unreachable!("the step was just seen")
                    };
                    let Attempt { mut service, mut request, token } = attempt;
                    // Becoming ready may have taken longer than the token lived.
                    let token = this.context.cache.newest(token);
                    attach(&mut request, token.header_value());
                    let response = service.call(request);
                    Step::Sending { response, generation: token.generation() }
                }

                StepProj::Sending { response, generation } => {
                    let mut answer = ready!(response.poll(task)).map_err(Into::into)?;
                    let (generation, context) = (*generation, &*this.context);
                    // Final in any case.
                    match context.judge(&mut answer, generation, this.first.required.as_ref()) {
                        Verdict::Rejected => context.cache.retried(generation, false),
                        _ if answer.status().is_server_error() => {}
                        _ => {
                            context.cache.retried(generation, true);
                            context.cache.accepted(generation);
                        }
                    }
                    answer.extensions_mut().insert(Outcome::new(generation, this.first.waited, true, None));
                    return Poll::Ready(Ok(answer));
                }

                StepProj::Done => panic!("`ResponseFuture` polled after completion"),
            };
            this.step.set(next);
        }
    }
}

/// The second attempt: as the first, but for the token.
///
/// # Errors
/// The first answer, which is dropped only when there is something to send.
fn resend<S, B, ResB, T, R>(
    context: &Context<T, R>,
    retry: Retry<S, R::Kept>,
    token: AccessToken,
    rejected: Response<ResB>,
    first: &Sent,
) -> Result<StepOf<S, B, ResB, R>, Response<ResB>>
where
    S: Service<Request<B>>,
    R: Replay<B>,
    ResB: Body,
{
    let Retry { service, kept: Kept { head, body } } = retry;
    // The head first: to take the body ends the first attempt's, and with it maybe an answer that is still to be passed on.
    let Some((head, body)) = head.replay().and_then(|head| Some((head, context.replay.replay(body)?))) else {
        return Err(first.pass_on(rejected, NotRetried::NotReplayable));
    };
    tracing::debug!(generation = token.generation(), "rejected, sending the request once more");
    let attempt = Attempt { service, request: Request::from_parts(head, body), token };
    Ok(match Drain::new(rejected.into_body()) {
        Some(rejected) => Step::Draining { rejected, attempt },
        None => Step::Readying { attempt },
    })
}
