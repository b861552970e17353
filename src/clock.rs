//! The wall clock, read in this one place. Ages are measured on tokio's clock, which tests can pause.

use std::{sync::Arc, time::SystemTime};

/// Where the time of day comes from.
pub(crate) type WallClock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub(crate) fn wall_now() -> SystemTime {
    SystemTime::now()
}

pub(crate) fn system() -> WallClock {
    Arc::new(wall_now)
}
