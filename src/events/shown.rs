//! A number that is shown outside of the lock under which it changes.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// A number that changes, and what was last shown of it. Who shows it is user code, which must not run under a lock. So two
/// threads may show it at once, in any order; the last one that ends has shown the newest number.
#[derive(Debug)]
pub(crate) struct Shown {
    now: AtomicU64,
    shown: AtomicU64,
}

/// No number that is ever shown.
const NOTHING: u64 = u64::MAX;

impl Default for Shown {
    /// Returns a number that is 0, and was not shown.
    fn default() -> Self {
        Self { now: AtomicU64::new(0), shown: AtomicU64::new(NOTHING) }
    }
}

impl Shown {
    pub(crate) fn set(&self, to: u64) {
        self.now.store(to, SeqCst);
    }

    pub(super) fn add(&self) {
        self.now.fetch_add(1, SeqCst);
    }

    pub(super) fn subtract(&self) {
        self.now.fetch_sub(1, SeqCst);
    }

    /// Shows the number if it has changed since.
    pub(crate) fn show(&self, show: impl Fn(u64)) {
        let mut own = None;
        loop {
            let now = self.now.load(SeqCst);
            let shown = self.shown.swap(now, SeqCst);
            if own.unwrap_or(shown) == now {
                return;
            }
            show(now);
            // Another thread may have shown a newer one meanwhile, before this one.
            own = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Mutex, atomic::AtomicBool},
        thread,
    };

    use super::*;

    #[test]
    fn a_number_is_shown_when_it_changes() {
        let (number, seen) = (Shown::default(), Mutex::new(Vec::new()));
        for next in [0, 0, 3, 3, 2] {
            number.set(next);
            number.show(|now| seen.lock().unwrap().push(now));
        }
        assert_eq!(*seen.lock().unwrap(), [0, 3, 2]);
    }

    #[test]
    fn one_that_is_late_shows_the_newest_number_again() {
        let (number, seen, is_late) = (Shown::default(), Mutex::new(Vec::new()), AtomicBool::new(true));
        number.set(1);
        number.show(|now| {
            if is_late.swap(false, SeqCst) {
                thread::scope(|scope| {
                    scope.spawn(|| {
                        number.set(2);
                        number.show(|now| seen.lock().unwrap().push(now));
                    });
                });
            }
            seen.lock().unwrap().push(now);
        });
        assert_eq!(*seen.lock().unwrap(), [2, 1, 2]);
    }
}
