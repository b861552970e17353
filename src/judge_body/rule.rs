//! The rule that judges the first bytes of an answer.

use std::{borrow::Cow, fmt, sync::Arc};

use crate::{extensions::BodyVerdict, judge_body::servers};

/// A rule that finds rejections in the first bytes of an answer, for
/// [`judge_body`](crate::BearerAuthLayer::judge_body).
///
/// The rules of known servers read one whole JSON text: an answer that is longer than the limit is accepted. The words of a
/// rejection count only where the server puts them. The same words elsewhere, such as in the data that was asked for, mean
/// nothing. Only what a rule looks at has to be valid: an unpaired surrogate, a number that is too large, or deep nesting
/// elsewhere does not hide a rejection.
///
/// [`or`](Self::or) combines rules.
///
/// ```
/// use tower_bearer::judge_body::{BodyRule, BodyVerdict};
///
/// // An API that answers `{"status":"LOGGED_OUT"}`. Only this member is read: a `serde_json::Value` fails if any other part of
/// // the answer is nested too deeply, or has a number that is too large.
/// #[derive(serde::Deserialize)]
/// struct Answer {
///     status: Option<String>,
/// }
/// let rule = BodyRule::new(|bytes| match serde_json::from_slice::<Answer>(bytes) {
///     Ok(answer) if answer.status.as_deref() == Some("LOGGED_OUT") => BodyVerdict::Rejected,
///     Ok(_) => BodyVerdict::Accepted,
///     Err(error) if error.is_eof() => BodyVerdict::Undecided,
///     Err(_) => BodyVerdict::Accepted,
/// });
/// # let _ = rule;
/// ```
#[derive(Clone)]
pub struct BodyRule {
    name: Cow<'static, str>,
    judge: Arc<JudgeBytes>,
}

type JudgeBytes = dyn Fn(&[u8]) -> BodyVerdict + Send + Sync;

impl BodyRule {
    /// Creates a rule of your own. `judge` gets all bytes from the start of the body, up to the limit.
    ///
    /// It is asked when no more bytes are ready, at the limit, and at the end of the body, so it may get the start of an answer
    /// several times.
    pub fn new(judge: impl Fn(&[u8]) -> BodyVerdict + Send + Sync + 'static) -> Self {
        Self::named("custom", judge)
    }

    /// Returns the rule for GraphQL: an error whose `extensions.code` is `code` rejects the token. Apollo Server says
    /// `UNAUTHENTICATED`.
    ///
    /// Only an answer without any result is a [`Rejected`](BodyVerdict::Rejected): it has no `data`, or every field of the
    /// operation is null and has this error itself. Any other is a [`RejectedInPart`](BodyVerdict::RejectedInPart), because a
    /// mutation may have been carried out beside the field that was refused. If `data` as a whole is null, nothing shows which
    /// fields there were: it is taken for an answer without any result.
    #[must_use]
    pub fn graphql(code: impl Into<String>) -> Self {
        let code = code.into();
        Self::named("graphql", move |bytes| servers::graphql(bytes, &code))
    }

    /// Returns the rule for Marketo's REST API: `"success": false`, and an error with the code 601 (invalid token) or 602
    /// (expired token).
    #[must_use]
    pub fn marketo() -> Self {
        Self::named("marketo", servers::marketo)
    }

    /// Returns the rule for Slack's Web API: `"ok": false`, and `invalid_auth`, `token_expired` or `token_revoked` as the error.
    #[must_use]
    pub fn slack() -> Self {
        Self::named("slack", servers::slack)
    }

    /// Returns the rule for `/v3/watch` of etcd's JSON gateway: the watch is canceled at once because of the token, or the stream
    /// begins with an error of the gRPC code 16 (`UNAUTHENTICATED`).
    #[must_use]
    pub fn etcd_watch() -> Self {
        Self::named("etcd_watch", servers::etcd_watch)
    }

    /// Adds another rule, for a client of several APIs: an answer is rejected if one of the two rules rejects it. Both rules are
    /// asked about the same bytes, and their order does not matter:
    ///
    /// 1. One says [`RejectedInPart`](BodyVerdict::RejectedInPart): so does the whole, because a part may have been carried out.
    /// 2. One says [`Rejected`](BodyVerdict::Rejected): so does the whole, also if the other needs more bytes.
    /// 3. One says [`Undecided`](BodyVerdict::Undecided): so does the whole. Both are asked again with more bytes.
    /// 4. Both say [`Accepted`](BodyVerdict::Accepted): so does the whole.
    ///
    /// ```
    /// use tower_bearer::judge_body::BodyRule;
    ///
    /// let rule = BodyRule::graphql("UNAUTHENTICATED").or(BodyRule::slack());
    /// # let _ = rule;
    /// ```
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let name = format!("{} or {}", self.name, other.name);
        Self::named(name, move |bytes| either(self.judge(bytes), other.judge(bytes)))
    }

    fn named(name: impl Into<Cow<'static, str>>, judge: impl Fn(&[u8]) -> BodyVerdict + Send + Sync + 'static) -> Self {
        Self { name: name.into(), judge: Arc::new(judge) }
    }

    pub(super) fn judge(&self, bytes: &[u8]) -> BodyVerdict {
        (self.judge)(bytes)
    }
}

/// Returns the verdict of two rules on the same bytes.
fn either(first: BodyVerdict, second: BodyVerdict) -> BodyVerdict {
    let by_precedence = [BodyVerdict::RejectedInPart, BodyVerdict::Rejected, BodyVerdict::Undecided];
    let is_said = |verdict: &BodyVerdict| [first, second].contains(verdict);
    by_precedence.into_iter().find(is_said).unwrap_or(BodyVerdict::Accepted)
}

impl fmt::Debug for BodyRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BodyRule").field(&self.name).finish()
    }
}
