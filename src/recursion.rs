//! Which renewals the running task is part of. A token source whose HTTP client is wrapped in the layer that it gets
//! tokens for receives an error, instead of waiting for itself.
//!
//! A renewal's task has the caches that it renews in a task-local. A token request that is made in this task has them in
//! its extensions too, so that they are not lost in a `Buffer` or another service that runs the request in its own task.

use std::sync::Arc;

use http::Extensions;

tokio::task_local! {
    static RENEWING: Renewing;
}

/// The caches that are being renewed, outermost first. Each has an address that is unique while its renewal runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Renewing(Arc<[usize]>);

impl Renewing {
    /// Returns the caches that the running task renews.
    pub(crate) fn here() -> Self {
        RENEWING.try_with(Clone::clone).unwrap_or_default()
    }

    pub(crate) fn contains(&self, cache: usize) -> bool {
        self.0.contains(&cache)
    }

    /// Runs `renewal` as a renewal of `cache`, inside the renewals that the calling task is part of.
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

    /// Runs `lookup` for a request, inside the renewals that the request is marked with. A `Buffer` calls the layer in a task
    /// that knows nothing of them, and `lookup` may begin another renewal, which is part of them.
    #[cold]
    pub(crate) fn scope_of_request<A>(request: &Extensions, lookup: impl FnOnce() -> A) -> A {
        let Some(marked) = request.get::<Self>() else { return lookup() };
        let all = Self::here().0.iter().chain(&*marked.0).copied().collect();
        RENEWING.sync_scope(Self(all), lookup)
    }

    /// Returns whether the running task is part of a renewal that began another one.
    pub(crate) fn is_nested() -> bool {
        Self::here().0.len() > 1
    }

    /// Returns whether the running task is part of a renewal.
    pub(crate) fn is_any() -> bool {
        !Self::here().0.is_empty()
    }

    /// Marks a token request as part of the renewals of the running task.
    pub(crate) fn mark(extensions: &mut Extensions) {
        let here = Self::here();
        if !here.0.is_empty() {
            extensions.insert(here);
        }
    }
}

/// Returns whether the running task renews `cache`.
pub(crate) fn is_renewing(cache: usize) -> bool {
    RENEWING.try_with(|renewing| renewing.contains(cache)).unwrap_or(false)
}
