//! One body, read by the first attempt and, if that is rejected, to its end by the second.
//!
//! These are the rules for who may read:
//!
//! - The first attempt takes the body out for a poll and puts it back. A share of each frame is kept, up to the cap.
//! - The keeper ends the first attempt's turn. If it hands the body over to a second attempt while a poll of the first is
//!   in progress, the frame of that poll is kept and not given to the first. So no chunk is lost, and none is sent twice
//!   in one attempt.
//! - The second attempt sends what was kept and then takes the body for good. While the first attempt has it, the second
//!   waits, and is woken when the body is put back.
//! - A first attempt that lost its turn before the end of the body waits for the decision, because its answer may still be
//!   needed. If there will be a second attempt, the first gets an error at once: its body must not look complete to the
//!   server, and it must not hold the connection that the second may need.
//! - If a poll panics, the body is lost, and the second attempt gets an error.
//!
//! Each attempt holds one handle to the state. A first attempt that holds the only one knows that there will be no second.

use std::sync::Arc;

use crate::replay::{
    body_state::{Shared, SharedBody, Turn, Unread},
    first_body::FirstBody,
    second_body::SecondBody,
};

/// Decides whether there is a second attempt. If it is dropped before it has handed the body over, the first attempt has
/// its turn again.
pub(crate) struct Keeper<B>(Option<SharedBody<B>>);

/// Makes the first attempt's part of a body, and its keeper. `whole` is the size of the body, if it is known.
pub(crate) fn split<B>(body: B, cap: usize, whole: Option<u64>) -> (FirstBody<B>, Keeper<B>) {
    let shared = Arc::new(Shared::new(body));
    (FirstBody::new(Arc::clone(&shared), cap, whole), Keeper(Some(shared)))
}

impl<B> Keeper<B> {
    /// Ends the first attempt's turn until the decision.
    pub(crate) fn pause(&self) {
        if let Some(shared) = &self.0 {
            let mut state = shared.lock();
            if state.turn == Turn::First {
                state.turn = Turn::Undecided;
            }
        }
    }

    /// Hands the body over to a second attempt. Returns `None` if the whole body cannot be sent again.
    pub(crate) fn take_over(mut self) -> Option<SecondBody<B>> {
        let shared = self.0.as_ref()?;
        let mut state = shared.lock();
        if matches!(state.unread, Unread::Gone) {
            return None;
        }
        state.turn = Turn::Second;
        drop(state);
        shared.first.wake();
        self.0.take().map(SecondBody::new)
    }
}

impl<B> Drop for Keeper<B> {
    fn drop(&mut self) {
        let Some(shared) = &self.0 else { return };
        let mut state = shared.lock();
        if state.turn == Turn::Undecided {
            state.turn = Turn::First;
            drop(state);
            shared.first.wake();
        }
    }
}
