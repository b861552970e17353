//! The only calls of the `metrics` crate. Without the feature `metrics`, these do nothing.
//!
//! A recorder is user code, so nothing here is called under a lock.

use std::time::Duration;

#[cfg(feature = "metrics")]
use metrics::{Label, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

#[cfg(feature = "metrics")]
use crate::events::metrics::{ALL, Kind};
use crate::events::metrics::{Metric, Values};

#[cfg(not(feature = "metrics"))]
pub(super) fn count(_: &Metric, _: Values<'_>, _: u64) {}
#[cfg(not(feature = "metrics"))]
pub(super) fn set(_: &Metric, _: Values<'_>, _: f64) {}
#[cfg(not(feature = "metrics"))]
pub(super) fn record(_: &Metric, _: Values<'_>, _: Duration) {}

#[cfg(feature = "metrics")]
pub(super) fn count(metric: &'static Metric, values: Values<'_>, by: u64) {
    counter!(metric.name, labels(metric, values)).increment(by);
}

#[cfg(feature = "metrics")]
pub(super) fn set(metric: &'static Metric, values: Values<'_>, to: f64) {
    gauge!(metric.name, labels(metric, values)).set(to);
}

#[cfg(feature = "metrics")]
pub(super) fn record(metric: &'static Metric, values: Values<'_>, took: Duration) {
    histogram!(metric.name, labels(metric, values)).record(took);
}

#[cfg(feature = "metrics")]
fn labels(metric: &'static Metric, values: Values<'_>) -> Vec<Label> {
    let labels = metric.labels.iter().zip(values);
    labels.map(|(name, value)| Label::new(*name, (*value).to_owned())).collect()
}

/// Describes the metrics to the recorder that is installed: what each one is, and its unit. Call it once, after the recorder was
/// installed.
///
/// ```no_run
/// # fn install_a_recorder() {}
/// install_a_recorder();
/// tower_bearer::events::describe_metrics();
/// ```
#[cfg(feature = "metrics")]
pub fn describe_metrics() {
    for Metric { name, kind, help, .. } in ALL {
        match kind {
            Kind::Counter => describe_counter!(*name, Unit::Count, *help),
            Kind::Gauge => describe_gauge!(*name, Unit::Count, *help),
            Kind::Timestamp => describe_gauge!(*name, Unit::Seconds, *help),
            Kind::Seconds => describe_histogram!(*name, Unit::Seconds, *help),
        }
    }
}
