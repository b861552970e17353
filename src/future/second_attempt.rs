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
    cache::{NextToken, Renewal, after_renewal, why_same_token},
    drain::Drain,
    error::{BoxError, Error},
    extensions::{BodyMark, NotRetried, Outcome, ResendCount},
    future::{
        attempt::{Attempt, Retry, Sent, attach_again},
        judge::judge,
        retry_decision::{Next, after_answer},
    },
    held_answer,
    layer_config::RequestContext,
    replay::Replay,
    timer::{Sleep, sleep},
    token::AccessToken,
    verdict::Judgement,
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
        context: RequestContext<R>,
        // Why there is no new token, if the renewal failed after the first answer was given up.
        renewal_failed: Option<Error>,
    }
}

/// The second attempt before it is sent. It lacks its token.
struct Unsent<S, Req> {
    service: S,
    request: Req,
}

pin_project! {
    /// ```text
    /// Renewing ─── another token, or `hold` is over ──► Releasing ──► Readying ──► Sending ──► done
    ///     └─ no other token ──► done, with the first answer
    /// ```
    #[project = StepProj]
    #[project_replace = StepOwn]
    enum Step<S, F, Req, ResB, K> {
        // The first answer is held, because it is passed on if there is no other token.
        Renewing { renewal: Renewal, hold: Option<Sleep>, retry: Retry<S, K>, rejected: Response<ResB> },
        // There will be a second attempt. The rest of the first answer is read, so that its connection can be used again.
        Releasing { token: NextToken, #[pin] rejected: Option<Drain<ResB>>, unsent: Unsent<S, Req> },
        // The service is polled until it is ready.
        Readying { token: AccessToken, unsent: Unsent<S, Req> },
        // `why_same` says why it carries the rejected token again.
        Sending { #[pin] response: F, generation: u64, why_same: Option<NotRetried> },
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
        judgement: Judgement,
        answer: Response<ResB>,
        sent: Sent<S, R::Kept, R>,
    ) -> Result<Pin<Box<Self>>, Response<ResB>> {
        let Sent { attempt: first, retry, context } = sent;
        let step = match after_answer(judgement, &answer, first.generation, retry, context.core()) {
            Next::PassOn(why_not) => return Err(first.pass_on(context.core(), answer, why_not)),
            Next::Resend(retry, token @ NextToken::Here(_)) => release(&context, retry, token, answer, &first)?,
            Next::Resend(mut retry, NextToken::Awaited(renewal)) => {
                context.replay.pause(&mut retry.body);
                let is_read = BodyMark::is_whole(answer.extensions());
                let hold = if is_read { None } else { held_answer::longest(answer.body()) };
                let hold = hold.map(|time| Box::pin(sleep(time)) as Sleep);
                Step::Renewing { renewal, hold, retry, rejected: answer }
            }
        };
        Ok(Box::pin(Self { step, first, context, renewal_failed: None }))
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
                StepProj::Renewing { renewal, hold, .. } => {
                    let renewed = renewal.as_mut().poll(task);
                    if renewed.is_pending() {
                        let Some(hold) = hold else { return Poll::Pending };
                        ready!(hold.as_mut().poll(task));
                    }
                    let StepOwn::Renewing { renewal, retry, rejected, .. } =
                        this.step.as_mut().project_replace(Step::Done)
                    else {
                        unreachable!("the step was just seen")
                    };
                    let second = match renewed {
                        Poll::Pending => Ok(NextToken::Awaited(renewal)),
                        Poll::Ready(renewed) => after_renewal(renewed, this.first.generation).map(NextToken::Here),
                    };
                    let second = match second {
                        Err(why_not) => Err(this.first.pass_on(this.context.core(), rejected, why_not)),
                        Ok(token) => release(this.context, retry, token, rejected, this.first),
                    };
                    match second {
                        Ok(second) => second,
                        Err(rejected) => return Poll::Ready(Ok(rejected)),
                    }
                }

                StepProj::Releasing { token, mut rejected, .. } => {
                    if let Some(reading) = rejected.as_mut().as_pin_mut()
                        && reading.poll(task).is_ready()
                    {
                        rejected.set(None);
                    }
                    if let NextToken::Awaited(renewal) = token {
                        let renewed = ready!(renewal.as_mut().poll(task));
                        let served = this.context.core().despite(renewed, this.first.generation)?;
                        *this.renewal_failed = served.1;
                        *token = NextToken::Here(served.0);
                    }
                    if rejected.is_some() {
                        return Poll::Pending;
                    }
                    match this.step.as_mut().project_replace(Step::Done) {
                        StepOwn::Releasing { token: NextToken::Here(token), unsent, .. } => {
                            Step::Readying { token, unsent }
                        }
                        _ => unreachable!("the step was just seen"),
                    }
                }

                StepProj::Readying { unsent, .. } => {
                    ready!(unsent.service.poll_ready(task)).map_err(Into::into)?;
                    let StepOwn::Readying { unsent, token } = this.step.as_mut().project_replace(Step::Done) else {
                        unreachable!("the step was just seen")
                    };
                    let Unsent { mut service, mut request } = unsent;
                    // The token may have expired while the service became ready.
                    let core = this.context.core();
                    let failed = this.renewal_failed.take();
                    let token = match &failed {
                        // It may have been forgotten as well.
                        Some(error) => core.usable_despite(error.clone(), None)?,
                        None => core.newest(token),
                    };
                    let why_same = why_same_token(token.generation(), this.first.generation, failed);
                    attach_again(&mut request, this.context.own_header.as_ref(), &token);
                    let response = service.call(request);
                    Step::Sending { response, generation: token.generation(), why_same }
                }

                StepProj::Sending { response, generation, why_same } => {
                    let mut answer = ready!(response.poll(task)).map_err(Into::into)?;
                    let (generation, core) = (*generation, this.context.core());
                    // This answer is final, whatever the verdict.
                    let judgement = judge(this.context, &mut answer, generation, this.first.required.as_ref());
                    let why_same = why_same.take();
                    match why_same {
                        None => core.retried(generation, judgement, &answer),
                        // The rejection of this token is known already.
                        Some(_) => core.accepted(generation, judgement, &answer),
                    }
                    answer.extensions_mut().insert(Outcome::new(generation, this.first.waited, true, why_same));
                    return Poll::Ready(Ok(answer));
                }

                StepProj::Done => panic!("`ResponseFuture` polled after completion"),
            };
            this.step.set(next);
        }
    }
}

/// Prepares the second attempt: the same request as the first, but for the token. Gives up the first answer.
///
/// # Errors
/// Returns the first answer when the request cannot be sent again.
fn release<S, B, ResB, R>(
    context: &RequestContext<R>,
    retry: Retry<S, R::Kept>,
    token: NextToken,
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
    let Some((head, body)) = head.restore().and_then(|head| Some((head, context.replay.replay(body)?))) else {
        return Err(first.pass_on(context.core(), rejected, NotRetried::NotReplayable));
    };
    let mut request = Request::from_parts(head, body);
    let resend_count = ResendCount::count(request.extensions_mut());
    context.core().note_sent_again(first.generation, resend_count.0);
    let unsent = Unsent { service, request };
    Ok(Step::Releasing { token, rejected: Drain::new(rejected.into_body()), unsent })
}
