//! Whose turn it is to read a body. Everybody reads and changes it without waiting. `keeper.rs` has the rules.

use std::sync::atomic::{
    AtomicU8,
    Ordering::{AcqRel, Acquire},
};

use futures_util::task::AtomicWaker;

/// The attempt that may read the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    First,
    /// Neither, until it is decided whether there is a second attempt.
    Undecided,
    Second,
    /// The first for good, because there will be no second: the answer is there, or the body cannot be sent again.
    FirstAlone,
}

pub(crate) struct SharedTurn {
    turn: AtomicU8,
    /// Wakes the first attempt, which waits for the decision or for more of the body.
    pub(crate) first: AtomicWaker,
    /// Wakes the second attempt, which waits until the first has unlocked the body.
    pub(crate) second: AtomicWaker,
}

/// Wakes the second attempt when it is dropped, if that has its turn then. The first attempt makes it before it locks the body, so
/// that it is dropped after the lock is released.
pub(crate) struct WakesSecond<'a>(&'a SharedTurn);

impl SharedTurn {
    /// Returns a turn of the first attempt.
    pub(crate) fn new() -> Self {
        Self { turn: AtomicU8::new(Turn::First as u8), first: AtomicWaker::new(), second: AtomicWaker::new() }
    }

    pub(crate) fn get(&self) -> Turn {
        Turn::from(self.turn.load(Acquire))
    }

    pub(crate) fn wakes_second(&self) -> WakesSecond<'_> {
        WakesSecond(self)
    }

    /// Returns whether there may be a second attempt, which does not have its turn yet.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.get(), Turn::First | Turn::Undecided)
    }

    /// Changes the turn, unless it is `last`, which is then final. Returns the turn before, as an error if it was that.
    pub(crate) fn change(&self, to: Turn, last: Turn) -> Result<Turn, Turn> {
        let is_open = |turn| (turn != last as u8).then_some(to as u8);
        self.turn.fetch_update(AcqRel, Acquire, is_open).map(Turn::from).map_err(Turn::from)
    }
}

impl Drop for WakesSecond<'_> {
    fn drop(&mut self) {
        // This writes, because a mere read could miss a turn that was given before the lock was found locked.
        if Turn::from(self.0.turn.fetch_or(0, AcqRel)) == Turn::Second {
            self.0.second.wake();
        }
    }
}

impl From<u8> for Turn {
    fn from(turn: u8) -> Self {
        [Self::First, Self::Undecided, Self::Second][..].get(usize::from(turn)).copied().unwrap_or(Self::FirstAlone)
    }
}
