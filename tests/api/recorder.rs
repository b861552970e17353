//! A recorder of metrics that keeps what was recorded as text.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, LocalRecorderGuard, Metadata, Recorder,
    SharedString, Unit, set_default_local_recorder,
};

/// What was recorded in this thread. Counters and gauges have a value, histograms the number of their values.
#[derive(Clone, Default)]
pub(crate) struct Recorded(Arc<Mutex<BTreeMap<String, f64>>>);

impl Recorded {
    /// Records what happens in this thread until the guard is dropped.
    pub(crate) fn here() -> (Self, LocalRecorderGuard<'static>) {
        let recorded = Self::default();
        let leaked: &'static Self = Box::leak(Box::new(recorded.clone()));
        (recorded, set_default_local_recorder(leaked))
    }

    /// Returns a value by its name and labels, such as `a_total{cache=main,reason=first}`. The prefix `tower_bearer_` is left out.
    pub(crate) fn value(&self, name: &str) -> Option<f64> {
        self.0.lock().unwrap().get(&format!("tower_bearer_{name}")).copied()
    }

    /// Returns all names with their labels, and the descriptions.
    pub(crate) fn names(&self) -> Vec<String> {
        self.0.lock().unwrap().keys().cloned().collect()
    }

    /// Returns all names with their values.
    pub(crate) fn snapshot(&self) -> BTreeMap<String, f64> {
        self.0.lock().unwrap().clone()
    }

    fn one(&self, key: &Key) -> Arc<One> {
        let labels = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect::<Vec<_>>();
        let name = format!("{}{{{}}}", key.name(), labels.join(","));
        self.0.lock().unwrap().entry(name.clone()).or_default();
        Arc::new(One { name, recorded: self.clone() })
    }

    fn describe(&self, kind: &str, name: &KeyName, unit: Option<Unit>, help: &SharedString) {
        let unit = unit.map_or("no unit", |unit| unit.as_str());
        self.0.lock().unwrap().insert(format!("{kind} {} in {unit}: {help}", name.as_str()), 0.0);
    }
}

struct One {
    name: String,
    recorded: Recorded,
}

impl One {
    fn change(&self, change: impl Fn(f64) -> f64) {
        let mut all = self.recorded.0.lock().unwrap();
        let value = all.entry(self.name.clone()).or_default();
        *value = change(*value);
    }
}

impl CounterFn for One {
    fn increment(&self, by: u64) {
        self.change(|value| value + f64::from(u32::try_from(by).unwrap()));
    }

    fn absolute(&self, _: u64) {
        panic!("several caches may have the same name");
    }
}

impl GaugeFn for One {
    fn increment(&self, _: f64) {
        panic!("the recorder may have been installed later");
    }

    fn decrement(&self, _: f64) {
        panic!("the recorder may have been installed later");
    }

    fn set(&self, to: f64) {
        self.change(|_| to);
    }
}

impl HistogramFn for One {
    fn record(&self, _: f64) {
        self.change(|count| count + 1.0);
    }
}

impl Recorder for Recorded {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, help: SharedString) {
        self.describe("counter", &name, unit, &help);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, help: SharedString) {
        self.describe("gauge", &name, unit, &help);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, help: SharedString) {
        self.describe("histogram", &name, unit, &help);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.one(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.one(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.one(key))
    }
}
