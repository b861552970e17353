//! The locks, cells and tasks that the cache decides and publishes with.
//!
//! In a test build with `--cfg shuttle`, each of their operations is a point at which another thread may run, so that a
//! test can try thousands of interleavings. In every other build they are those of the standard library, arc-swap and
//! Tokio.

#[cfg(all(test, shuttle))]
pub(crate) use scheduled::{ArcSwapOption, AtomicBool, AtomicU8, Mutex, MutexGuard, spawn};
#[cfg(not(all(test, shuttle)))]
pub(crate) use {
    arc_swap::ArcSwapOption,
    std::sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU8},
    },
};

/// Spawns `task` in `runtime`.
#[cfg(not(all(test, shuttle)))]
pub(crate) fn spawn(runtime: &tokio::runtime::Handle, task: impl Future<Output = ()> + Send + 'static) {
    runtime.spawn(task);
}

#[cfg(all(test, shuttle))]
mod scheduled {
    use std::sync::Arc;

    use arc_swap::Guard;
    use shuttle::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    pub(crate) use shuttle::sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU8},
    };
    use tokio::runtime::Handle;

    /// An [`arc_swap::ArcSwapOption`] that lets another thread run before each operation.
    #[derive(Debug)]
    pub(crate) struct ArcSwapOption<T> {
        cell: arc_swap::ArcSwapOption<T>,
        operations: AtomicUsize,
    }

    impl<T> Default for ArcSwapOption<T> {
        fn default() -> Self {
            Self { cell: arc_swap::ArcSwapOption::empty(), operations: AtomicUsize::new(0) }
        }
    }

    impl<T> ArcSwapOption<T> {
        pub(crate) fn load(&self) -> Guard<Option<Arc<T>>> {
            self.operations.fetch_add(1, SeqCst);
            self.cell.load()
        }

        pub(crate) fn store(&self, value: Option<Arc<T>>) {
            self.operations.fetch_add(1, SeqCst);
            self.cell.store(value);
        }
    }

    pub(crate) fn spawn(_: &Handle, task: impl Future<Output = ()> + Send + 'static) {
        shuttle::future::spawn(task);
    }
}
