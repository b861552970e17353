//! PerCore of a shared value, one a core: a reference count that every core writes costs more the more cores there are.

use std::{
    fmt,
    ops::Deref,
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread::available_parallelism,
};

/// More than this would cost each token more memory than its cores gain.
const MOST: usize = 64;

/// A power of two.
static CORES: LazyLock<usize> =
    LazyLock::new(|| available_parallelism().map_or(1, usize::from).next_power_of_two().min(MOST));

static NEXT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Drawn at a thread's first use, so that as many threads as there are cores have no copy in common.
    static SEAT: usize = NEXT.fetch_add(1, Ordering::Relaxed);
}

/// Equal values that share no reference count.
pub(crate) struct PerCore<T>(Box<[T]>);

impl<T> PerCore<T> {
    pub(crate) fn new(copy: impl FnMut() -> T) -> Self {
        Self(std::iter::repeat_with(copy).take(*CORES).collect())
    }

    /// The running thread's own.
    pub(crate) fn local(&self) -> &T {
        // A thread that is ending has no seat any more.
        let seat = SEAT.try_with(|seat| *seat).unwrap_or_default();
        &self.0[seat & (self.0.len() - 1)]
    }
}

/// As one of them.
impl<T: fmt::Debug> fmt::Debug for PerCore<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.local().fmt(f)
    }
}

/// On cache lines of its own, in pairs as processors fetch them.
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
        let mine = || Arc::as_ptr(copies.local()) as usize;
        let taken: HashSet<usize> = (0..16 * *CORES)
            .map(|_| thread::scope(|scope| scope.spawn(|| (mine(), mine())).join().unwrap()))
            .map(|(first, again)| if first == again { first } else { panic!("another one") })
            .collect();
        assert_eq!(taken.len(), *CORES);
        assert_eq!(format!("{:?}", PerCore::new(|| 7)), "7");
    }

    #[test]
    fn what_is_apart_shares_no_cache_line() {
        assert_eq!(size_of::<CachePadded<u8>>(), 128);
        assert_eq!(align_of::<CachePadded<u8>>(), 128);
    }
}
