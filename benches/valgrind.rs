//! Counts what a request costs, by running the program again under valgrind.

use std::{env, process::Command};

const CALLGRIND: &[&str] =
    &["--tool=callgrind", "--collect-bus=yes", "--callgrind-out-file=/dev/null", "--toggle-collect=*counted_requests*"];
const MEMCHECK: &[&str] = &["--tool=memcheck", "--leak-check=no"];

/// The cost of one request, without its time.
pub(crate) struct Counts {
    pub(crate) instructions: f64,
    /// The number of these instructions that lock a cache line, shared or not.
    pub(crate) locked: f64,
    pub(crate) allocations: f64,
}

/// Counts the cost of one of `times` requests of a service. A request has this many headers.
pub(crate) fn count(service: &str, times: u64, headers: usize) -> Counts {
    let [instructions, locked] = valgrind(service, times, headers, CALLGRIND, "Collected");
    let allocations = |times| valgrind::<1>(service, times, headers, MEMCHECK, "total heap usage")[0];
    // The allocations at the start and at the end are in both numbers.
    let allocations = allocations(times) - allocations(0);
    #[expect(clippy::cast_precision_loss, reason = "far from 2^52")]
    let each = |count: u64| count as f64 / times as f64;
    let [instructions, locked, allocations] = [instructions, locked, allocations].map(each);
    Counts { instructions, locked, allocations }
}

/// Runs this program again for this service alone, and reads the numbers after a word in valgrind's report.
fn valgrind<const NUMBERS: usize>(
    service: &str,
    times: u64,
    headers: usize,
    options: &[&str],
    word: &str,
) -> [u64; NUMBERS] {
    let output = Command::new("valgrind")
        .args(options)
        .arg(env::current_exe().expect("a path"))
        .args(["--under-valgrind", service, &times.to_string(), &headers.to_string()])
        .output()
        .expect("valgrind is installed");
    let report = String::from_utf8_lossy(&output.stderr);
    let (_, line) = report.split_once(word).unwrap_or_else(|| panic!("valgrind failed:\n{report}"));
    let mut numbers = line.split_whitespace().filter_map(|number| number.replace(',', "").parse().ok());
    std::array::from_fn(|_| numbers.next().expect("a number"))
}
