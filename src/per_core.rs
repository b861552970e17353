//! Copies of a shared value, one for each core. A reference count that all cores write becomes slower with each core.

use std::{
    fmt,
    ops::Deref,
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread::available_parallelism,
};

/// The most copies. More would cost each token more memory than they save time.
const MAX_COPIES: usize = 64;

/// The number of copies, a power of two. A build with `--cfg many_cores` pretends that there are as many cores as copies.
static COPIES: LazyLock<usize> = LazyLock::new(|| {
    let cores = if cfg!(many_cores) { MAX_COPIES } else { available_parallelism().map_or(1, usize::from) };
    cores.next_power_of_two().min(MAX_COPIES)
});

static NEXT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The copy that a thread uses. It is assigned at the first use, so that as many threads as there are cores share none.
    static SLOT: usize = NEXT.fetch_add(1, Ordering::Relaxed);
}

/// Equal values that share no reference count, one for each core.
pub(crate) struct PerCore<T>(Box<[T]>);

/// Returns the number of copies.
pub(crate) fn copies() -> usize {
    *COPIES
}

impl<T> PerCore<T> {
    /// Returns one copy for all cores. It is for values of which there are many.
    pub(crate) fn one(value: T) -> Self {
        Self(Box::new([value]))
    }

    pub(crate) fn new(copy: impl FnMut() -> T) -> Self {
        Self(std::iter::repeat_with(copy).take(*COPIES).collect())
    }

    /// Returns the copy of the running thread.
    pub(crate) fn local(&self) -> &T {
        // A thread that is ending has no slot left.
        let slot = SLOT.try_with(|slot| *slot).unwrap_or_default();
        &self.0[slot & (self.0.len() - 1)]
    }
}

/// Shows one of the copies.
impl<T: fmt::Debug> fmt::Debug for PerCore<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.local().fmt(f)
    }
}

/// A value on cache lines of its own. Processors fetch them in pairs.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct CachePadded<T>(pub(crate) T);

impl<T> Deref for CachePadded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: AsRef<[u8]>> AsRef<[u8]> for CachePadded<T> {
    fn as_ref(&self) -> &[u8] {
        self.0.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, sync::Arc, thread};

    use super::*;

    #[test]
    fn a_thread_has_one_copy_and_each_copy_its_threads() {
        let copies = PerCore::new(|| Arc::new(CachePadded(())));
        let address = || Arc::as_ptr(copies.local()) as usize;
        let taken: HashSet<usize> = (0..16 * *COPIES)
            .map(|_| thread::scope(|scope| scope.spawn(|| (address(), address())).join().unwrap()))
            .map(|(first, again)| if first == again { first } else { panic!("another one") })
            .collect();
        assert_eq!(taken.len(), *COPIES);
        assert_eq!(format!("{:?}", PerCore::new(|| 7)), "7");
    }

    #[test]
    fn a_padded_value_shares_no_cache_line() {
        assert_eq!(size_of::<CachePadded<u8>>(), 128);
        assert_eq!(align_of::<CachePadded<u8>>(), 128);
    }
}
