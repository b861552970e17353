//! What happened to a request, for those who want to know.

use crate::error::Error;

/// Stands in the extensions of a response for which anything but a plain hit happened: the request waited for a token,
/// was sent twice, or was rejected and not sent again.
///
/// ```
/// use tower_bearer::{NotRetried, Outcome};
///
/// fn log<B>(response: &http::Response<B>) {
///     match response.extensions().get::<Outcome>() {
///         None => {} // a plain hit, or a request without the layer
///         Some(outcome) => match outcome.not_retried() {
///             Some(NotRetried::RenewalFailed(error)) => eprintln!("401, and no new token: {error}"),
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

/// Why a response that asks for other credentials was not turned into a retry.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum NotRetried {
    /// The token is good, but its scope is not enough: a new one would not help. What is missing stands beside the
    /// [`Outcome`], as an [`InsufficientScope`](crate::InsufficientScope).
    InsufficientScope,
    /// The user has to authenticate anew or more strongly. How stands beside the [`Outcome`], as an
    /// [`InsufficientUserAuthentication`](crate::InsufficientUserAuthentication).
    InsufficientUserAuthentication,
    /// The body cannot be sent again. The token is renewed for the next request, within the budget.
    NotReplayable,
    /// Too many fresh tokens were rejected: the issuer is spared for a while.
    BudgetSpent,
    /// The issuer gave the same token again.
    SameToken,
    /// No new token could be had.
    RenewalFailed(Error),
}

impl Outcome {
    pub(crate) fn new(generation: u64, waited: bool, retried: bool, not_retried: Option<NotRetried>) -> Self {
        Self { generation, waited, retried, not_retried }
    }

    /// Which token the answered attempt carried; see [`AccessToken::generation`](crate::AccessToken::generation).
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether the first attempt had to wait for a token.
    #[must_use]
    pub fn waited(&self) -> bool {
        self.waited
    }

    /// Whether this is the answer to a second attempt.
    #[must_use]
    pub fn retried(&self) -> bool {
        self.retried
    }

    /// Why a rejected first attempt was not followed by a second.
    #[must_use]
    pub fn not_retried(&self) -> Option<&NotRetried> {
        self.not_retried.as_ref()
    }
}
