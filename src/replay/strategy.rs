//! The trait.

/// A way to keep a request's body, so that the request can be sent a second time.
///
/// [`CloneBody`](crate::replay::CloneBody), [`Tee`](crate::replay::Tee) and [`NoReplay`](crate::replay::NoReplay) are
/// ready-made. One's own is a few lines: for a body that is read from a file, keep the path and open it again.
///
/// A layer clones it once a core: what the clones have in common belongs in an `Arc`.
pub trait Replay<B> {
    /// What is kept.
    type Kept;

    /// Called before the first attempt: gives back the body to send, and what is kept of it. `None`: this request is not
    /// retried.
    fn keep(&self, body: B) -> (B, Option<Self::Kept>);

    /// Called when the first attempt was rejected, before it is known whether there can be a second: what was not read of
    /// the body need not be read for the first one any more. If there is no second, what was kept is dropped. Default: does
    /// nothing.
    fn pause(&self, kept: &mut Self::Kept) {
        let _ = kept;
    }

    /// Called before the second attempt. `None`: it turned out that this body cannot be sent again.
    fn replay(&self, kept: Self::Kept) -> Option<B>;
}
