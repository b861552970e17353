//! The part of a body that was read, kept for the second attempt.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// A chunk that is smaller than this and comes after another one is copied. A share of it would hold the transport's whole
/// read buffer of some kilobytes, even for a single byte.
const SMALL: usize = 1024;

/// The data that was read, in order. Large chunks are shared, small ones are copied.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    shared: VecDeque<Bytes>,
    /// The data after all shared chunks.
    small: BytesMut,
    len: usize,
}

impl Chunks {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[inline]
    pub(crate) fn push(&mut self, chunk: Bytes) {
        let is_first = self.len == 0;
        self.len += chunk.len();
        if chunk.len() < SMALL && !is_first {
            self.small.extend_from_slice(&chunk);
        } else if !chunk.is_empty() {
            if !self.small.is_empty() {
                self.seal();
            }
            self.shared.push_back(chunk);
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        if self.shared.is_empty() && !self.small.is_empty() {
            self.seal();
        }
        let chunk = self.shared.pop_front()?;
        self.len -= chunk.len();
        Some(chunk)
    }

    #[cold]
    fn seal(&mut self) {
        self.shared.push_back(self.small.split().freeze());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(chunks: &[&Bytes]) -> Chunks {
        let mut all = Chunks::default();
        for &chunk in chunks {
            all.push(chunk.clone());
        }
        all
    }

    #[test]
    fn what_comes_out_is_what_went_in() {
        let large = Bytes::from(vec![7; SMALL]);
        let (a, b, empty) = (Bytes::from_static(b"a"), Bytes::from_static(b"bc"), Bytes::new());
        let all = [&empty, &a, &b, &empty, &large, &b, &a, &large, &large, &a];
        let mut chunks = chunks(&all);
        assert_eq!(chunks.len(), all.iter().map(|chunk| chunk.len()).sum::<usize>());
        let out: Vec<u8> = std::iter::from_fn(|| chunks.pop()).flatten().collect();
        assert_eq!(out, all.into_iter().flatten().copied().collect::<Vec<_>>());
        assert!(chunks.is_empty());
    }

    #[test]
    fn large_chunks_and_the_first_are_shared() {
        let (first, large) = (Bytes::from(vec![1]), Bytes::from(vec![7; SMALL]));
        let mut chunks = chunks(&[&first, &large]);
        assert_eq!(chunks.pop().unwrap().as_ptr(), first.as_ptr());
        assert_eq!(chunks.pop().unwrap().as_ptr(), large.as_ptr());
    }

    #[test]
    fn a_trickle_is_kept_in_one_piece() {
        let byte = Bytes::from(vec![1]);
        let mut chunks = chunks(&vec![&byte; 10_000]);
        let pieces = std::iter::from_fn(|| chunks.pop()).count();
        assert_eq!(pieces, 2, "the first, and all the others");
        drop(chunks);
        assert!(byte.is_unique(), "the sender's buffer is not held");
    }
}
