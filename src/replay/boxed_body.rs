//! A boxed body with a name of its own.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::{error::BoxError, replay::replay_body::ReplayBody};

/// A request body of any kind in a box, for clients that send different kinds of bodies.
///
/// A [`Tee::boxed`](crate::replay::Tee::boxed) keeps it. A future that sends it can be spawned, which the compiler refuses for
/// `UnsyncBoxBody<Bytes, BoxError>` in an `async` block ("not general enough").
///
/// ```
/// use http_body_util::Full;
/// use tower_bearer::replay::BoxedBody;
///
/// let body = BoxedBody::new(Full::from("hello"));
/// assert_eq!(http_body::Body::size_hint(&body).exact(), Some(5));
/// ```
///
/// A stream of chunks becomes a body by `StreamBody`:
///
/// ```
/// use bytes::Bytes;
/// use http_body::Frame;
/// use http_body_util::StreamBody;
/// use tower_bearer::replay::BoxedBody;
///
/// let chunks = ["first ", "second"].map(|text| Ok::<_, std::io::Error>(Frame::data(Bytes::from(text))));
/// let body = BoxedBody::new(StreamBody::new(futures::stream::iter(chunks)));
/// ```
pub struct BoxedBody(Pin<Box<dyn Body<Data = Bytes, Error = BoxError> + Send>>);

impl BoxedBody {
    /// Puts a body into a box.
    pub fn new<B>(body: B) -> Self
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        // A `ReplayBody` also converts the error.
        Self(Box::pin(ReplayBody::new(body)))
    }

    /// Puts the body of an attempt into a box.
    pub(crate) fn of_attempt(body: ReplayBody<Self>) -> Self {
        Self(Box::pin(body))
    }
}

impl Body for BoxedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.as_mut().poll_frame(task)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

impl fmt::Debug for BoxedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BoxedBody")
    }
}
