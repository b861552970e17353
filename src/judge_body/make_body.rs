//! Which type the body of an answer has.

use std::{fmt, marker::PhantomData};

use http_body::Body;

use crate::judge_body::body::JudgedBody;

/// The type of the body of an answer is [`JudgedBody`]. This is the default of
/// [`JudgeBodyLayer`](crate::judge_body::JudgeBodyLayer).
#[derive(Clone, Copy, Debug)]
pub struct Wrapped;

/// The body of an answer keeps its type `B`: this function makes it from a [`JudgedBody`].
pub struct Made<F, B> {
    make: F,
    made: PhantomData<fn() -> B>,
}

impl<F, B> Made<F, B> {
    pub(super) fn by(make: F) -> Self {
        Self { make, made: PhantomData }
    }
}

/// A function that makes the body of an answer, of the type that it had before. It is a trait of its own, so that the compiler can
/// say what to do.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a function that makes the body of an answer from a `JudgedBody`",
    label = "this cannot make the body of an answer",
    note = "`JudgeBodyLayer::body` needs a function from a `JudgedBody<B>` to a `B`, where `B` is the type of body that the inner service's answers have",
    note = "for a boxed body: `.body(|body| Body::new(body))`"
)]
pub trait BodyFn<B: Body>: Fn(JudgedBody<B>) -> B {}

#[diagnostic::do_not_recommend]
impl<B: Body, F: Fn(JudgedBody<B>) -> B> BodyFn<B> for F {}

/// Makes the body of an answer.
#[diagnostic::on_unimplemented(
    message = "the function of `JudgeBodyLayer::body` does not make the type of body that the inner service's answers have, `{B}`",
    label = "this function makes another type of body",
    note = "the function has to return a `{B}`; or map the body of the inner service's answers to what it returns, below the layer",
    note = "without a call of `JudgeBodyLayer::body`, the body of the answers is a `JudgedBody`"
)]
pub trait MakeBody<B: Body> {
    /// The type of the body that is made.
    type Body: Body;

    /// Returns the body of an answer that was not looked at.
    fn unread(&self, body: B) -> Self::Body;

    /// Returns the body of an answer that was looked at.
    fn judged(&self, body: JudgedBody<B>) -> Self::Body;
}

impl<B: Body> MakeBody<B> for Wrapped {
    type Body = JudgedBody<B>;

    fn unread(&self, body: B) -> JudgedBody<B> {
        JudgedBody::unread(body)
    }

    fn judged(&self, body: JudgedBody<B>) -> JudgedBody<B> {
        body
    }
}

impl<B: Body, F: BodyFn<B>> MakeBody<B> for Made<F, B> {
    type Body = B;

    fn unread(&self, body: B) -> B {
        body
    }

    fn judged(&self, body: JudgedBody<B>) -> B {
        (self.make)(body)
    }
}

impl<F: Clone, B> Clone for Made<F, B> {
    fn clone(&self) -> Self {
        Self::by(self.make.clone())
    }
}

impl<F: Copy, B> Copy for Made<F, B> {}

impl<F, B> fmt::Debug for Made<F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Made")
    }
}
