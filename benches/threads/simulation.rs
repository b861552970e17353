//! Many cores and the cache lines that they share, each with a queue before it.

use std::{cmp::Reverse, collections::BinaryHeap};

/// A millisecond in picoseconds: long enough for the queues to settle.
const END: u32 = 1_000_000_000;

/// A hit takes `apart` nanoseconds that no other core notices, and `shared` on lines of which each is at one core at a
/// time. It goes from line to line, and both times are spread evenly over them.
pub(crate) fn hits_a_second(cores: u32, apart: f64, shared: f64, lines: u32) -> f64 {
    if lines == 0 {
        return f64::from(cores) * 1e9 / (apart + shared);
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time of one hit")]
    let [apart, shared] = [apart, shared].map(|time| (time * 1e3 / f64::from(lines)) as u64);
    let mut free_at = vec![0; lines as usize];
    // Who comes to which line, and when.
    let mut arrivals: BinaryHeap<_> = (0..cores).map(|core| Reverse((u64::from(core), core, 0))).collect();
    let mut hits = 0;
    while let Some(Reverse((now, core, line))) = arrivals.pop()
        && now < u64::from(END)
    {
        let free_at: &mut u64 = &mut free_at[line];
        *free_at = now.max(*free_at) + shared;
        let next = (line + 1) % lines as usize;
        hits += u32::from(next == 0);
        arrivals.push(Reverse((*free_at + apart, core, next)));
    }
    f64::from(hits) * 1e12 / f64::from(END)
}
