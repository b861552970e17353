//! A request's body. What was sent of it is kept, so that it can be sent once more.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use http::{HeaderMap, HeaderName};
use http_body::{Body, Frame, SizeHint};
use hyper::body::{Bytes, Incoming};
use tower::BoxError;

use crate::{headers, progress::Progress};

/// The most that is kept of a body, in bytes. The layer keeps up to its `replay_cap` for its own retry; both share the memory.
const MAX_KEPT: usize = 64 * 1024;

/// The body as one attempt sends it: first what an earlier attempt has read, then the rest.
pub struct Upload {
    original: Arc<Original>,
    attempt: usize,
    /// How many of the kept chunks this attempt has sent.
    sent: usize,
}

/// The body as the user sends it.
pub struct Original {
    pub progress: Progress,
    /// The header that says whose token the request needs. It is not passed on as a trailer either.
    identity: Option<HeaderName>,
    source: Mutex<Source>,
}

struct Source {
    body: Incoming,
    chunks: Vec<Bytes>,
    trailers: Option<HeaderMap>,
    kept: usize,
    /// Whether all that was read is kept.
    is_complete: bool,
    /// The newest attempt. Only this one may read.
    attempt: usize,
}

impl Upload {
    pub fn new(body: Incoming, identity: Option<HeaderName>) -> (Self, Arc<Original>) {
        let (chunks, trailers) = (Vec::new(), None);
        let source = Source { body, chunks, trailers, kept: 0, is_complete: true, attempt: 0 };
        let original = Arc::new(Original { progress: Progress::new(), identity, source: Mutex::new(source) });
        (Self { original: Arc::clone(&original), attempt: 0, sent: 0 }, original)
    }
}

impl Original {
    /// Returns the body for another attempt, which ends the earlier one. Returns `None` if too much of it was sent.
    pub fn again(self: &Arc<Self>) -> Option<Upload> {
        let mut source = self.source();
        if !source.is_complete {
            return None;
        }
        source.attempt += 1;
        Some(Upload { original: Arc::clone(self), attempt: source.attempt, sent: 0 })
    }

    /// Stops keeping the body: there will not be another attempt.
    pub fn forget(&self) {
        self.source().forget();
    }

    fn source(&self) -> MutexGuard<'_, Source> {
        self.source.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source {
    fn keep(&mut self, frame: &Frame<Bytes>) {
        match (frame.data_ref(), frame.trailers_ref()) {
            _ if !self.is_complete => {}
            (Some(chunk), _) if self.kept + chunk.len() > MAX_KEPT => self.forget(),
            (Some(chunk), _) => {
                self.kept += chunk.len();
                self.chunks.push(chunk.clone());
            }
            (_, trailers) => self.trailers = trailers.cloned(),
        }
    }

    fn forget(&mut self) {
        self.is_complete = false;
        // An attempt may still have to send these chunks, but then it is the second and keeps nothing more.
        if self.attempt == 0 {
            (self.chunks, self.trailers) = (Vec::new(), None);
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let original = Arc::clone(&self.original);
        let mut source = original.source();
        if source.attempt != self.attempt {
            return Poll::Ready(Some(Err("the request is sent again".into())));
        }
        if self.attempt > 0 {
            if let Some(chunk) = source.chunks.get(self.sent) {
                self.sent += 1;
                return Poll::Ready(Some(Ok(Frame::data(chunk.clone()))));
            }
            if let Some(trailers) = source.trailers.take() {
                return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
            }
        }
        let mut frame = Pin::new(&mut source.body).poll_frame(task);
        if let Poll::Ready(Some(Ok(frame))) = &mut frame
            && let Some(trailers) = frame.trailers_mut()
        {
            headers::prepare_trailers(trailers, original.identity.as_ref());
        }
        if let Poll::Ready(frame) = &frame {
            original.progress.record();
            match frame {
                Some(Ok(frame)) if self.attempt == 0 => source.keep(frame),
                Some(Err(_)) => original.progress.break_off(),
                _ => {}
            }
        } else {
            original.progress.wait_for_user();
        }
        frame.map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        let source = self.original.source();
        self.is_past_kept(&source) && source.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let source = self.original.source();
        let rest = source.body.size_hint();
        if self.is_past_kept(&source) {
            return rest;
        }
        let kept = source.chunks[self.sent..].iter().map(Bytes::len).sum::<usize>() as u64;
        let mut hint = SizeHint::new();
        hint.set_lower(kept + rest.lower());
        if let Some(upper) = rest.upper() {
            hint.set_upper(kept + upper);
        }
        hint
    }
}

impl Upload {
    fn is_past_kept(&self, source: &Source) -> bool {
        self.attempt == 0 || self.sent == source.chunks.len() && source.trailers.is_none()
    }
}
