//! Which renewals the running task is part of, so that a token source whose own client is wrapped in the layer that it
//! serves gets an error instead of waiting for itself.
//!
//! A renewal's task carries the caches that it renews in a task-local. A token request made in that task carries them
//! further in its extensions, so that a `Buffer` or another hand-over to a different task on the way loses nothing.

use std::sync::Arc;

use http::Extensions;

tokio::task_local! {
    static RENEWING: Renewing;
}

/// The caches under renewal, outermost first; each by an address that is unique while its renewal runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Renewing(Arc<[usize]>);

impl Renewing {
    /// What the running task renews.
    pub(crate) fn here() -> Self {
        RENEWING.try_with(Clone::clone).unwrap_or_default()
    }

    pub(crate) fn contains(&self, cache: usize) -> bool {
        self.0.contains(&cache)
    }

    /// Runs `renewal` as a renewal of `cache`, within those that the calling task is part of.
    #[cfg(not(all(test, shuttle)))]
    pub(crate) fn scope<F: Future>(cache: usize, renewal: F) -> impl Future<Output = F::Output> {
        let within = Self::here();
        let all = within.0.iter().copied().chain([cache]).collect();
        RENEWING.scope(Self(all), renewal)
    }

    /// Shuttle's tasks share one thread, and so would share the task-local.
    #[cfg(all(test, shuttle))]
    pub(crate) fn scope<F: Future>(_: usize, renewal: F) -> F {
        renewal
    }

    /// Marks a token request as part of the renewals of the running task.
    pub(crate) fn mark(extensions: &mut Extensions) {
        let here = Self::here();
        if !here.0.is_empty() {
            extensions.insert(here);
        }
    }
}

/// Whether the running task renews `cache`.
pub(crate) fn is_renewing(cache: usize) -> bool {
    RENEWING.try_with(|renewing| renewing.contains(cache)).unwrap_or(false)
}
