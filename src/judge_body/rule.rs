//! The rule that judges the first bytes of an answer.

use std::{fmt, sync::Arc};

use crate::{extensions::BodyVerdict, judge_body::servers};

/// A rule that finds rejections in the first bytes of an answer, for
/// [`judge_body`](crate::BearerAuthLayer::judge_body).
///
/// The rules of known servers read one whole JSON text: an answer that is longer than the limit is accepted. The words of a
/// rejection count only where the server puts them. The same words elsewhere, such as in the data that was asked for, mean
/// nothing.
///
/// ```
/// use tower_bearer::judge_body::{BodyRule, BodyVerdict};
///
/// // An API that answers `{"status":"LOGGED_OUT"}`.
/// let rule = BodyRule::new(|bytes| match serde_json::from_slice::<serde_json::Value>(bytes) {
///     Ok(json) if json["status"] == "LOGGED_OUT" => BodyVerdict::Rejected,
///     Ok(_) => BodyVerdict::Accepted,
///     Err(error) if error.is_eof() => BodyVerdict::Undecided,
///     Err(_) => BodyVerdict::Accepted,
/// });
/// # let _ = rule;
/// ```
#[derive(Clone)]
pub struct BodyRule {
    name: &'static str,
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

    fn named(name: &'static str, judge: impl Fn(&[u8]) -> BodyVerdict + Send + Sync + 'static) -> Self {
        Self { name, judge: Arc::new(judge) }
    }

    pub(super) fn judge(&self, bytes: &[u8]) -> BodyVerdict {
        (self.judge)(bytes)
    }
}

impl fmt::Debug for BodyRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BodyRule").field(&self.name).finish()
    }
}
