//! The cost of a hit: nanoseconds by criterion, instructions and allocations by valgrind. See `README.md`.

mod valgrind;

use std::{
    env,
    time::{Duration, Instant},
};

use criterion::Criterion;
use peers::{
    ADD_AUTHORIZATION, BARE, RETRY, Requests, SERVICES, STORED_WITH_RETRY, STORED_WITHOUT_RETRY, WITH_RETRY,
    WITHOUT_RETRY,
};

use crate::valgrind::{Counts, count};

/// The numbers of headers of a request: a minimal request, an SDK's and a gateway's. One more header does not make any
/// of the maps grow. Growth is expensive, its cost depends on the state of the heap, and it says nothing about a
/// service.
const SIZES: [usize; 3] = [2, 5, 10];
const USUAL: usize = SIZES[1];

/// The number of requests to warm up, and then the number of requests to count.
const TIMES: u64 = 1_000;

const SECOND: Duration = Duration::from_secs(1);

fn main() {
    let args: Vec<_> = env::args().skip(1).collect();
    match &args[..] {
        [flag, service, times, headers] if flag == "--under-valgrind" => {
            under_valgrind(service, times.parse().expect("a number"), headers.parse().expect("a number"));
        }
        _ => {
            let timed = !args.iter().any(|arg| arg == "instructions");
            print_services(timed);
            print_ratios();
        }
    }
}

fn print_services(timed: bool) {
    let nanoseconds: Vec<_> = SERVICES
        .iter()
        .map(|(service, make)| if timed { format!("{:.0}", nanoseconds(service, make())) } else { "–".to_owned() })
        .collect();
    println!("{:<28} {:>8} {:>14} {:>8} {:>13}", "a hit", "ns", "instructions", "locked", "allocations");
    for ((service, _), nanoseconds) in SERVICES.iter().zip(nanoseconds) {
        let Counts { instructions, locked, allocations } = count(service, TIMES, USUAL);
        println!("{service:<28} {nanoseconds:>8} {instructions:>14.0} {locked:>8.1} {allocations:>13.1}");
    }
}

fn print_ratios() {
    println!("\n{:<64} {:>7} {:>5} {:>8}", "ratio", "headers", "is", "target");
    for headers in SIZES {
        let line = |what: &str, is: f64, target: f64| {
            let verdict = if is < target + 0.005 { "holds" } else { "MISSED" };
            println!("{what:<64} {headers:>7} {is:>5.2} {:>8} {verdict}", format!("≤ {target:.2}"));
        };
        let [bare, add, without, with, retry] =
            [BARE, ADD_AUTHORIZATION, WITHOUT_RETRY, WITH_RETRY, RETRY].map(|service| count(service, TIMES, headers));
        let added = |counts: &Counts| counts.instructions - bare.instructions;
        line("instructions: ours without retry ÷ AddAuthorization", without.instructions / add.instructions, 1.05);
        line("allocations: ours without retry ÷ AddAuthorization", without.allocations / add.allocations, 1.0);
        let ours = [&without, &with].into_iter().zip([STORED_WITHOUT_RETRY, STORED_WITH_RETRY]);
        for (without_a_store, name) in ours {
            let is = count(name, TIMES, headers).instructions / without_a_store.instructions;
            line(&format!("instructions: {name} ÷ the same without it"), is, 1.0);
        }
        line("instructions added: ours with retry ÷ Retry + AddAuthorization", added(&with) / added(&retry), 0.8);
    }
}

/// Returns the median of criterion's samples.
fn nanoseconds(service: &str, mut requests: Requests) -> f64 {
    let mut samples = Vec::new();
    Criterion::default().warm_up_time(SECOND).measurement_time(2 * SECOND).bench_function(service, |bencher| {
        bencher.iter_custom(|times| {
            let began = Instant::now();
            requests(times, USUAL);
            let took = began.elapsed();
            #[expect(clippy::cast_precision_loss, reason = "far from 2^52")]
            samples.push(took.as_nanos() as f64 / times as f64);
            took
        });
    });
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

fn under_valgrind(service: &str, times: u64, headers: usize) {
    let (_, make) = SERVICES.iter().find(|(name, _)| *name == service).expect("a service of this name");
    let mut requests = make();
    requests(TIMES, headers);
    counted_requests(&mut requests, times, headers);
}

/// Runs the requests. Callgrind counts in this function only.
#[inline(never)]
fn counted_requests(requests: &mut Requests, times: u64, headers: usize) {
    requests(times, headers);
}
