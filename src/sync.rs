//! The locks, cells, maps and tasks that the cache decides and publishes with.
//!
//! In a test build with `--cfg shuttle`, each of their operations is a point at which another thread may run, so that a
//! test can try thousands of interleavings. In every other build they are those of the standard library, arc-swap and
//! Tokio.

#[cfg(all(test, shuttle))]
pub(crate) use scheduled::{ArcSwapOption, AtomicBool, Entries, Mutex, MutexGuard, entries, finish_tasks, spawn};
#[cfg(not(all(test, shuttle)))]
use std::hash::{Hash, RandomState};
#[cfg(not(all(test, shuttle)))]
pub(crate) use {
    arc_swap::ArcSwapOption,
    std::sync::{Mutex, MutexGuard, atomic::AtomicBool},
};

#[cfg(not(all(test, shuttle)))]
use quick_cache::{
    OptionsBuilder, UnitWeighter,
    sync::{Cache, DefaultLifecycle},
};

/// Spawns `task` in `runtime`.
#[cfg(not(all(test, shuttle)))]
pub(crate) fn spawn(runtime: &tokio::runtime::Handle, task: impl Future<Output = ()> + Send + 'static) {
    runtime.spawn(task);
}

/// A concurrent map. It evicts nothing by itself.
#[cfg(not(all(test, shuttle)))]
pub(crate) type Entries<K, V> = Cache<K, V, UnitWeighter, RandomState, DefaultLifecycle<K, V>>;

/// Returns a map of `parts`, each with its own lock, for about `max` entries.
#[cfg(not(all(test, shuttle)))]
pub(crate) fn entries<K: Eq + Hash, V: Clone>(parts: usize, max: usize) -> Entries<K, V> {
    let options = OptionsBuilder::new()
        .shards(parts)
        .estimated_items_capacity(max)
        .weight_capacity(u64::MAX / 2)
        .build()
        .expect("all that it needs is set");
    Cache::with_options(options, UnitWeighter, RandomState::new(), DefaultLifecycle::default())
}

#[cfg(all(test, shuttle))]
mod scheduled {
    use std::{borrow::Borrow, cell::Cell, sync::Arc};

    use arc_swap::Guard;
    use shuttle::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    pub(crate) use shuttle::sync::{Mutex, MutexGuard, atomic::AtomicBool};
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

    // All threads of a schedule are one thread of the operating system.
    std::thread_local! {
        static TASKS: Cell<usize> = const { Cell::new(0) };
    }

    /// Counts a task until it ends.
    struct Running;

    impl Drop for Running {
        fn drop(&mut self) {
            TASKS.set(TASKS.get() - 1);
        }
    }

    pub(crate) fn spawn(_: &Handle, task: impl Future<Output = ()> + Send + 'static) {
        TASKS.set(TASKS.get() + 1);
        let running = Running;
        shuttle::future::spawn(async move {
            let _running = running;
            task.await;
        });
    }

    /// Lets all tasks run to their end.
    pub(crate) fn finish_tasks() {
        while TASKS.get() > 0 {
            shuttle::thread::yield_now();
        }
    }

    /// A map with the lock of shuttle. The locks of `quick_cache` are those of the operating system: a thread that shuttle
    /// switches away from would hold them, and all threads of a test are one thread of the operating system.
    pub(crate) struct Entries<K, V>(Mutex<Vec<(K, V)>>);

    pub(crate) fn entries<K, V>(_parts: usize, _max: usize) -> Entries<K, V> {
        Entries(Mutex::new(Vec::new()))
    }

    impl<K: Clone + Eq, V: Clone> Entries<K, V> {
        pub(crate) fn get<Q: Eq + ?Sized>(&self, key: &Q) -> Option<V>
        where
            K: Borrow<Q>,
        {
            self.lock().iter().find(|(known, _)| known.borrow() == key).map(|(_, value)| value.clone())
        }

        pub(crate) fn insert(&self, key: K, value: V) {
            self.lock().push((key, value));
        }

        pub(crate) fn remove_if<Q: Eq + ?Sized>(&self, key: &Q, is_meant: impl FnOnce(&V) -> bool) -> Option<(K, V)>
        where
            K: Borrow<Q>,
        {
            let mut entries = self.lock();
            let index = entries.iter().position(|(known, _)| known.borrow() == key)?;
            is_meant(&entries[index].1).then(|| entries.remove(index))
        }

        pub(crate) fn iter(&self) -> impl Iterator<Item = (K, V)> {
            self.lock().clone().into_iter()
        }

        pub(crate) fn retain(&self, mut stays: impl FnMut(&K, &V) -> bool) {
            self.lock().retain(|(key, value)| stays(key, value));
        }

        fn lock(&self) -> MutexGuard<'_, Vec<(K, V)>> {
            self.0.lock().unwrap()
        }
    }
}
