//! The wall clock, which is read in this one place. Ages are measured on tokio's clock, which tests can pause.

use std::{fmt, sync::Arc, time::SystemTime};

/// Where the time of day comes from.
#[derive(Clone)]
pub(crate) enum WallClock {
    System,
    Custom(Arc<dyn Fn() -> SystemTime + Send + Sync>),
}

impl WallClock {
    pub(crate) fn now(&self) -> SystemTime {
        match self {
            Self::System => wall_now(),
            Self::Custom(read) => read(),
        }
    }
}

/// Two custom clocks are equal if they are the same one.
impl PartialEq for WallClock {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::System, Self::System) => true,
            (Self::Custom(one), Self::Custom(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl fmt::Debug for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System => "System",
            Self::Custom(_) => "Custom",
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub(crate) fn wall_now() -> SystemTime {
    SystemTime::now()
}
