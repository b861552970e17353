//! How long a rejected answer is held while its token is renewed.

use std::time::Duration;

use http_body::Body;

/// How long the answer to the first attempt is held during the renewal, unread. Most failures are known by then, and the answer
/// can be passed on.
///
/// Not longer, because an answer that is not read holds its connection. Over HTTP/2 many of them stop every other stream,
/// and the renewal itself may need the connection.
const HOLD: Duration = Duration::from_millis(100);

/// The same for a small answer. It takes thousands of them to stop other streams, and a renewal that is tried again a few times
/// ends within this time.
const HOLD_SMALL: Duration = Duration::from_millis(2500);

/// The most bytes of a small answer.
const SMALL: u64 = 1024;

/// Returns how long an answer with this body is held. One without a body, or whose body was read to its end, holds nothing, so
/// there is no limit.
pub(crate) fn longest(body: &impl Body) -> Option<Duration> {
    (!body.is_end_stream()).then(|| longest_by_size(body.size_hint().upper()))
}

/// Returns how long an answer is held whose body has at most this many bytes, if that is known.
pub(crate) fn longest_by_size(most: Option<u64>) -> Duration {
    if most.is_some_and(|most| most <= SMALL) { HOLD_SMALL } else { HOLD }
}
