//! Tests that `docs/observability.md` says what is logged and counted, and that this folder is the only one that does.

use std::{
    collections::BTreeSet,
    fmt::Debug,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id},
    subscriber::with_default,
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
    registry,
};

use super::{
    metrics::{ALL, Kind},
    *,
};
use crate::error::Error;

const PAGE: &str = include_str!("../../docs/observability.md");

/// The cells of a row of a table.
type Row = Vec<String>;

/// Returns the rows of the table whose first column has this title, without the marks of code.
fn table(title: &str) -> BTreeSet<Row> {
    let lines = PAGE.lines().skip_while(|line| !line.starts_with(&format!("| {title} |")));
    let lines = lines.skip(2).take_while(|line| line.starts_with('|'));
    lines.map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect()).collect()
}

#[derive(Clone, Default)]
struct Captured {
    events: Arc<Mutex<Vec<Row>>>,
    spans: Arc<Mutex<Vec<Row>>>,
}

impl<S: Subscriber> Layer<S> for Captured {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let (mut message, metadata) = (Message::default(), event.metadata());
        event.record(&mut message);
        let row = [metadata.level().to_string(), metadata.target().to_owned(), message.0, names(metadata)];
        self.events.lock().unwrap().push(row.into());
    }

    fn on_new_span(&self, span: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        let metadata = span.metadata();
        let row =
            [metadata.level().to_string(), metadata.target().to_owned(), metadata.name().to_owned(), names(metadata)];
        self.spans.lock().unwrap().push(row.into());
    }
}

/// Returns the names of the fields, in the order of the source.
fn names(metadata: &tracing::Metadata<'_>) -> String {
    let names = metadata.fields().iter().map(|field| field.name()).filter(|name| *name != "message");
    names.collect::<Vec<_>>().join(", ")
}

#[derive(Default)]
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

fn each_event() {
    let (of, took, error) = (Named::default(), Duration::ZERO, Error::terminal("refused"));
    requesting_token("first");
    token_request_retried(of, &error, took);
    token_not_wanted();
    token_not_requested(&error);
    token_issued(of, &Issued { generation: 1, expires_in: took, took, reason: "first" });
    token_issued_late(of, took);
    token_failed(of, &error, took, took);
    token_failed_late(of, &error, took);
    not_retried(of, 1, "same_token", Some(&error));
    sent_again(of, 1, 1);
    trace_passed();
    another_origin("https", "a.test", None, true);
    another_origin("https", "a.test", None, false);
    store_answers(None);
    store_failed(None, &error);
    lease_lost(None);
    token_not_shared(None, &error);
    token_withdrawn(None);
    refresh_token_not_saved();
    refresh_token_refused(&error);
    #[cfg(feature = "client")]
    no_root_certificates();
}

/// Returns the Rust files below `src`, with their text.
fn sources() -> Vec<(PathBuf, String)> {
    fn add(folder: &Path, to: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                add(&path, to);
            } else {
                let text = fs::read_to_string(&path).unwrap();
                to.push((path, text));
            }
        }
    }
    let mut sources = Vec::new();
    add(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut sources);
    sources
}

#[test]
fn each_log_line_is_documented_with_its_fields() {
    let captured = Captured::default();
    with_default(registry().with(captured.clone()), || {
        each_event();
        drop(renewal_span(Named::default()));
    });
    let seen = captured.events.lock().unwrap().clone();
    let mut documented = table("level");
    if cfg!(not(feature = "client")) {
        documented.retain(|row| !row[2].starts_with("no root certificates"));
    }
    assert_eq!(seen.iter().cloned().collect::<BTreeSet<_>>(), documented);
    assert_eq!(*captured.spans.lock().unwrap(), [["DEBUG", "tower_bearer::cache", "renew token", "cache, identity"]]);
    assert!(
        PAGE.contains("has a span `renew token` (DEBUG, `tower_bearer::cache`) with the fields `cache` and `identity`")
    );

    let macros = ["debug!(", "info!(", "warn!("];
    let written = sources()
        .iter()
        .filter(|(path, _)| path.parent().unwrap().ends_with("events") && !path.ends_with("page.rs"))
        .map(|(_, text)| macros.iter().map(|name| text.matches(name).count()).sum::<usize>())
        .sum::<usize>();
    assert_eq!(written, table("level").len(), "each one is written by the test");
}

#[test]
fn nothing_else_logs_or_counts() {
    for (path, text) in sources() {
        let is_meant = path.parent().unwrap().ends_with("events");
        let calls = [
            "tracing::debug",
            "tracing::info",
            "tracing::warn",
            "tracing::error",
            "tracing::trace",
            "use tracing::{",
            "use metrics",
        ];
        let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        let found = calls.iter().find(|call| code.contains(**call));
        assert!(is_meant || found.is_none(), "{} has {found:?}: write a function in src/events", path.display());
    }
}

#[test]
fn each_metric_is_documented_with_its_labels() {
    let kind = |kind| match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Timestamp => "gauge, seconds",
        Kind::Seconds => "histogram, seconds",
    };
    let row = |metric: &metrics::Metric| {
        [metric.name, kind(metric.kind), &metric.labels.join(", "), metric.help].map(str::to_owned).into()
    };
    assert_eq!(ALL.iter().map(|metric| row(metric)).collect::<BTreeSet<Row>>(), table("metric"));
    for metric in ALL {
        let (is_total, is_seconds) = (metric.name.ends_with("_total"), metric.name.ends_with("_seconds"));
        assert_eq!(is_total, metric.kind == Kind::Counter, "{metric:?}");
        assert_eq!(is_seconds, matches!(metric.kind, Kind::Timestamp | Kind::Seconds), "{metric:?}");
        assert!(
            metric.labels.iter().all(|label| !["tenant", "identity", "user", "host", "url", "token"].contains(label))
        );
    }
}

/// A histogram is queried by its parts.
#[test]
fn the_dashboard_shows_each_metric_and_no_other() {
    const DASHBOARD: &str = include_str!("../../docs/grafana.json");

    fn names(value: &serde_json::Value, to: &mut BTreeSet<String>) {
        match value {
            serde_json::Value::String(text) => {
                let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                let words = words.filter(|word| word.starts_with("tower_bearer_"));
                to.extend(words.map(|word| {
                    let part = ["_sum", "_count", "_bucket"].iter().find_map(|part| word.strip_suffix(part));
                    part.unwrap_or(word).to_owned()
                }));
            }
            serde_json::Value::Array(values) => values.iter().for_each(|value| names(value, to)),
            serde_json::Value::Object(values) => values.values().for_each(|value| names(value, to)),
            _ => {}
        }
    }

    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut shown = BTreeSet::new();
    dashboard["panels"].as_array().unwrap().iter().for_each(|panel| names(&panel["targets"], &mut shown));
    assert_eq!(shown, ALL.iter().map(|metric| metric.name.to_owned()).collect());
    let mut variables = BTreeSet::new();
    names(&dashboard["templating"], &mut variables);
    assert!(variables.is_subset(&shown), "{variables:?}");
}
