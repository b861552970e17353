//! A simulation of many cores and the cache lines that they share, each with a queue.

use std::{cmp::Reverse, collections::BinaryHeap};

/// One millisecond in picoseconds, which is long enough for the queues to become stable.
const END: u32 = 1_000_000_000;

/// Returns the hits per second. A hit takes `apart` nanoseconds on its own, and `shared` nanoseconds on shared lines,
/// each of which is at one core at a time. It uses the lines in turn, and both times are spread evenly over them.
pub(crate) fn hits_a_second(cores: u32, apart: f64, shared: f64, lines: u32) -> f64 {
    if lines == 0 {
        return f64::from(cores) * 1e9 / (apart + shared);
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time of one hit")]
    let [apart, shared] = [apart, shared].map(|time| (time * 1e3 / f64::from(lines)) as u64);
    let mut free_at = vec![0; lines as usize];
    // Which core arrives at which line, and when.
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
