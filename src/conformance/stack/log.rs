//! Records log lines, to look for the token in them. It writes none.

use std::{
    fmt::{Debug, Write as _},
    sync::{Arc, Mutex, PoisonError},
};

use tracing::Event;
use tracing::Metadata;
use tracing::Subscriber;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;

/// Keeps the fields of all spans and events of this thread.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<String>>);

impl Log {
    /// Records until the guard is dropped.
    pub(super) fn record(&self) -> DefaultGuard {
        tracing::subscriber::set_default(self.clone())
    }

    pub(super) fn shows(&self, secret: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(secret)
    }

    /// Formats a value before the lock is taken, because that may be user code.
    fn add(&self, value: &dyn Debug) {
        let mut text = String::new();
        let _ = write!(text, "{value:?} ");
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        attributes.record(&mut Fields(self));
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut Fields(self));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Fields(self));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Fields<'a>(&'a Log);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, _: &Field, value: &dyn Debug) {
        self.0.add(value);
    }
}
