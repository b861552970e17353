//! Whether a request is sent again after its first answer.

use std::sync::Arc;

use http::Response;

use crate::{
    cache::{CacheCore, NextToken},
    extensions::{BodyMark, NotRetried},
    future::attempt::Retry,
    verdict::{Judgement, Verdict},
};

/// What follows a first answer that was not accepted.
pub(super) enum Next<S, K> {
    /// The answer goes to the caller. The request is not sent again, for this reason.
    PassOn(NotRetried),
    /// The request is sent again with this token, or when the renewal brings another one.
    Resend(Retry<S, K>, NextToken),
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
        Verdict::Rejected => match (core.next_token(generation), retry) {
            // The token is renewed all the same, for the next request.
            (_, None) => NotRetried::NotReplayable,
            (_, Some(retry)) if may_be_carried_out(answer) && !retry.head.is_idempotent() => NotRetried::NotIdempotent,
            (Err(why_not), _) => why_not,
            (Ok(token), Some(retry)) => return Next::Resend(retry, token),
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
