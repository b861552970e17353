//! What a scripted API does with one request.

use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderName, LOCATION, WWW_AUTHENTICATE};
use http::{HeaderValue, Response};

use crate::testing::response::status;

/// What an [`Upstream`](super::Upstream) does with one request.
///
/// ```
/// use std::time::Duration;
/// use tower_bearer::testing::Reply;
///
/// let busy = Reply::status(503).header("retry-after", "1").body("busy").delay(Duration::from_millis(20));
/// # let _ = busy;
/// ```
#[derive(Clone, Debug)]
#[must_use = "a reply does nothing until an upstream has it"]
pub struct Reply {
    pub(super) end: End,
    pub(super) delay: Duration,
    pub(super) before_reading: bool,
}

/// How a request ends.
#[derive(Clone, Debug)]
pub(super) enum End {
    Answer(Response<Bytes>),
    Close,
    Hang,
}

impl Reply {
    /// Returns a reply with this status and an empty body. A number that is not an HTTP status becomes 500.
    pub fn status(code: u16) -> Self {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = status(code);
        Self::ending(End::Answer(response))
    }

    /// Returns a 401 whose challenge says that the token is not valid (RFC 6750 §3.1).
    pub fn unauthorized() -> Self {
        Self::status(401).header(WWW_AUTHENTICATE.as_str(), r#"Bearer error="invalid_token""#)
    }

    /// Returns a redirect with this status to a URL.
    ///
    /// # Panics
    /// When a header cannot have this URL.
    pub fn redirect(code: u16, location: &str) -> Self {
        Self::status(code).header(LOCATION.as_str(), location)
    }

    /// Closes the connection instead of an answer. In process, the error is an [`Outage`](super::Outage).
    pub fn close() -> Self {
        Self::ending(End::Close)
    }

    /// Never answers, while the connection stays open.
    pub fn hang() -> Self {
        Self::ending(End::Hang)
    }

    /// Sets a header of the answer. A reply that does not answer has none.
    ///
    /// # Panics
    /// When HTTP does not allow the name or the value.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().expect("the name of a header");
        let value: HeaderValue = value.parse().expect("the value of a header");
        if let End::Answer(response) = &mut self.end {
            response.headers_mut().insert(name, value);
        }
        self
    }

    /// Sets the body of the answer. Default: empty. A reply that does not answer has none.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        if let End::Answer(response) = &mut self.end {
            *response.body_mut() = body.into();
        }
        self
    }

    /// Waits for this duration of tokio's time before the request ends. Default: zero.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Ends the request before its body is read. By default, the whole body is read first.
    ///
    /// On loopback, the body is not read for 100 ms after that. Then the rest is read and recorded, so that the answer is not lost.
    /// In process, it is not read at all.
    pub fn before_reading(mut self) -> Self {
        self.before_reading = true;
        self
    }

    pub(super) fn answering(response: Response<Bytes>) -> Self {
        Self::ending(End::Answer(response))
    }

    fn ending(end: End) -> Self {
        Self { end, delay: Duration::ZERO, before_reading: false }
    }
}
