//! Whether a request is sent again after its first answer.

use std::sync::Arc;

use http::Response;

use crate::{
    cache::{AfterRejection, CacheCore},
    error::Error,
    extensions::{BodyMark, NotRetried},
    future::attempt::{Renewal, Retry},
    token::AccessToken,
    verdict::{Judgement, Verdict},
};

/// What follows a first answer that was not accepted.
pub(super) enum Next<S, K> {
    /// The answer goes to the caller. The request is not sent again, for this reason.
    PassOn(NotRetried),
    /// The request is sent again with this token.
    Resend(Retry<S, K>, AccessToken),
    /// The request is sent again when this renewal brings another token.
    Renew(Retry<S, K>, Renewal),
}

/// Decides what follows. The questions, in this order: is the answer a rejection, can the request be sent again, is the token
/// still the newest one, may it be renewed.
pub(super) fn after_answer<S, K, ResB>(
    judgement: Judgement,
    answer: &Response<ResB>,
    generation: u64,
    retry: Option<Retry<S, K>>,
    core: &Arc<CacheCore>,
) -> Next<S, K> {
    Next::PassOn(match judgement.verdict {
        Verdict::Rejected => match (core.rejected(generation), retry) {
            // The token is renewed all the same, for the next request.
            (_, None) => NotRetried::NotReplayable,
            (_, Some(retry)) if may_be_carried_out(answer) && !retry.head.is_idempotent() => NotRetried::NotIdempotent,
            (AfterRejection::BudgetSpent, _) => NotRetried::BudgetSpent,
            (AfterRejection::Failed(error), _) => NotRetried::RenewalFailed { error },
            (AfterRejection::Newer(token), Some(retry)) => return Next::Resend(retry, token),
            (AfterRejection::Wait(pending), Some(retry)) => {
                return Next::Renew(retry, Box::pin(Arc::clone(core).wait(pending)));
            }
        },
        insufficient => {
            // The API may know the token well enough to say what it lacks.
            core.accepted(generation, judgement, answer);
            match insufficient {
                Verdict::InsufficientScope => NotRetried::InsufficientScope,
                _ => NotRetried::InsufficientUserAuthentication,
            }
        }
    })
}

/// Returns whether the API may have carried out a request that it rejected, or a part of it.
fn may_be_carried_out<ResB>(answer: &Response<ResB>) -> bool {
    answer.status().is_server_error() || BodyMark::is_in_part(answer.extensions())
}

/// Decides whether the renewal brought a token to send the request again with. `rejected` is the generation that was
/// rejected.
///
/// # Errors
/// Returns why the request is not sent again.
pub(super) fn after_renewal(renewed: Result<AccessToken, Error>, rejected: u64) -> Result<AccessToken, NotRetried> {
    match renewed {
        Err(error) => Err(NotRetried::RenewalFailed { error }),
        Ok(token) if token.generation() == rejected => Err(NotRetried::SameToken),
        Ok(token) => Ok(token),
    }
}

/// Returns why a second attempt carries the rejected token again, if it does. `failed` is the error of a renewal that brought
/// none.
pub(super) fn why_same_token(sent: u64, rejected: u64, failed: Option<Error>) -> Option<NotRetried> {
    (sent == rejected).then(|| failed.map_or(NotRetried::SameToken, |error| NotRetried::RenewalFailed { error }))
}
