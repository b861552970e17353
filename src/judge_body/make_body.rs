//! Which type the body of an answer has.

use std::fmt;

use http_body::Body;

use crate::judge_body::body::JudgedBody;

/// The type of the body of an answer is [`JudgedBody`]. This is the default of
/// [`JudgeBodyLayer`](crate::judge_body::JudgeBodyLayer).
#[derive(Clone, Copy, Debug)]
pub struct Wrapped;

/// The body of an answer keeps its type: this function makes it from a [`JudgedBody`].
#[derive(Clone, Copy)]
pub struct Made<F>(pub(super) F);

/// Makes the body of an answer.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot make the body of an answer from a `JudgedBody<{B}>`",
    label = "this cannot make the body of an answer",
    note = "the function of `JudgeBodyLayer::body` has to return the type of body that the inner service's answers have"
)]
pub trait MakeBody<B: Body> {
    /// The type of the body that is made.
    type Body: Body;

    /// Returns the body of an answer that was not looked at.
    fn unread(&self, body: B) -> Self::Body;

    /// Returns the body of an answer that was looked at.
    fn judged(&self, body: JudgedBody<B>) -> Self::Body;
}

#[diagnostic::do_not_recommend]
impl<B: Body> MakeBody<B> for Wrapped {
    type Body = JudgedBody<B>;

    fn unread(&self, body: B) -> JudgedBody<B> {
        JudgedBody::unread(body)
    }

    fn judged(&self, body: JudgedBody<B>) -> JudgedBody<B> {
        body
    }
}

#[diagnostic::do_not_recommend]
impl<B: Body, F: Fn(JudgedBody<B>) -> B> MakeBody<B> for Made<F> {
    type Body = B;

    fn unread(&self, body: B) -> B {
        body
    }

    fn judged(&self, body: JudgedBody<B>) -> B {
        (self.0)(body)
    }
}

impl<F> fmt::Debug for Made<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Made")
    }
}
