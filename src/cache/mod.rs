//! The life of a token: requested, fresh, stale, expired; renewed, rejected, renewed again.
//!
#![doc = include_str!("../../docs/renewal.md")]

mod backoff; // the wait after failures
mod bounded_map; // a concurrent map with a bound, for narrowed caches and pools
mod budget; // how many renewals rejections may cause
#[cfg(test)]
mod budget_schedules; // tests of what an hour of requests costs
mod builder; // what users set, and `TokenCache::new`
mod cache_core; // what all clones of a cache share
mod call; // a request by user code, which may be sent again
mod client_state; // what the identities of a pool know together of a client
mod clients; // the clients and issuers of a pool, by number
mod decision; // what a request does: use a token, wait, renew, fail, pass a rejection on
mod eviction_order; // which entry of a bounded map leaves next
mod failure_streak; // failures in a row, and the wait that follows
mod family; // what several caches share
mod gauges; // what the gauges of a cache with a name show
#[cfg(all(test, shuttle))]
mod interleavings; // tests of concurrency
mod issuer_state; // what the identities of a pool know together of an issuer
mod lookup; // a request's way to a token: the hot path, and the wait
mod narrowed; // the narrowed caches of a cache, and which caches must stay
mod next_token; // the token of a second attempt
mod permission; // when a renewal may ask, and what its outcome tells the others
mod permits; // the permits of a renewal in a pool, and what those said whom it asked
mod places; // how many renewals of a pool run at once, and who is next
mod published; // what the hot path reads, and the one place that writes it
mod readiness; // a token before the first request, and while there are none
mod refusals; // what narrowed caches share: refusals of the client and its credentials
mod rejection; // what an answer does to the token that its request carried
mod renewal; // the task that gets a new token
#[cfg(all(test, shuttle))]
mod renewal_interleavings; // tests of what may come during a renewal
mod seen; // the names, totals and gauges of a cache
mod served_token; // the token that requests are sent with, its lease and its ages
mod settings; // the settings as plain data; lifetimes to ages
#[cfg(test)]
mod shared_renewals; // tests of many identities that share
mod single_flight; // one task at a time, and everyone who waits for it
mod state; // what a cache remembers, and how events change it
mod status; // a snapshot for health probes
mod token_cache; // `TokenCache`: what users ask of a cache
mod totals; // what is counted of a cache and of a pool

pub use backoff::Backoff;
pub use budget::RejectionBudget;
pub use builder::TokenCacheBuilder;
pub use status::{Age, CacheStatus};
pub use token_cache::TokenCache;

#[cfg(all(test, shuttle))]
pub(crate) use interleavings::explore;
#[cfg(all(test, shuttle))]
pub(crate) use renewal_interleavings::{Issuer, Source, at_once};
pub(crate) use {
    bounded_map::BoundedMap,
    cache_core::CacheCore,
    family::{AfterRenewal, Shared},
    lookup::Lookup,
    next_token::{NextToken, Renewal, after_renewal, why_same_token},
    renewal::PendingRenewal,
    totals::Totals,
};
