//! What is known when a request is built.

use std::time::SystemTime;

use crate::grant::server::metadata::Metadata;

/// The server that a request goes to, and the time.
pub struct RequestContext<'a> {
    pub(crate) server: &'a Metadata,
    #[cfg_attr(not(feature = "jwt"), expect(dead_code, reason = "signed assertions need it"))]
    pub(crate) now: SystemTime,
}
