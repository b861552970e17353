//! What an answer does to the token that its request carried.

use std::sync::Arc;

use http::StatusCode;
use tokio::time::Instant;

use crate::{
    cache::{cache_core::CacheCore, decision::Decision, renewal::PendingRenewal},
    error::Error,
    token::AccessToken,
};

/// What a rejected request is to do.
pub(crate) enum AfterRejection {
    /// Use this token, which is newer.
    Newer(AccessToken),
    /// Wait for this renewal.
    Wait(PendingRenewal),
    /// Pass the rejection on: too many new tokens were rejected.
    BudgetSpent,
    /// Pass the rejection on: no token can be had.
    Failed(Error),
}

impl CacheCore {
    /// Notes that a first attempt with the token of `generation` was rejected, and decides what its request does.
    pub(crate) fn rejected(self: &Arc<Self>, generation: u64) -> AfterRejection {
        if self.is_renewed_here() {
            return AfterRejection::Failed(Error::recursion());
        }
        let (decision, joined) = self.decide(|state, at| state.decide_rejection(generation, at));
        match (decision, joined.map(|joined| self.start(joined))) {
            (_, Some(Err(error))) | (Decision::Fail(error), _) => AfterRejection::Failed(error),
            (Decision::Serve { token, .. }, _) => AfterRejection::Newer(token.token.clone()),
            (Decision::Wait, Some(Ok(pending))) => AfterRejection::Wait(pending),
            (Decision::BudgetSpent | Decision::Wait, _) => AfterRejection::BudgetSpent,
        }
    }

    /// Notes that a second attempt with the token of `generation` was accepted or rejected.
    pub(crate) fn retried(&self, generation: u64, accepted: bool) {
        self.change(|state| state.retried(generation, accepted, Instant::now()));
    }

    /// Notes that an API accepted the token of `generation`. Only reads a flag unless the budget is limited. A server error
    /// does not show that the token was accepted.
    #[inline]
    pub(crate) fn accepted(&self, generation: u64, status: StatusCode) {
        if self.published.is_limited() && !status.is_server_error() {
            self.note_accepted(generation);
        }
    }

    #[cold]
    fn note_accepted(&self, generation: u64) {
        if let Some(served) = &*self.published.served()
            && served.token.generation() == generation
        {
            served.note_accepted(Instant::now());
        }
    }
}
