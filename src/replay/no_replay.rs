//! A strategy that keeps nothing.

use std::convert::Infallible;

use crate::replay::strategy::Replay;

/// Keeps nothing. A rejected request is not sent again, but its token is renewed for the next one. For any body.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoReplay;

impl<B> Replay<B> for NoReplay {
    type Kept = Infallible;

    fn keep(&self, body: B) -> (B, Option<Infallible>) {
        (body, None)
    }

    fn replay(&self, kept: Infallible) -> Option<B> {
        match kept {}
    }
}
