//! What a flow needs, so that one grant can be used for many users.

use crate::{
    error::Error,
    grant::{flow::behavior::Flow, on_behalf_of::subject::Subject},
};

/// The flow of a grant whose user is another one for each request: token exchange or JWT bearer.
///
/// It is sealed, as [`Flow`] is.
pub trait UserFlow: Flow {
    /// Checks the settings before anything is sent.
    fn check_for_users(&self) -> Result<(), Error>;

    /// Returns the same flow for one user.
    ///
    /// # Errors
    /// When it cannot send what the subject has.
    fn for_user(&self, subject: &Subject) -> Result<Self, Error>;

    /// Returns the type of token that is asked for, if one is.
    fn requested_type(&self) -> Option<&str> {
        None
    }

    /// Returns a number for the clients of the grants that come before this one.
    fn client_before(&self) -> Option<u64> {
        None
    }
}
