//! The Tokio runtime that renewals need.

use tokio::runtime::Handle;

use crate::{error::Error, timer};

/// Returns the runtime in which the calling task is polled.
///
/// # Errors
/// Outside a runtime, where no task can be spawned, and in a runtime without timers: the deadlines of a renewal and of its
/// HTTP client need them.
pub(crate) fn current() -> Result<Handle, Error> {
    let runtime = Handle::try_current().map_err(|_| Error::no_runtime())?;
    if timer::has_tokio_timers() { Ok(runtime) } else { Err(Error::no_timers()) }
}
