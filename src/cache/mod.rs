//! A token's life: first asked for, fresh, stale, expired; renewed, rejected, renewed again.
//!
#![doc = include_str!("../../docs/renewal.md")]

mod backoff;
mod budget;
mod builder;
mod entry;
mod flight;
mod narrowed;
mod renewal;
mod requests;
mod settings;
mod state;
mod status;
mod token_cache;

pub use backoff::Backoff;
pub use budget::RejectionBudget;
pub use builder::TokenCacheBuilder;
pub use status::{Age, CacheStatus};
pub use token_cache::TokenCache;

pub(crate) use {
    renewal::Awaited,
    requests::{AfterRejection, Look},
};
