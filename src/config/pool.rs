//! The settings of a pool of identities.

use std::time::Duration;

use serde::Deserialize;

use crate::config::units::Span;

/// The settings of many identities, each with its own token.
///
/// ```toml
/// max = 100000
/// idle = "1h"
/// renewals_at_once = 64
/// ```
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PoolConfig {
    max: Option<usize>,
    idle: Option<Span>,
    renewals_at_once: Option<usize>,
}

impl PoolConfig {
    /// Returns how many identities are kept at most.
    #[must_use]
    pub fn max(&self) -> Option<usize> {
        self.max
    }

    /// Returns how long an identity is kept after its last use.
    #[must_use]
    pub fn idle(&self) -> Option<Duration> {
        self.idle.map(|idle| idle.0)
    }

    /// Returns how many renewals may be in progress at the same time.
    #[must_use]
    pub fn renewals_at_once(&self) -> Option<usize> {
        self.renewals_at_once
    }
}
