//! What the body of an answer says about the token.

use http::Extensions;

/// What the first bytes of an answer say about the token that its request carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BodyVerdict {
    /// The answer does not reject the token. No more of it is looked at.
    Accepted,
    /// The API does not accept the token, and carried out nothing: the token is renewed, and the request is sent again.
    Rejected,
    /// The API does not accept the token, and may have carried out a part of the request. The token is renewed for the next
    /// request. This one is sent again only if its method is idempotent (RFC 9110 §9.2.2); see
    /// [`NotRetried::NotIdempotent`](crate::NotRetried::NotIdempotent).
    RejectedInPart,
    /// These bytes do not decide it. The rule is asked again with more. If there are no more within the limits, the answer is
    /// accepted.
    Undecided,
}

/// What is known of the body of an answer, in the answer's extensions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyMark {
    /// What the rule says.
    pub(crate) verdict: BodyVerdict,
    /// Whether the body was read to its end, so that it holds no connection.
    pub(crate) is_whole: bool,
}

impl BodyMark {
    /// Returns whether an answer with these extensions rejects the token.
    pub(crate) fn rejects(extensions: &Extensions) -> bool {
        matches!(Self::of(extensions), Some(BodyVerdict::Rejected | BodyVerdict::RejectedInPart))
    }

    /// Returns whether the API may have carried out a part of the request.
    pub(crate) fn is_in_part(extensions: &Extensions) -> bool {
        Self::of(extensions) == Some(BodyVerdict::RejectedInPart)
    }

    /// Returns whether the whole body was read.
    pub(crate) fn is_whole(extensions: &Extensions) -> bool {
        extensions.get().is_some_and(|mark: &Self| mark.is_whole)
    }

    fn of(extensions: &Extensions) -> Option<BodyVerdict> {
        extensions.get().map(|mark: &Self| mark.verdict)
    }
}
