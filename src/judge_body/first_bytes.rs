//! Reads the first bytes of a body until a rule has decided.

use std::{
    collections::VecDeque,
    future::pending,
    io::IoSlice,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Buf;
use http_body::{Body, Frame, SizeHint};

use crate::{
    extensions::BodyVerdict,
    judge_body::rule::BodyRule,
    timer::{Sleep, timeout},
};

/// The longest time to wait for bytes that the rule needs, in all. An answer may be a stream that has nothing to say for hours.
const MAX_WAIT: Duration = Duration::from_millis(500);

/// How many frames without data are read. A body may send them without end.
const MAX_EMPTY_FRAMES: usize = 256;

/// The result of one poll.
pub(super) struct Read<B: Body> {
    pub(super) polled: Option<Result<Frame<B::Data>, B::Error>>,
    /// The body's size hint before this poll.
    pub(super) hint_before: SizeHint,
}

/// A body that is read until the rule has decided.
pub(super) struct FirstBytes<B: Body> {
    body: Pin<Box<B>>,
    read: VecDeque<Read<B>>,
    /// The bytes of `read`, up to the limit.
    seen: Vec<u8>,
    /// How many bytes may still be read.
    left: usize,
    /// How many frames without data may still be read.
    empty_left: usize,
    is_news: bool,
    deadline: Option<Sleep>,
}

impl<B: Body> FirstBytes<B> {
    pub(super) fn new(body: B, limit: usize) -> Self {
        Self {
            body: Box::pin(body),
            read: VecDeque::new(),
            seen: Vec::new(),
            left: limit,
            empty_left: MAX_EMPTY_FRAMES,
            is_news: false,
            deadline: None,
        }
    }

    /// Returns what the rule says. `Undecided` means that there are no more bytes within the limits.
    pub(super) fn poll(&mut self, rule: &BodyRule, task: &mut Context<'_>) -> Poll<BodyVerdict> {
        while self.left > 0 && !self.body.is_end_stream() {
            let hint_before = self.body.size_hint();
            let Poll::Ready(polled) = self.body.as_mut().poll_frame(task) else {
                if self.is_news {
                    self.is_news = false;
                    let verdict = rule.judge(&self.seen);
                    if verdict != BodyVerdict::Undecided {
                        return Poll::Ready(verdict);
                    }
                }
                let wait = || Box::pin(async { timeout(MAX_WAIT, pending()).await.unwrap_or_default() }) as Sleep;
                ready!(self.deadline.get_or_insert_with(wait).as_mut().poll(task));
                return Poll::Ready(BodyVerdict::Undecided);
            };
            match &polled {
                Some(Ok(frame)) => self.look_at(frame),
                // There is no more.
                Some(Err(_)) | None => self.left = 0,
            }
            self.read.push_back(Read { polled, hint_before });
        }
        Poll::Ready(rule.judge(&self.seen))
    }

    /// Copies what fits of a frame's data.
    fn look_at(&mut self, frame: &Frame<B::Data>) {
        let Some(data) = frame.data_ref().filter(|data| data.has_remaining()) else {
            self.empty_left -= 1;
            if self.empty_left == 0 {
                self.left = 0;
            }
            return;
        };
        let mut room = self.left;
        let mut parts = [IoSlice::new(&[]); 16];
        let shown = data.chunks_vectored(&mut parts);
        for part in parts.iter().take(shown) {
            let seen = &part[..part.len().min(room)];
            self.seen.extend_from_slice(seen);
            room -= seen.len();
        }
        let copied = self.left - room;
        self.is_news |= copied > 0;
        // Data in many pieces may not show all of them. What comes after a gap cannot be judged.
        self.left = if copied < data.remaining() { 0 } else { room };
    }

    /// Returns whether the body was read to its end, or to an error.
    pub(super) fn is_whole(&self) -> bool {
        let is_over = |last: &Read<B>| !matches!(last.polled, Some(Ok(_)));
        self.body.is_end_stream() || self.read.back().is_some_and(is_over)
    }

    /// Returns the body, and what was read of it.
    pub(super) fn into_parts(self) -> (Pin<Box<B>>, VecDeque<Read<B>>) {
        (self.body, self.read)
    }
}
