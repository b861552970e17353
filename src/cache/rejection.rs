//! What an answer does to the token that its request carried.

use std::sync::Arc;

use http::{HeaderMap, Response, StatusCode};
use tokio::time::Instant;

use crate::{
    cache::{cache_core::CacheCore, decision::Decision, renewal::PendingRenewal},
    error::Error,
    token::AccessToken,
    verdict::{Judgement, Verdict},
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
        match (decision, joined.map(|joined| self.start(joined, Some(generation)))) {
            (_, Some(Err(error))) | (Decision::Fail(error), _) => AfterRejection::Failed(error),
            (Decision::Serve { token, .. }, _) => AfterRejection::Newer(token.token.clone()),
            (Decision::Wait, Some(Ok(pending))) => AfterRejection::Wait(pending),
            (Decision::BudgetSpent | Decision::Wait, _) => AfterRejection::BudgetSpent,
        }
    }

    /// Does the same for the newest token, if it is served. Nobody waits for its renewal.
    pub(crate) fn invalidate_newest(self: &Arc<Self>) {
        let served = self.published.served().as_ref().map(|served| served.token.generation());
        if let Some(generation) = served {
            self.rejected(generation);
        }
    }

    /// Notes the answer to a second attempt with the token of `generation`, unless it neither rejects nor proves the token.
    pub(crate) fn retried<B>(&self, generation: u64, judgement: Judgement, answer: &Response<B>) {
        let proves = judgement.proves_token(answer.status(), answer.headers());
        self.note_retried(generation, judgement.verdict, proves);
    }

    /// Does the same for an answer of which it is known whether it proves the token.
    pub(crate) fn note_retried(&self, generation: u64, verdict: Verdict, proves: bool) {
        if proves || verdict == Verdict::Rejected {
            self.change(|state| state.retried(generation, proves, Instant::now()));
        }
        self.note_answered(generation, proves);
    }

    /// Notes an answer that did not reject the token of `generation`, if it proves that an API accepted the token. Only reads a
    /// flag unless acceptances are watched.
    #[inline]
    pub(crate) fn accepted<B>(&self, generation: u64, judgement: Judgement, answer: &Response<B>) {
        if self.published.is_watched() {
            self.note_answer(generation, judgement, answer.status(), answer.headers());
        }
    }

    /// Notes an answer of which it is known whether it proves the token.
    pub(crate) fn note_answered(&self, generation: u64, proves: bool) {
        if proves && self.published.is_watched() {
            self.note_accepted(generation);
        }
    }

    #[cold]
    fn note_answer(&self, generation: u64, judgement: Judgement, status: StatusCode, headers: &HeaderMap) {
        if judgement.proves_token(status, headers) {
            self.note_accepted(generation);
        }
    }

    /// Notes that an API accepted the token of `generation`. The first acceptance of a token is noted in the state as well.
    fn note_accepted(&self, generation: u64) {
        if let Some(served) = &*self.published.served()
            && served.token.generation() == generation
            && served.note_accepted(Instant::now())
        {
            self.change(|state| state.accepted(generation));
        }
    }
}
