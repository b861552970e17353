//! The settings of a pool of identities.

use serde::Deserialize;

use crate::{
    config::units::{Name, Span},
    pool::TokenPoolBuilder,
};

/// The settings of a [`TokenPool`](crate::TokenPool). What is not set has the default of its method.
///
/// ```toml
/// max = 10000             # `max_identities`
/// idle = "1h"
/// renewals_at_once = 64   # `max_renewals`
/// ```
///
/// These are the defaults. `name = "tenants"` is the name of the pool in log lines and metrics; without it, there is none.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PoolConfig {
    name: Option<Name>,
    max: Option<usize>,
    idle: Option<Span>,
    renewals_at_once: Option<usize>,
}

impl PoolConfig {
    /// Returns the builder with these settings.
    pub fn apply<K>(&self, mut pool: TokenPoolBuilder<K>) -> TokenPoolBuilder<K> {
        if let Some(Name(name)) = &self.name {
            pool = pool.name(name.as_str());
        }
        if let Some(max) = self.max {
            pool = pool.max_identities(max);
        }
        if let Some(idle) = self.idle {
            pool = pool.idle(idle.0);
        }
        if let Some(max) = self.renewals_at_once {
            pool = pool.max_renewals(max);
        }
        pool
    }
}
