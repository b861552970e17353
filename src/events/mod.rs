#![doc = include_str!("../../docs/observability.md")]

mod cache; // the life of a token
mod grant; // a grant and its HTTP client
mod metrics; // the names of the metrics
#[cfg(test)]
mod page; // tests that the page is true
mod pool; // the identities of a pool and their renewals
mod recorder; // the only calls of the `metrics` crate
mod request; // requests through the layer
mod shown; // a number that is shown outside of the lock under which it changes
mod store; // a shared store

pub(crate) use cache::{
    Issued, Named, cache_made, rejected, renewal_span, requesting_token, show_expiry, show_limited, token_failed,
    token_failed_late, token_issued, token_issued_late, token_not_requested, token_not_wanted, token_request_retried,
};
#[cfg(feature = "client")]
pub(crate) use grant::no_root_certificates;
pub(crate) use grant::{refresh_token_not_saved, refresh_token_refused};
pub(crate) use pool::{PoolRenewals, pool_evicted, pool_made, show_identities};
#[cfg(feature = "metrics")]
pub use recorder::describe_metrics;
pub(crate) use request::{another_origin, not_retried, sent_again, trace_passed};
pub(crate) use shown::Shown;
pub(crate) use store::{
    StoreMetric, lease_lost, show_availability, store_answers, store_counted, store_failed, token_not_shared,
    token_withdrawn,
};
