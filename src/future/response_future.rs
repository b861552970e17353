//! The answer to a request, and its first attempt.
//!
//! ```text
//! Waiting ──► response ──┬─────────────────────► done
//!                        └─ rejected ──► Second ──► done
//! ```

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
    error::{BoxError, Error},
    extensions::SentWithoutToken,
    future::{attempt::Sent, judge::judge, second_attempt::SecondAttempt, wait_for_token::WaitForToken},
    replay::Replay,
    verdict::{Judgement, Verdict},
};

pin_project! {
    /// The answer to a request that went through [`BearerAuth`](crate::BearerAuth).
    ///
    /// # Cancel safety
    /// Dropping it drops the inner service's future. A renewal in progress goes on for other requests.
    // It is not an enum: decoding its tag at each step costs a hit 29 instructions.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, B, ResB, R>
    where
        S: Service<Request<B>>,
        R: Replay<B>,
    {
        // The inner service's future, until it is answered.
        #[pin]
        response: Option<S::Future>,
        // `None` beside a response means that the request carries no token of ours.
        sent: Option<Sent<S, R::Kept, R>>,
        rest: Option<Rest<S, B, ResB, R>>,
    }
}

type Second<S, B, ResB, R> = Pin<Box<SecondAttempt<S, B, ResB, R>>>;

/// The states that a hit does not reach.
enum Rest<S, B, ResB, R>
where
    S: Service<Request<B>>,
    R: Replay<B>,
{
    Waiting(Box<WaitForToken<S, B, R>>),
    Second(Second<S, B, ResB, R>),
    Failed(Error),
    /// The answer to come is marked with this.
    WithoutToken(SentWithoutToken),
}

impl<S: Service<Request<B>>, B, ResB, R: Replay<B>> ResponseFuture<S, B, ResB, R> {
    /// `why` marks the answer to a request without a token.
    pub(crate) fn passing(response: S::Future, why: Option<SentWithoutToken>) -> Self {
        Self { response: Some(response), sent: None, rest: why.map(Rest::WithoutToken) }
    }

    pub(crate) fn failed(error: Error) -> Self {
        Self { response: None, sent: None, rest: Some(Rest::Failed(error)) }
    }

    pub(crate) fn waiting(wait: WaitForToken<S, B, R>) -> Self {
        Self { response: None, sent: None, rest: Some(Rest::Waiting(Box::new(wait))) }
    }

    pub(crate) fn first(response: S::Future, sent: Sent<S, R::Kept, R>) -> Self {
        Self { response: Some(response), sent: Some(sent), rest: None }
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
        let mut this = self.project();
        loop {
            if let Some(inner) = this.response.as_mut().as_pin_mut() {
                let answer = ready!(inner.poll(task)).map_err(Into::into)?;
                // Drops what the inner future holds, such as a permit: the renewal and the second attempt may need it.
                this.response.set(None);
                let Some(sent) = this.sent else {
                    return Poll::Ready(Ok(match this.rest {
                        Some(Rest::WithoutToken(why)) => marked(answer, *why),
                        _ => answer,
                    }));
                };
                if sent.is_hit(answer.status()) {
                    sent.context.core().accepted(sent.attempt.generation, Judgement::ACCEPTED, &answer);
                    // Drops the saved request.
                    sent.retry = None;
                    return Poll::Ready(Ok(answer));
                }
                match this.sent.take().map(|sent| judged(sent, answer)) {
                    Some(Ok(second)) => *this.rest = Some(Rest::Second(second)),
                    Some(Err(answer)) => return Poll::Ready(Ok(answer)),
                    None => unreachable!("it was just seen"),
                }
            }
            match this.rest {
                Some(Rest::Waiting(wait)) => {
                    let token = ready!(wait.poll(task))?;
                    let Some(Rest::Waiting(wait)) = this.rest.take() else { unreachable!("it was just seen") };
                    let (response, sent) = wait.send(token)?;
                    this.response.set(Some(response));
                    *this.sent = Some(sent);
                }
                Some(Rest::Second(second)) => return second.as_mut().poll(task),
                Some(Rest::Failed(error)) => return Poll::Ready(Err(error.clone().into())),
                Some(Rest::WithoutToken(_)) | None => panic!("`ResponseFuture` polled after completion"),
            }
        }
    }
}

/// Marks the answer to a request that carried no token. It takes the answer by value, so that a hit does not copy it once more.
#[cold]
#[inline(never)]
fn marked<ResB>(mut answer: Response<ResB>, why: SentWithoutToken) -> Response<ResB> {
    answer.extensions_mut().insert(why);
    answer
}

/// Judges an answer whose status is not enough. Returns what follows.
///
/// # Errors
/// Returns the answer when nothing follows.
#[cold]
fn judged<S, B, ResB, R>(
    sent: Sent<S, R::Kept, R>,
    mut answer: Response<ResB>,
) -> Result<Second<S, B, ResB, R>, Response<ResB>>
where
    S: Service<Request<B>>,
    R: Replay<B>,
    ResB: Body,
{
    let Sent { attempt, context, .. } = &sent;
    let judgement = judge(context, &mut answer, attempt.generation, attempt.required.as_ref());
    match judgement.verdict {
        Verdict::Accepted => {
            context.core().accepted(attempt.generation, judgement, &answer);
            Err(if attempt.waited { attempt.accepted_after_wait(answer) } else { answer })
        }
        _ => SecondAttempt::after(judgement, answer, sent),
    }
}

impl<S: Service<Request<B>>, B, ResB, R: Replay<B>> fmt::Debug for ResponseFuture<S, B, ResB, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match (&self.rest, &self.sent, &self.response) {
            (Some(Rest::Waiting(_)), ..) => "waiting for a token",
            (Some(Rest::Second(_)), ..) => "second attempt",
            (Some(Rest::Failed(_)), ..) => "failed",
            (None, Some(_), Some(_)) => "first attempt",
            (None | Some(Rest::WithoutToken(_)), None, Some(_)) => "passing",
            (None | Some(Rest::WithoutToken(_)), ..) => "done",
        };
        f.debug_struct("ResponseFuture").field("state", &state).finish_non_exhaustive()
    }
}
