//! One body, read by the first attempt and, if that is rejected, to its end by the second.
//!
//! These are the rules for who may read:
//!
//! - The first attempt locks the body for a poll. A share of each frame is kept, up to the cap.
//! - The keeper ends the first attempt's turn. If it hands the body over to a second attempt while a poll of the first is
//!   in progress, the frame of that poll is kept, and the first gets it too or an error. So no chunk is lost, and none is sent
//!   twice in one attempt.
//! - The second attempt sends what was kept and then takes the body for good. While the first attempt has the body locked, the
//!   second waits for the lock.
//! - A first attempt that lost its turn before the end of the body waits for the decision, because its answer may still be
//!   needed. If there will be a second attempt, the first gets an error at once: its body must not look complete to the
//!   server, and it must not hold the connection that the second may need.
//! - If there will be no second attempt, the first takes the body for good, and reads it without a lock.
//! - If a poll panics, the body is lost, and the second attempt gets an error.
//!
//! The turn becomes `Second` or `FirstAlone` once, and then stays. Only the keeper makes it `Second`.

use std::sync::Arc;

use crate::replay::{
    body_state::{Shared, SharedBody},
    first_body::FirstBody,
    second_body::SecondBody,
    turn::Turn,
};

/// Decides whether there is a second attempt. If it is dropped before it has handed the body over, the first attempt has
/// its turn again.
pub(crate) struct Keeper<B>(SharedBody<B>);

/// Makes the first attempt's part of a body, and its keeper. `whole` is the size of the body, if it is known.
pub(crate) fn split<B>(body: B, cap: usize, whole: Option<u64>) -> (FirstBody<B>, Keeper<B>) {
    let shared = Arc::new(Shared::new(body));
    (FirstBody::new(Arc::clone(&shared), cap, whole), Keeper(shared))
}

impl<B> Keeper<B> {
    /// Ends the first attempt's turn until the decision.
    pub(crate) fn pause(&self) {
        let _ = self.0.turn.change(Turn::Undecided, Turn::FirstAlone);
    }

    /// Hands the body over to a second attempt. Returns `None` if the whole body cannot be sent again.
    pub(crate) fn take_over(self) -> Option<SecondBody<B>> {
        self.0.turn.change(Turn::Second, Turn::FirstAlone).ok()?;
        self.0.turn.first.wake();
        Some(SecondBody::new(Arc::clone(&self.0)))
    }
}

impl<B> Drop for Keeper<B> {
    fn drop(&mut self) {
        if self.0.turn.change(Turn::FirstAlone, Turn::Second) == Ok(Turn::Undecided) {
            self.0.turn.first.wake();
        }
    }
}
