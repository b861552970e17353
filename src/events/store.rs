//! A shared store.

use tracing::{info, warn};

use crate::events::{
    metrics::{
        Metric, STORE_ALONE, STORE_AVAILABLE, STORE_EXCHANGES, STORE_FAILURES, STORE_LOST_LEASES, STORE_READS,
        STORE_TAKEOVERS, STORE_WAITS, STORE_WITHDRAWN,
    },
    recorder,
};

const TARGET: &str = "tower_bearer::store";

/// What is counted of a store.
#[derive(Clone, Copy)]
pub(crate) enum StoreMetric {
    /// A record was read, with this result.
    Read(&'static str),
    Exchanges,
    Waits,
    Takeovers,
    LostLeases,
    Alone,
    Failures,
    Withdrawn,
}

impl StoreMetric {
    fn metric(self) -> &'static Metric {
        match self {
            Self::Read(_) => &STORE_READS,
            Self::Exchanges => &STORE_EXCHANGES,
            Self::Waits => &STORE_WAITS,
            Self::Takeovers => &STORE_TAKEOVERS,
            Self::LostLeases => &STORE_LOST_LEASES,
            Self::Alone => &STORE_ALONE,
            Self::Failures => &STORE_FAILURES,
            Self::Withdrawn => &STORE_WITHDRAWN,
        }
    }
}

/// Adds to a counter of a store.
pub(crate) fn store_counted(store: Option<&str>, what: StoreMetric, by: u64) {
    let store = store.unwrap_or_default();
    match what {
        StoreMetric::Read(result) => recorder::count(what.metric(), &[store, result], by),
        _ => recorder::count(what.metric(), &[store], by),
    }
}

/// Shows whether a store answered the last call.
pub(crate) fn show_availability(store: &str, is_available: bool) {
    recorder::set(&STORE_AVAILABLE, &[store], f64::from(u8::from(is_available)));
}

pub(crate) fn store_answers(store: Option<&str>) {
    info!(target: TARGET, store, "the token store answers again");
}

pub(crate) fn store_failed(store: Option<&str>, error: &dyn std::error::Error) {
    warn!(target: TARGET, store, %error, "the token store failed; until it answers, each process renews for itself");
}

pub(crate) fn lease_lost(store: Option<&str>) {
    warn!(target: TARGET, store, "the lease was lost during a token request");
}

pub(crate) fn token_not_shared(store: Option<&str>, error: &dyn std::error::Error) {
    warn!(target: TARGET, store, %error, "a token cannot be shared");
}

pub(crate) fn token_withdrawn(store: Option<&str>) {
    info!(target: TARGET, store, "the token was withdrawn, because another process rejected or revoked it");
}
