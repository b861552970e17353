//! The request body of a check.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// The size of a chunk of a stream.
const CHUNK: usize = 16 * 1024;

/// A request body that [`check_stack`](super::super::check_stack) sends: bytes in memory, or a stream of chunks without a declared
/// length.
///
/// It is an `http_body::Body`, so `BoxedBody::new`, `axum::body::Body::new` and `reqwest::Body::wrap` make the stack's own type of
/// it. For a stack whose bodies are always in memory, use [`into_bytes`](Self::into_bytes).
#[derive(Debug)]
pub struct TestBody {
    chunks: VecDeque<Bytes>,
    is_stream: bool,
    pauses: bool,
    in_memory: Arc<AtomicBool>,
}

impl TestBody {
    pub(super) fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let chunks = if bytes.is_empty() { VecDeque::new() } else { VecDeque::from([bytes]) };
        Self { chunks, is_stream: false, pauses: false, in_memory: Arc::default() }
    }

    /// Returns a stream, and whether [`into_bytes`](Self::into_bytes) made it something else.
    pub(super) fn stream(bytes: &Bytes) -> (Self, Arc<AtomicBool>) {
        let chunks = (0..bytes.len()).step_by(CHUNK).map(|at| bytes.slice(at..bytes.len().min(at + CHUNK))).collect();
        let in_memory = Arc::new(AtomicBool::new(false));
        (Self { chunks, is_stream: true, pauses: true, in_memory: Arc::clone(&in_memory) }, in_memory)
    }

    /// Returns the whole body as bytes. The check of streams is then not applicable.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.in_memory.store(true, Relaxed);
        let mut chunks = Vec::from(self.chunks);
        if chunks.len() == 1 { chunks.swap_remove(0) } else { chunks.concat().into() }
    }
}

impl Body for TestBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        // A stream is pending before each chunk, as one that reads a socket.
        if self.is_stream && std::mem::replace(&mut self.pauses, false) {
            task.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.pauses = true;
        Poll::Ready(self.chunks.pop_front().map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        !self.is_stream && self.chunks.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_stream {
            return SizeHint::new();
        }
        SizeHint::with_exact(self.chunks.iter().map(|chunk| chunk.len() as u64).sum())
    }
}
