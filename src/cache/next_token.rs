//! The token of a second attempt, and why there is none.

use std::{pin::Pin, sync::Arc};

use crate::{
    cache::{
        cache_core::{CacheCore, Renewed},
        rejection::AfterRejection,
    },
    error::Error,
    extensions::NotRetried,
    token::AccessToken,
};

/// A renewal that a request waits for.
pub(crate) type Renewal = Pin<Box<dyn Future<Output = Renewed> + Send>>;

/// The token of a second attempt.
pub(crate) enum NextToken {
    Awaited(Renewal),
    Here(AccessToken),
}

impl CacheCore {
    /// Notes that a first attempt with the token of `generation` was rejected. Returns the token of the second one.
    ///
    /// # Errors
    /// Returns why there is no other token.
    pub(crate) fn next_token(self: &Arc<Self>, generation: u64) -> Result<NextToken, NotRetried> {
        match self.rejected(generation) {
            AfterRejection::Newer(token) => Ok(NextToken::Here(token)),
            AfterRejection::Wait(pending) => Ok(NextToken::Awaited(Box::pin(Arc::clone(self).wait(pending)))),
            AfterRejection::BudgetSpent => Err(NotRetried::BudgetSpent),
            AfterRejection::Failed(error) => Err(NotRetried::RenewalFailed { error }),
        }
    }

    /// Returns the token of a second attempt whose first answer was given up: the renewed one, or else the one that is served,
    /// with the renewal's error if that is the token that was `rejected`.
    ///
    /// # Errors
    /// When the renewal failed, and no token is served.
    pub(crate) fn despite(&self, renewed: Renewed, rejected: u64) -> Result<(AccessToken, Option<Error>), Error> {
        match renewed {
            Ok(token) => Ok((token, None)),
            Err(error) => {
                let served = self.usable_despite(error.clone(), None)?;
                // A newer one is a new token all the same.
                let is_same = served.generation() == rejected;
                Ok((served, is_same.then_some(error)))
            }
        }
    }
}

/// Decides whether the renewal brought a token to send the request again with. `rejected` is the generation that was
/// rejected.
///
/// # Errors
/// Returns why the request is not sent again.
pub(crate) fn after_renewal(renewed: Renewed, rejected: u64) -> Result<AccessToken, NotRetried> {
    match renewed {
        Err(error) => Err(NotRetried::RenewalFailed { error }),
        Ok(token) if token.generation() == rejected => Err(NotRetried::SameToken),
        Ok(token) => Ok(token),
    }
}

/// Returns why a second attempt carries the rejected token again, if it does. `failed` is the error of a renewal that brought
/// none.
pub(crate) fn why_same_token(sent: u64, rejected: u64, failed: Option<Error>) -> Option<NotRetried> {
    (sent == rejected).then(|| failed.map_or(NotRetried::SameToken, |error| NotRetried::RenewalFailed { error }))
}
