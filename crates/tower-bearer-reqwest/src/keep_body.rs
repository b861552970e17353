//! How a body of reqwest is kept for the second attempt.

use std::{
    fmt,
    pin::pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http_body_util::BodyExt;
use reqwest::Body;
use tower_bearer::replay::{self, Replay, ReplayBody, Tee};

type StreamTee = Tee<fn(ReplayBody<Body>) -> Body>;

/// Keeps a [`reqwest::Body`] for the second attempt.
///
/// - A body in memory (`.json(…)`, `.form(…)`, `.body(…)` of bytes or text) is kept whatever its size. Its bytes are shared, not
///   copied. In both attempts it stays a body in memory, so reqwest still follows a 307 or 308 with it.
/// - A stream (`Body::wrap_stream`, `Body::wrap`, a file, `.multipart(…)`) is kept by a [`Tee`]: what was sent, up to a
///   [cap](Self::stream_cap). reqwest follows no 307 or 308 with a stream, with or without this crate.
///
/// [`BearerClient::new`](crate::BearerClient::new) sets it. Name it to set the cap, or in a tower stack.
///
/// ```
/// # use tower_bearer::{BearerAuthLayer, FixedToken};
/// # use tower_bearer_reqwest::{BearerClient, KeepBody};
/// # let (client, layer) = (reqwest::Client::new(), BearerAuthLayer::new(FixedToken::new("t")?));
/// // Uploads by streams, such as multipart forms, of up to 8 MiB.
/// let layer = layer.replay(KeepBody::new().stream_cap(8 * 1024 * 1024));
/// let api = BearerClient::with_replay(client, layer);
/// # Ok::<(), tower_bearer::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct KeepBody {
    tee: StreamTee,
}

/// What a [`KeepBody`] keeps of a body.
pub struct KeptBody(Kept);

enum Kept {
    Bytes(Bytes),
    Stream(replay::KeptBody<Body>),
}

impl KeepBody {
    /// Returns the strategy with the default cap of a [`Tee`].
    #[must_use]
    pub const fn new() -> Self {
        Self { tee: Tee::new(Body::wrap) }
    }

    /// Sets how many bytes of a stream are kept at most. Default: that of [`Tee::cap`]. It does not apply to a body in memory.
    #[must_use]
    pub const fn stream_cap(self, bytes: usize) -> Self {
        Self { tee: self.tee.cap(bytes) }
    }
}

impl Replay<Body> for KeepBody {
    type Kept = KeptBody;

    fn keep(&self, body: Body) -> (Body, Option<KeptBody>) {
        if body.as_bytes().is_none() {
            let (body, kept) = Replay::<Body>::keep(&self.tee, body);
            return (body, kept.map(|kept| KeptBody(Kept::Stream(kept))));
        }
        let bytes = take_bytes(body);
        (Body::from(bytes.clone()), Some(KeptBody(Kept::Bytes(bytes))))
    }

    fn pause(&self, kept: &mut KeptBody) {
        if let Kept::Stream(kept) = &mut kept.0 {
            Replay::<Body>::pause(&self.tee, kept);
        }
    }

    fn replay(&self, kept: KeptBody) -> Option<Body> {
        match kept.0 {
            Kept::Bytes(bytes) => Some(bytes.into()),
            Kept::Stream(kept) => Replay::<Body>::replay(&self.tee, kept),
        }
    }
}

/// Takes the bytes out of a body in memory. They are in one chunk, and are not copied.
fn take_bytes(body: Body) -> Bytes {
    match pin!(body.collect()).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(collected)) => collected.to_bytes(),
        _ => unreachable!("a body in memory is ready"),
    }
}

impl Default for KeepBody {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for KeepBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeepBody").field("stream", &self.tee).finish()
    }
}

impl fmt::Debug for KeptBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeptBody")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_in_memory_is_shared_and_stays_in_memory() {
        for size in [0, 1, 3 << 20] {
            let bytes = Bytes::from(vec![7; size]);
            let (first, kept) = KeepBody::new().keep(Body::from(bytes.clone()));
            let second = KeepBody::new().replay(kept.unwrap()).unwrap();
            for attempt in [first, second] {
                let sent = attempt.as_bytes().unwrap();
                assert_eq!(sent, bytes);
                assert!(size == 0 || sent.as_ptr() == bytes.as_ptr(), "it was copied");
            }
        }
    }
}
