//! How requests ended.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// One label's values; few, and none of a user's making.
#[derive(Clone, Copy, Debug)]
pub enum Ending {
    /// Answered by the upstream, at the first attempt.
    Answered,
    /// The same, after a wait for the token.
    Waited,
    /// Its token was rejected; this is the answer to the second attempt.
    Retried,
    /// Its token was rejected or is not enough, and the upstream's answer is passed on.
    NotRetried,
    /// Not sent, for want of a token.
    NoToken,
    Unreachable,
    Timeout,
    /// Not sent, because its target is none.
    Refused,
    /// The user did not wait for the answer, or did not finish the request.
    Gone,
}

impl Ending {
    pub const ALL: [Self; 9] = [
        Self::Answered,
        Self::Waited,
        Self::Retried,
        Self::NotRetried,
        Self::NoToken,
        Self::Unreachable,
        Self::Timeout,
        Self::Refused,
        Self::Gone,
    ];

    pub fn label(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Waited => "waited",
            Self::Retried => "retried",
            Self::NotRetried => "not_retried",
            Self::NoToken => "no_token",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Refused => "refused",
            Self::Gone => "gone",
        }
    }
}

#[derive(Default)]
pub struct Counters([AtomicU64; Ending::ALL.len()]);

impl Counters {
    /// Begins a request.
    pub fn begin(&self) -> Running<'_> {
        Running { counters: self, ending: Ending::Gone }
    }

    pub fn of(&self, ending: Ending) -> u64 {
        self.0[ending as usize].load(Relaxed)
    }
}

/// A request that runs. Counted when it is dropped, in whichever way that comes about.
pub struct Running<'a> {
    counters: &'a Counters,
    pub ending: Ending,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.counters.0[self.ending as usize].fetch_add(1, Relaxed);
    }
}
