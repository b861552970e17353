//! What happened to a request.

use std::{error::Error as StdError, fmt};

use crate::error::Error;

/// What happened to a request. It is in the extensions of a response whose request waited for a token, was sent twice, or was
/// rejected and not sent again. [`TokenCache::call_with_outcome`](crate::TokenCache::call_with_outcome) returns it.
///
/// ```
/// use tower_bearer::{NotRetried, Outcome};
///
/// fn log<B>(response: &http::Response<B>) {
///     match response.extensions().get::<Outcome>() {
///         None => {} // a plain hit, or a request without the layer
///         Some(outcome) => match outcome.not_retried() {
///             Some(NotRetried::RenewalFailed { error, .. }) => eprintln!("401, and no new token: {error}"),
///             _ => eprintln!("retried: {}", outcome.retried()),
///         },
///     }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Outcome {
    generation: u64,
    waited: bool,
    retried: bool,
    not_retried: Option<NotRetried>,
}

/// Why a request was not sent again although its answer asks for other credentials. It is also the error of
/// [`TokenCache::reject`](crate::TokenCache::reject).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum NotRetried {
    /// The scope of the token is not sufficient, so a new one would not help. A response of the layer
    /// also has an [`InsufficientScope`](crate::InsufficientScope), which says what is missing.
    InsufficientScope,
    /// The user has to authenticate again, or by a stronger method. A response of the layer
    /// also has an [`InsufficientUserAuthentication`](crate::InsufficientUserAuthentication), which says how.
    InsufficientUserAuthentication,
    /// The body cannot be sent again: it is not kept, or more than the [cap](crate::replay::Tee::cap) of its [`Tee`](crate::replay::Tee)
    /// was read before the rejection came. Set a larger cap if your uploads are larger. The token is renewed for the next
    /// request, within the budget.
    NotReplayable,
    /// The answer is a server error (5xx) or a [rejection in part](crate::judge_body::BodyVerdict::RejectedInPart), so the request
    /// may have been carried out, and its method is not idempotent (RFC 9110 §9.2.2). The token is renewed for the next request,
    /// within the budget.
    NotIdempotent,
    /// Too many new tokens were rejected, so the issuer is not asked for a while.
    BudgetSpent,
    /// The issuer returned the same token again.
    SameToken,
    /// The renewal failed.
    #[non_exhaustive]
    RenewalFailed {
        /// Why it failed.
        error: Error,
    },
}

impl NotRetried {
    /// Returns the name of the reason in log lines and metrics.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::InsufficientScope => "insufficient_scope",
            Self::InsufficientUserAuthentication => "insufficient_user_authentication",
            Self::NotReplayable => "not_replayable",
            Self::NotIdempotent => "not_idempotent",
            Self::BudgetSpent => "budget_spent",
            Self::SameToken => "same_token",
            Self::RenewalFailed { .. } => "renewal_failed",
        }
    }

    pub(crate) fn error(&self) -> Option<&Error> {
        if let Self::RenewalFailed { error } = self { Some(error) } else { None }
    }
}

impl Outcome {
    pub(crate) fn new(generation: u64, waited: bool, retried: bool, not_retried: Option<NotRetried>) -> Self {
        Self { generation, waited, retried, not_retried }
    }

    /// Returns the generation of the token that the answered attempt carried; see [`AccessToken::generation`](crate::AccessToken::generation).
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Returns whether the first attempt had to wait for a token.
    #[must_use]
    pub fn waited(&self) -> bool {
        self.waited
    }

    /// Returns whether this is the answer to a second attempt.
    #[must_use]
    pub fn retried(&self) -> bool {
        self.retried
    }

    /// Returns why a rejected first attempt was not followed by one with a new token.
    ///
    /// Usually the response is the answer to the first attempt. If the renewal took long, that answer was given up to free its
    /// connection. Then the request was sent again with the old token, and [`retried`](Self::retried) is true.
    #[must_use]
    pub fn not_retried(&self) -> Option<&NotRetried> {
        self.not_retried.as_ref()
    }
}

impl fmt::Display for NotRetried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InsufficientScope => "the scope of the token is not sufficient; request more scope",
            Self::InsufficientUserAuthentication => "the user has to authenticate again, or by a stronger method",
            Self::NotReplayable => "the API rejected the token, and the body of the request cannot be sent again",
            Self::NotIdempotent => {
                "the API rejected the token but may have carried out the request, and its method is not idempotent"
            }
            Self::BudgetSpent => {
                "the API rejected the token, and too many new tokens before it; check that the API accepts this issuer's tokens"
            }
            Self::SameToken => "the API rejected the token, and the issuer returned the same token again",
            Self::RenewalFailed { error } => return write!(f, "the API rejected the token, and its renewal failed: {error}"),
        })
    }
}

impl StdError for NotRetried {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            // Its own text is part of this one.
            Self::RenewalFailed { error } => error.source(),
            _ => None,
        }
    }
}
