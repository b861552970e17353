//! A grant and its HTTP client.

use tracing::{debug, warn};

use crate::error::Error;

const TARGET: &str = "tower_bearer::grant";

pub(crate) fn refresh_token_not_saved() {
    warn!(target: TARGET, "the new refresh token could not be saved; saving is retried at the next token request");
}

pub(crate) fn refresh_token_refused(error: &Error) {
    debug!(target: TARGET, %error, "the refresh token was refused; the grant itself is used");
}

#[cfg(feature = "client")]
pub(crate) fn no_root_certificates() {
    warn!(target: TARGET, "no root certificates were found: every request to an https token URL will fail");
}
