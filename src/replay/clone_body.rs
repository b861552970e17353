//! A strategy for bodies that can be cloned.

use crate::replay::strategy::Replay;

/// Keeps a clone of the body. For bodies that are cheap to clone, such as `Full<Bytes>`, `Empty` or `String`. This is the
/// default.
#[derive(Clone, Copy, Debug, Default)]
pub struct CloneBody;

#[diagnostic::do_not_recommend]
impl<B: Clone> Replay<B> for CloneBody {
    type Kept = B;

    fn keep(&self, body: B) -> (B, Option<B>) {
        let kept = body.clone();
        (body, Some(kept))
    }

    fn replay(&self, kept: B) -> Option<B> {
        Some(kept)
    }
}
