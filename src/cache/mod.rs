//! The life of a token: requested, fresh, stale, expired; renewed, rejected, renewed again.
//!
#![doc = include_str!("../../docs/renewal.md")]

mod backoff;
mod budget;
mod builder;
mod cache_core;
mod failures;
#[cfg(all(test, shuttle))]
mod interleavings;
mod lookup;
mod narrowed;
mod published;
mod rejection;
mod renewal;
mod served_token;
mod settings;
mod single_flight;
mod state;
mod status;
mod token_cache;

pub use backoff::Backoff;
pub use budget::RejectionBudget;
pub use builder::TokenCacheBuilder;
pub use status::{Age, CacheStatus};
pub use token_cache::TokenCache;

pub(crate) use {lookup::Lookup, rejection::AfterRejection, renewal::PendingRenewal};
