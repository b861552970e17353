//! The trait that says how a body is kept.

/// A way to keep a request's body, so that the request can be sent a second time.
///
/// [`CloneBody`](crate::replay::CloneBody), [`Tee`](crate::replay::Tee) and [`NoReplay`](crate::replay::NoReplay) are
/// ready-made. Your own takes a few lines: for a body that is read from a file, keep the path and open the file again.
///
/// A layer clones its strategy once for each core. Put what the clones share into an `Arc`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot keep a request body of type `{B}` for the retry",
    label = "this cannot keep a `{B}` for the retry",
    note = "`CloneBody`, the default of `BearerAuthLayer`, needs a request body that is `Clone`",
    note = "for a body that boxes another one, such as those of axum and tonic: `.replay(Tee::of(Body::new))` on the `BearerAuthLayer`",
    note = "for any other stream: `.replay(Tee::in_place())`, with `.map_request(|r: Request<_>| r.map(ReplayBody::new))` above the layer",
    note = "for a `reqwest::Body`: `.replay(KeepBody::new())`, of the crate `tower-bearer-reqwest`",
    note = "to send each request once, call `.without_retry()` on the `BearerAuthLayer`"
)]
pub trait Replay<B> {
    /// What is kept.
    type Kept;

    /// Returns the body to send, and what is kept of it. Called before the first attempt. With `None`, this request is
    /// not retried.
    fn keep(&self, body: B) -> (B, Option<Self::Kept>);

    /// Stops the first attempt from reading more of the body. Called when the first attempt was rejected, before it is
    /// decided whether there is a second. Without a second attempt, what was kept is dropped. Default: does nothing.
    fn pause(&self, kept: &mut Self::Kept) {
        let _ = kept;
    }

    /// Returns the body of the second attempt, or `None` if this body cannot be sent again.
    fn replay(&self, kept: Self::Kept) -> Option<B>;
}

/// With `None`, no body is kept, so no request is sent a second time. For programs whose users switch the retry off.
#[diagnostic::do_not_recommend]
impl<B, R: Replay<B>> Replay<B> for Option<R> {
    type Kept = R::Kept;

    fn keep(&self, body: B) -> (B, Option<R::Kept>) {
        match self {
            Some(strategy) => strategy.keep(body),
            None => (body, None),
        }
    }

    fn pause(&self, kept: &mut R::Kept) {
        if let Some(strategy) = self {
            strategy.pause(kept);
        }
    }

    fn replay(&self, kept: R::Kept) -> Option<B> {
        self.as_ref()?.replay(kept)
    }
}
