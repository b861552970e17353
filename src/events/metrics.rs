//! The names of the metrics, their labels, and what they are.

/// A metric.
#[derive(Debug)]
#[cfg_attr(not(feature = "metrics"), allow(dead_code, reason = "nothing is described"))]
pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) labels: &'static [&'static str],
    pub(super) help: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    /// A gauge, in seconds.
    Timestamp,
    /// A histogram, in seconds.
    Seconds,
}

macro_rules! metrics {
    ($($name:ident: $kind:ident $text:literal $labels:expr, $help:literal;)*) => {
        $(pub(super) static $name: Metric = Metric { name: $text, kind: Kind::$kind, labels: &$labels, help: $help };)*

        /// All of them.
        #[cfg(any(test, feature = "metrics"))]
        pub(super) static ALL: &[&Metric] = &[$(&$name),*];
    };
}

metrics! {
    TOKENS_ISSUED: Counter "tower_bearer_tokens_issued_total" ["cache", "reason"],
        "Tokens that the source issued, by the reason of the request";
    TOKEN_FAILURES: Counter "tower_bearer_token_failures_total" ["cache", "class"],
        "Renewals that failed, by the class of the failure";
    TOKEN_REQUEST_RETRIES: Counter "tower_bearer_token_request_retries_total" ["cache"],
        "Token requests that were repeated within a renewal that requests waited for";
    RENEWAL_SECONDS: Seconds "tower_bearer_renewal_seconds" ["cache", "outcome"],
        "How long renewals took, with all their attempts";
    REJECTIONS: Counter "tower_bearer_rejections_total" ["cache"],
        "Answers that rejected the token, and calls that said so";
    RETRIES: Counter "tower_bearer_retries_total" ["cache", "outcome"],
        "Requests whose first answer asked for other credentials, by what followed";
    TOKEN_EXPIRY: Timestamp "tower_bearer_token_expiry_timestamp_seconds" ["cache"],
        "When the cache stops serving its token, as a Unix time; 0 without a token";
    REJECTIONS_LIMITED: Gauge "tower_bearer_rejections_limited" ["cache"],
        "1 while rejections have used up their budget and are passed on, else 0";
    POOL_IDENTITIES: Gauge "tower_bearer_pool_identities" ["cache"],
        "Identities of the pool";
    POOL_RENEWALS: Gauge "tower_bearer_pool_renewals" ["cache", "state"],
        "Renewals of the pool that are in progress, and those that wait for that";
    POOL_EVICTIONS: Counter "tower_bearer_pool_evictions_total" ["cache"],
        "Identities that were evicted from the pool";
    STORE_READS: Counter "tower_bearer_store_reads_total" ["store", "result"],
        "Records that were read from the store, by what they gave";
    STORE_EXCHANGES: Counter "tower_bearer_store_exchanges_total" ["store"],
        "Token requests under a lease of the store";
    STORE_WAITS: Counter "tower_bearer_store_waits_total" ["store"],
        "Waits for another process that had the lease";
    STORE_TAKEOVERS: Counter "tower_bearer_store_takeovers_total" ["store"],
        "Leases that were given after such a wait";
    STORE_LOST_LEASES: Counter "tower_bearer_store_lost_leases_total" ["store"],
        "Leases that ended during a token request";
    STORE_ALONE: Counter "tower_bearer_store_alone_total" ["store"],
        "Token requests without the store, because it did not answer";
    STORE_FAILURES: Counter "tower_bearer_store_failures_total" ["store"],
        "Calls that the store did not answer in time, or answered with an error";
    STORE_WITHDRAWN: Counter "tower_bearer_store_withdrawn_total" ["store"],
        "Tokens that were withdrawn, because another process had rejected or revoked them";
    STORE_AVAILABLE: Gauge "tower_bearer_store_available" ["store"],
        "1 if the store answered the last call, else 0";
}

/// The values of the labels, in the order of the metric's names.
pub(super) type Values<'a> = &'a [&'a str];
