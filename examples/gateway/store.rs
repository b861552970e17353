//! The store by which gateways share their tokens, and what operators see of it.

use serde_json::{Value, json};
use tower_bearer::{
    TokenSource,
    store::{SharedStore, StoreStatus, Stored},
};
use tower_bearer_redis::{RedisStatus, RedisStore};

#[derive(Clone)]
pub struct Store {
    shared: SharedStore,
    redis: RedisStore,
    name: Option<String>,
}

/// The samples of a metric.
pub struct Metric {
    pub name: &'static str,
    pub kind: &'static str,
    pub help: &'static str,
    pub samples: Vec<(&'static str, u64)>,
}

impl Store {
    pub fn new(shared: SharedStore, redis: RedisStore, name: Option<String>) -> Self {
        Self { shared, redis, name }
    }

    /// Shares the tokens of a source. With a name in the settings, it counts in addition to the source's identity, together with
    /// that of the tenant.
    pub fn share(&self, source: impl TokenSource, tenant: Option<&str>) -> Stored {
        let stored = Stored::new(source, &self.shared);
        match (&self.name, tenant) {
            (None, _) => stored,
            (Some(name), None) => stored.named(name.as_str()),
            // In quotes, so that no two pairs are the same text.
            (Some(name), Some(tenant)) => stored.named(format!("{name:?} {tenant:?}")),
        }
    }

    /// Returns what is known of the store. Its outage is not the gateway's: requests still get tokens.
    pub fn health(&self) -> Value {
        let (status, server) = self.status();
        json!({
            "available": status.is_available,
            "connected": server.connected,
            "last_error": server.last_error.as_ref().map(ToString::to_string),
            "reconnects": server.reconnects,
            "evicts": server.evicts,
            "hits": status.hits,
            "absent": status.absent,
            "expired": status.expired,
            "rejected": status.rejected,
            "unchanged": status.unchanged,
            "unreadable": status.unreadable,
            "passed_on": status.passed_on,
            "waits": status.waits,
            "takeovers": status.takeovers,
            "exchanges": status.exchanges,
            "lost_leases": status.lost_leases,
            "alone": status.alone,
            "failures": status.failures,
            "withdrawn": status.withdrawn,
        })
    }

    pub fn metrics(&self) -> Vec<Metric> {
        let (status, server) = self.status();
        let metric = |name, kind, help, samples| Metric { name, kind, help, samples };
        let counter = |name, help, count| metric(name, "counter", help, vec![("", count)]);
        let available = u64::from(status.is_available);
        let mut metrics = vec![
            metric(
                "gateway_store_available",
                "gauge",
                "Whether the store answered the last call: 1 or 0.",
                vec![("", available)],
            ),
            metric(
                "gateway_store_readings_total",
                "counter",
                "Readings of records for a token, by what was found.",
                vec![
                    ("{found=\"token\"}", status.hits),
                    ("{found=\"absent\"}", status.absent),
                    ("{found=\"expired\"}", status.expired),
                    ("{found=\"rejected\"}", status.rejected),
                    ("{found=\"unchanged\"}", status.unchanged),
                    ("{found=\"failure\"}", status.passed_on),
                ],
            ),
            counter(
                "gateway_store_unreadable_total",
                "Records that no known key opens, or with an unknown format.",
                status.unreadable,
            ),
            metric(
                "gateway_store_token_requests_total",
                "counter",
                "Token requests of this gateway: under a lease, or alone because the store did not answer.",
                vec![("{how=\"lease\"}", status.exchanges), ("{how=\"alone\"}", status.alone)],
            ),
            counter("gateway_store_waits_total", "Waits for the token request of another gateway.", status.waits),
            counter("gateway_store_takeovers_total", "Leases that this gateway got after a wait.", status.takeovers),
            counter("gateway_store_lost_leases_total", "Leases that ended during a token request.", status.lost_leases),
            counter(
                "gateway_store_failures_total",
                "Calls that the store did not answer in time, or answered with an error.",
                status.failures,
            ),
            counter(
                "gateway_store_withdrawn_total",
                "Tokens that another gateway rejected or revoked.",
                status.withdrawn,
            ),
            counter("gateway_store_reconnects_total", "Connections that replaced lost ones.", server.reconnects),
        ];
        if let Some(evicts) = server.evicts {
            let help = "Whether the server may drop records when its memory is full: 1 or 0.";
            metrics.push(metric("gateway_store_evicts", "gauge", help, vec![("", u64::from(evicts))]));
        }
        metrics
    }

    fn status(&self) -> (StoreStatus, RedisStatus) {
        (self.shared.status(), self.redis.status())
    }
}
