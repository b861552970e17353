//! An API whose answers come in pieces.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::{Ready, ready},
    mem,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use tokio::time::{Sleep, sleep};
use tower::{BoxError, Service};

use crate::support::SECOND;

/// What a poll of a body brings.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Piece {
    Data(&'static str),
    Trailers,
    Fails,
    /// Nothing is ready, and it wakes its task at once.
    Soon,
    /// Nothing is ready for so many milliseconds.
    After(u64),
    Never,
}

/// A body of pieces. It counts how often it was polled, and how many such bodies there are.
pub(crate) struct Pieces {
    left: VecDeque<Piece>,
    sleep: Option<Pin<Box<Sleep>>>,
    has_length: bool,
    polls: Arc<AtomicUsize>,
    _alive: Arc<()>,
}

impl Pieces {
    pub(crate) fn new(pieces: &[Piece], has_length: bool) -> Self {
        Self {
            left: pieces.iter().copied().collect(),
            sleep: None,
            has_length,
            polls: Arc::default(),
            _alive: Arc::default(),
        }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.polls.fetch_add(1, SeqCst);
        let Some(&piece) = self.left.front() else { return Poll::Ready(None) };
        let result = match piece {
            Piece::Never => return Poll::Pending,
            Piece::Soon => {
                self.left.pop_front();
                task.waker().wake_by_ref();
                return Poll::Pending;
            }
            Piece::After(millis) => {
                let sleep =
                    self.sleep.get_or_insert_with(|| Box::pin(sleep(SECOND / 1000 * u32::try_from(millis).unwrap())));
                std::task::ready!(sleep.as_mut().poll(task));
                self.sleep = None;
                self.left.pop_front();
                return self.poll_frame(task);
            }
            Piece::Data(text) => Ok(Frame::data(Bytes::from_static(text.as_bytes()))),
            Piece::Trailers => {
                Ok(Frame::trailers(HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static("1"))])))
            }
            Piece::Fails => Err("the connection broke".into()),
        };
        self.left.pop_front();
        Poll::Ready(Some(result))
    }

    fn is_end_stream(&self) -> bool {
        self.has_length && self.left.iter().all(|piece| matches!(piece, Piece::Soon | Piece::After(_)))
    }

    fn size_hint(&self) -> SizeHint {
        let length = |piece: &Piece| if let Piece::Data(text) = piece { text.len() as u64 } else { 0 };
        let length = self.left.iter().map(length).sum();
        if self.has_length { SizeHint::with_exact(length) } else { SizeHint::default() }
    }
}

pub(crate) type Boxed = UnsyncBoxBody<Bytes, BoxError>;

/// The API. It gives its answers in order, and then `{"ok":true}`.
#[derive(Clone, Default)]
pub(crate) struct PiecesApi {
    answers: Arc<Mutex<VecDeque<Response<Vec<Piece>>>>>,
    authorizations: Arc<Mutex<Vec<String>>>,
    has_length: bool,
    polls: Arc<AtomicUsize>,
    alive: Arc<()>,
}

impl PiecesApi {
    pub(crate) fn answering(answers: impl IntoIterator<Item = Response<Vec<Piece>>>) -> Self {
        Self { answers: Arc::new(Mutex::new(answers.into_iter().collect())), ..Self::default() }
    }

    /// Sets whether its answers state their length.
    pub(crate) fn with_length(mut self, has_length: bool) -> Self {
        self.has_length = has_length;
        self
    }

    /// Returns how often the bodies of its answers were polled.
    pub(crate) fn polls(&self) -> usize {
        self.polls.load(SeqCst)
    }

    /// Returns how many bodies of its answers are there.
    pub(crate) fn bodies(&self) -> usize {
        Arc::strong_count(&self.alive)
    }

    pub(crate) fn take_authorizations(&self) -> Vec<String> {
        mem::take(&mut self.authorizations.lock().unwrap())
    }
}

impl<B> Service<Request<B>> for PiecesApi {
    type Response = Response<Boxed>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Boxed>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let header = request.headers().get("authorization").map_or("none", |value| value.to_str().unwrap());
        self.authorizations.lock().unwrap().push(header.to_owned());
        let answer = self.answers.lock().unwrap().pop_front();
        let answer = answer.unwrap_or_else(|| json([Piece::Data(r#"{"ok":true}"#)]));
        ready(Ok(answer.map(|pieces| {
            let counted = Pieces {
                polls: Arc::clone(&self.polls),
                _alive: Arc::clone(&self.alive),
                ..Pieces::new(&pieces, self.has_length)
            };
            counted.boxed_unsync()
        })))
    }
}

/// Returns an answer of JSON.
pub(crate) fn json(pieces: impl Into<Vec<Piece>>) -> Response<Vec<Piece>> {
    Response::builder().header("content-type", "application/json; charset=utf-8").body(pieces.into()).unwrap()
}

/// Returns what a body consists of, poll by poll: each frame or error, after the size hint and the end that the body stated.
pub(crate) async fn frames<B>(body: B) -> Vec<String>
where
    B: Body<Data = Bytes, Error = BoxError>,
{
    let mut body = Box::pin(body);
    let mut all = Vec::new();
    loop {
        let stated = format!("{:?} {}", body.size_hint(), body.is_end_stream());
        let frame = body.frame().await;
        let is_over = !matches!(&frame, Some(Ok(_)));
        all.push(format!("{stated}: {frame:?}"));
        if is_over {
            return all;
        }
    }
}
