//! The second attempt, and the steps before it. Whether there is one is decided in `retry_decision`.

use std::{
    pin::Pin,
    task::{Context as Task, Poll, ready},
};

use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::{
    config::{LayerConfig, SharedConfig},
    drain::Drain,
    error::BoxError,
    extensions::{NotRetried, Outcome},
    future::{
        attempt::{Attempt, Renewal, Retry, Sent, attach_again},
        judge::judge,
        retry_decision::{Next, after_answer, after_renewal},
    },
    replay::Replay,
    token::AccessToken,
    verdict::Verdict,
};

type StepOf<S, B, ResB, R> = Step<S, <S as Service<Request<B>>>::Future, Request<B>, ResB, <R as Replay<B>>::Kept>;

pin_project! {
    /// The second attempt, and what comes before it.
    pub(super) struct SecondAttempt<S, B, ResB, R>
    where
        S: Service<Request<B>>,
        R: Replay<B>,
    {
        #[pin]
        step: StepOf<S, B, ResB, R>,
        first: Attempt,
        config: SharedConfig<R>,
    }
}

/// A request that has its token and waits to be sent.
struct Unsent<S, Req> {
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
        // The answer to the first attempt is held until it is certain that there will be a second one.
        Renewing { renewal: Renewal, retry: Retry<S, K>, rejected: Response<ResB> },
        // There will be one. The rest of the first answer is read, so that its connection can be used again.
        Draining { #[pin] rejected: Drain<ResB>, unsent: Unsent<S, Req> },
        // The service is polled until it is ready.
        Readying { unsent: Unsent<S, Req> },
        Sending { #[pin] response: F, generation: u64 },
        Done,
    }
}

impl<S, B, ResB, R> SecondAttempt<S, B, ResB, R>
where
    S: Service<Request<B>>,
    R: Replay<B>,
    ResB: Body,
{
    /// Begins what follows a first answer that was not accepted.
    ///
    /// # Errors
    /// Returns that answer when nothing follows.
    #[cold]
    pub(super) fn after(
        verdict: Verdict,
        answer: Response<ResB>,
        sent: Sent<S, R::Kept, R>,
    ) -> Result<Pin<Box<Self>>, Response<ResB>> {
        let Sent { attempt: first, retry, config } = sent;
        let step = match after_answer(verdict, &answer, first.generation, retry, &config.cache) {
            Next::PassOn(why_not) => return Err(first.pass_on(answer, why_not)),
            Next::Resend(retry, token) => resend(&*config, retry, token, answer, &first)?,
            Next::Renew(mut retry, renewal) => {
                config.replay.pause(&mut retry.body);
                Step::Renewing { renewal, retry, rejected: answer }
            }
        };
        Ok(Box::pin(Self { step, first, config }))
    }
}

impl<S, B, ResB, R> Future for SecondAttempt<S, B, ResB, R>
where
    S: Service<Request<B>, Response = Response<ResB>>,
    S::Error: Into<BoxError>,
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
                    let second = match after_renewal(renewed, this.first.generation) {
                        Err(why_not) => Err(this.first.pass_on(rejected, why_not)),
                        Ok(token) => resend(&*this.config, retry, token, rejected, this.first),
                    };
                    match second {
                        Ok(second) => second,
                        Err(rejected) => return Poll::Ready(Ok(rejected)),
                    }
                }

                StepProj::Draining { rejected, .. } => {
                    ready!(rejected.poll(task));
                    let StepOwn::Draining { unsent, .. } = this.step.as_mut().project_replace(Step::Done) else {
                        unreachable!("the step was just seen")
                    };
                    Step::Readying { unsent }
                }

                StepProj::Readying { unsent } => {
                    ready!(unsent.service.poll_ready(task)).map_err(Into::into)?;
                    let StepOwn::Readying { unsent } = this.step.as_mut().project_replace(Step::Done) else {
                        unreachable!("the step was just seen")
                    };
                    let Unsent { mut service, mut request, token } = unsent;
                    // The token may have expired while the service became ready.
                    let token = this.config.cache.core.newest(token);
                    attach_again(&mut request, token.header_value());
                    let response = service.call(request);
                    Step::Sending { response, generation: token.generation() }
                }

                StepProj::Sending { response, generation } => {
                    let mut answer = ready!(response.poll(task)).map_err(Into::into)?;
                    let (generation, core) = (*generation, &this.config.cache.core);
                    // This answer is final, whatever the verdict.
                    let verdict = judge(this.config, &mut answer, generation, this.first.required.as_ref());
                    core.retried(generation, verdict, &answer);
                    answer.extensions_mut().insert(Outcome::new(generation, this.first.waited, true, None));
                    return Poll::Ready(Ok(answer));
                }

                StepProj::Done => panic!("`ResponseFuture` polled after completion"),
            };
            this.step.set(next);
        }
    }
}

/// Prepares the second attempt: the same request as the first, but for the token.
///
/// # Errors
/// Returns the first answer when the request cannot be sent again. It is dropped only when there is something to send.
fn resend<S, B, ResB, R>(
    config: &LayerConfig<R>,
    retry: Retry<S, R::Kept>,
    token: AccessToken,
    rejected: Response<ResB>,
    first: &Attempt,
) -> Result<StepOf<S, B, ResB, R>, Response<ResB>>
where
    S: Service<Request<B>>,
    R: Replay<B>,
    ResB: Body,
{
    let Retry { service, head, body } = retry;
    // The head first: taking the body ends the body of the first attempt, and that may end an answer that is to be passed on.
    let Some((head, body)) = head.restore().and_then(|head| Some((head, config.replay.replay(body)?))) else {
        return Err(first.pass_on(rejected, NotRetried::NotReplayable));
    };
    tracing::debug!(generation = token.generation(), "rejected, sending the request again");
    let unsent = Unsent { service, request: Request::from_parts(head, body), token };
    Ok(match Drain::new(rejected.into_body()) {
        Some(rejected) => Step::Draining { rejected, unsent },
        None => Step::Readying { unsent },
    })
}
