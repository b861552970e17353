//! What a hit costs: nanoseconds by criterion, instructions and allocations by valgrind. See `README.md`.

use std::{
    env,
    process::Command,
    time::{Duration, Instant},
};

use criterion::Criterion;
use peers::{ADD_AUTHORIZATION, BARE, Make, RETRY, Requests, SERVICES, WITH_RETRY, WITHOUT_RETRY};

/// What is made lazily is there after so many requests; then so many are counted.
const TIMES: u64 = 1_000;

const SECOND: Duration = Duration::from_secs(1);

const CALLGRIND: &[&str] =
    &["--tool=callgrind", "--collect-bus=yes", "--callgrind-out-file=/dev/null", "--toggle-collect=*counted_requests*"];
const MEMCHECK: &[&str] = &["--tool=memcheck", "--leak-check=no"];

struct Row {
    service: &'static str,
    nanoseconds: Option<f64>,
    instructions: f64,
    /// Of these, those that lock a cache line, shared or not.
    locked: f64,
    allocations: f64,
}

fn main() {
    let args: Vec<_> = env::args().skip(1).collect();
    match &args[..] {
        [flag, service, times] if flag == "--under-valgrind" => {
            under_valgrind(service, times.parse().expect("a number"));
        }
        _ => {
            let timed = !args.iter().any(|arg| arg == "instructions");
            print(&SERVICES.iter().map(|(service, make)| measure(service, *make, timed)).collect::<Vec<_>>());
        }
    }
}

fn measure(service: &'static str, make: Make, timed: bool) -> Row {
    let nanoseconds = timed.then(|| nanoseconds(service, make()));
    let [instructions, locked] = valgrind(service, TIMES, CALLGRIND, "Collected");
    let allocations = |times| valgrind::<1>(service, times, MEMCHECK, "total heap usage")[0];
    // Those of the beginning and the end are in both.
    let allocations = allocations(TIMES) - allocations(0);
    #[expect(clippy::cast_precision_loss, reason = "far from 2^52")]
    let each = |count: u64| count as f64 / TIMES as f64;
    let [instructions, locked, allocations] = [instructions, locked, allocations].map(each);
    Row { service, nanoseconds, instructions, locked, allocations }
}

/// The median of criterion's samples.
fn nanoseconds(service: &str, mut requests: Requests) -> f64 {
    let mut samples = Vec::new();
    Criterion::default().warm_up_time(SECOND).measurement_time(2 * SECOND).bench_function(service, |bencher| {
        bencher.iter_custom(|times| {
            let began = Instant::now();
            requests(times);
            let took = began.elapsed();
            #[expect(clippy::cast_precision_loss, reason = "far from 2^52")]
            samples.push(took.as_nanos() as f64 / times as f64);
            took
        });
    });
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// Runs this program again, for this service alone, and reads the numbers that follow a word in valgrind's report.
fn valgrind<const NUMBERS: usize>(service: &str, times: u64, options: &[&str], word: &str) -> [u64; NUMBERS] {
    let output = Command::new("valgrind")
        .args(options)
        .arg(env::current_exe().expect("a path"))
        .args(["--under-valgrind", service, &times.to_string()])
        .output()
        .expect("valgrind is installed");
    let report = String::from_utf8_lossy(&output.stderr);
    let (_, line) = report.split_once(word).unwrap_or_else(|| panic!("valgrind failed:\n{report}"));
    let mut numbers = line.split_whitespace().filter_map(|number| number.replace(',', "").parse().ok());
    std::array::from_fn(|_| numbers.next().expect("a number"))
}

fn under_valgrind(service: &str, times: u64) {
    let (_, make) = SERVICES.iter().find(|(name, _)| *name == service).expect("a service of this name");
    let mut requests = make();
    requests(TIMES);
    counted_requests(&mut requests, times);
}

/// Callgrind counts while this runs.
#[inline(never)]
fn counted_requests(requests: &mut Requests, times: u64) {
    requests(times);
}

fn print(rows: &[Row]) {
    println!("{:<28} {:>8} {:>14} {:>8} {:>13}", "a hit", "ns", "instructions", "locked", "allocations");
    for Row { service, nanoseconds, instructions, locked, allocations } in rows {
        let nanoseconds = nanoseconds.map_or("–".to_owned(), |nanoseconds| format!("{nanoseconds:.0}"));
        println!("{service:<28} {nanoseconds:>8} {instructions:>14.0} {locked:>8.1} {allocations:>13.1}");
    }
    let of = |service| rows.iter().find(|row| row.service == service).expect("its row");
    let [bare, add, without, with, retry] = [BARE, ADD_AUTHORIZATION, WITHOUT_RETRY, WITH_RETRY, RETRY].map(of);

    println!("\n{:<68} {:>5} {:>8}", "ratio", "is", "target");
    let line = |what: &str, is: f64, target: f64| {
        let verdict = if is < target + 0.005 { "holds" } else { "MISSED" };
        println!("{what:<68} {is:>5.2} {:>8} {verdict}", format!("≤ {target:.2}"));
    };
    let added = |row: &Row| row.instructions - bare.instructions;
    line("instructions: ours without retry ÷ AddAuthorization", without.instructions / add.instructions, 1.05);
    line("allocations: ours without retry ÷ AddAuthorization", without.allocations / add.allocations, 1.0);
    line("instructions added: ours with retry ÷ Retry + AddAuthorization", added(with) / added(retry), 0.8);
}
