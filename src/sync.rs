//! The locks and cells that the cache decides and publishes with.
//!
//! In a test build with `--cfg shuttle` each of their operations is a point at which another thread may run, so that a
//! test can try thousands of interleavings. Everywhere else they are the types of the standard library and `arc-swap`.

#[cfg(not(all(test, shuttle)))]
pub(crate) use {
    arc_swap::ArcSwapOption,
    std::sync::{Mutex, MutexGuard, atomic::AtomicBool},
};
#[cfg(all(test, shuttle))]
pub(crate) use {
    scheduled::ArcSwapOption,
    shuttle::sync::{Mutex, MutexGuard, atomic::AtomicBool},
};

#[cfg(all(test, shuttle))]
mod scheduled {
    use std::{fmt, sync::Arc};

    use arc_swap::{AsRaw, Guard};
    use shuttle::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    /// An [`arc_swap::ArcSwapOption`] before each of whose operations another thread may run.
    pub(crate) struct ArcSwapOption<T> {
        cell: arc_swap::ArcSwapOption<T>,
        operations: AtomicUsize,
    }

    impl<T> ArcSwapOption<T> {
        pub(crate) fn empty() -> Self {
            Self { cell: arc_swap::ArcSwapOption::empty(), operations: AtomicUsize::new(0) }
        }

        pub(crate) fn load(&self) -> Guard<Option<Arc<T>>> {
            self.schedule();
            self.cell.load()
        }

        pub(crate) fn store(&self, value: Option<Arc<T>>) {
            self.schedule();
            self.cell.store(value);
        }

        pub(crate) fn compare_and_swap<C: AsRaw<T>>(
            &self,
            current: C,
            new: Option<Arc<T>>,
        ) -> Guard<Option<Arc<T>>> {
            self.schedule();
            self.cell.compare_and_swap(current, new)
        }

        /// An atomic operation is a scheduling point; what it does is not used.
        fn schedule(&self) {
            self.operations.fetch_add(1, SeqCst);
        }
    }

    impl<T: fmt::Debug> fmt::Debug for ArcSwapOption<T> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.cell.fmt(f)
        }
    }
}
