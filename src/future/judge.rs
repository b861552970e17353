//! What an answer says about the token of its request.

use http::{HeaderMap, Response, StatusCode};

use crate::{
    cache::CacheCore,
    challenge::Challenge,
    extensions::{
        AnsweredElsewhere, BodyMark, InsufficientScope, InsufficientUserAuthentication, RequiredScopes,
        ResourceMetadata,
    },
    layer_config::RequestContext,
    scope::Scopes,
    verdict::{Judgement, Verdict},
};

/// Returns the verdict on an answer. What the API says is missing is put into the answer's extensions.
///
/// Some servers send the same answer for a token that is not valid and for one that lacks a scope. If its challenge names the
/// scope, and the token is known to lack it, then a new token would not help.
pub(super) fn judge<B, R>(
    context: &RequestContext<R>,
    answer: &mut Response<B>,
    generation: u64,
    required: Option<&RequiredScopes>,
) -> Judgement {
    if answer.extensions().get::<AnsweredElsewhere>().is_some() {
        // It neither rejects the token nor proves it.
        return Judgement { verdict: Verdict::Accepted, is_inferred: true };
    }
    let mut verdict = context.rule.judge(answer.status(), answer.headers());
    if verdict == Verdict::Accepted && context.rule.judges_body() && BodyMark::rejects(answer.extensions()) {
        verdict = Verdict::Rejected;
    }
    let rejected = verdict == Verdict::Rejected;
    let lacking = rejected.then(|| lacking_scope(context.core(), answer.headers(), generation)).flatten();
    if lacking.is_some() {
        verdict = Verdict::InsufficientScope;
    }
    if matches!(answer.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
        && let Some(metadata) = ResourceMetadata::read(answer.headers())
    {
        answer.extensions_mut().insert(metadata);
    }
    let forbidden = required.is_some() && answer.status() == StatusCode::FORBIDDEN;
    if forbidden || !matches!(verdict, Verdict::Accepted | Verdict::Rejected) {
        let declared = required.map(RequiredScopes::scopes);
        explain(context, verdict, answer, generation, lacking.as_ref().or(declared));
    }
    Judgement { verdict, is_inferred: lacking.is_some() }
}

/// Returns the scope that a challenge names, if the token is known to lack it.
fn lacking_scope(core: &CacheCore, headers: &HeaderMap, generation: u64) -> Option<Scopes> {
    let named: Scopes = Challenge::unexplained_scope(headers)?.parse().ok()?;
    core.lacks(generation, &named).then_some(named)
}

/// Puts what the API says is missing into an answer's extensions. It may leave out the scope.
#[cold]
fn explain<B, R>(
    context: &RequestContext<R>,
    verdict: Verdict,
    answer: &mut Response<B>,
    generation: u64,
    required: Option<&Scopes>,
) {
    if verdict == Verdict::InsufficientUserAuthentication {
        let missing = InsufficientUserAuthentication::read(answer.headers());
        answer.extensions_mut().insert(missing);
    } else {
        let granted = context.core().scopes_of(generation);
        let missing = InsufficientScope::read(answer.headers(), required, granted);
        answer.extensions_mut().insert(missing);
    }
}
