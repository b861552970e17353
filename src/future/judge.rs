//! What an answer says about the token of its request.

use http::{Response, StatusCode};

use crate::{
    config::LayerConfig,
    extensions::{InsufficientScope, InsufficientUserAuthentication, RequiredScopes},
    verdict::Verdict,
};

/// Returns the verdict on an answer. What the API says is missing is put into the answer's extensions.
pub(super) fn judge<B, R>(
    config: &LayerConfig<R>,
    answer: &mut Response<B>,
    generation: u64,
    required: Option<&RequiredScopes>,
) -> Verdict {
    let verdict = config.rule.judge(answer.status(), answer.headers());
    let forbidden = required.is_some() && answer.status() == StatusCode::FORBIDDEN;
    if forbidden || !matches!(verdict, Verdict::Accepted | Verdict::Rejected) {
        explain(config, verdict, answer, generation, required);
    }
    verdict
}

/// Puts what the API says is missing into an answer's extensions.
#[cold]
fn explain<B, R>(
    config: &LayerConfig<R>,
    verdict: Verdict,
    answer: &mut Response<B>,
    generation: u64,
    required: Option<&RequiredScopes>,
) {
    if verdict == Verdict::InsufficientUserAuthentication {
        let missing = InsufficientUserAuthentication::read(answer.headers());
        answer.extensions_mut().insert(missing);
    } else {
        let granted = config.cache.scopes_of(generation);
        let missing = InsufficientScope::read(answer.headers(), required.map(RequiredScopes::scopes), granted);
        answer.extensions_mut().insert(missing);
    }
}
