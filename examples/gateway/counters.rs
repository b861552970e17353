//! Counts of requests, by how they ended.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How a request ended. These are the values of a metric's label, so there are few, and users cannot add any.
#[derive(Clone, Copy, Debug)]
pub enum Ending {
    /// The upstream answered the first attempt.
    Answered,
    /// The same, after a wait for a token.
    Waited,
    /// The token was rejected, and the upstream answered a second attempt.
    Retried,
    /// The token was rejected or is not sufficient, and the upstream's response is forwarded.
    NotRetried,
    /// Not sent, because a token was missing.
    NoToken,
    Unreachable,
    Timeout,
    /// Not sent, because the request's target or identity is not valid here.
    Refused,
    /// The user closed the connection before the response or before the end of the request.
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
    /// Starts a request.
    pub fn start(&self) -> InFlight<'_> {
        InFlight { counters: self, ending: Ending::Gone }
    }

    pub fn count(&self, ending: Ending) -> u64 {
        self.0[ending as usize].load(Relaxed)
    }
}

/// A request in progress. It is counted when it is dropped, also if it is cancelled.
pub struct InFlight<'a> {
    counters: &'a Counters,
    pub ending: Ending,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.counters.0[self.ending as usize].fetch_add(1, Relaxed);
    }
}
