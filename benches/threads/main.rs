//! Hits on several threads at once, and an estimate for 64 threads. See `README.md`.

mod simulation;

use std::{
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use http::{Request, Uri};
use peers::{Bare, Body, add_authorization, ours, send};
use rustix::thread::{CpuSet, sched_setaffinity};
use simulation::hits_a_second;
use tower::{Layer, Service};

const THREADS: [usize; 4] = [1, 2, 4, 8];
const ROUNDS: usize = 31;
const SLICE: Duration = Duration::from_millis(20);

/// Hits per second: first by two threads with a service each, then by each number of threads with a shared service.
type Rates = [f64; THREADS.len() + 1];

struct Contestant {
    name: &'static str,
    /// The number of cache lines that a hit writes and that all threads share.
    lines: u32,
    /// Returns the hits per second of this many threads, each with a clone of one service, as in practice.
    shared: Box<dyn Fn(usize) -> f64>,
    /// Returns the same with a separate service for each thread.
    apart: Box<dyn Fn(usize) -> f64>,
}

impl Contestant {
    fn new<S>(name: &'static str, lines: u32, make: fn() -> S) -> Self
    where
        S: Service<Request<Body>> + Clone + Sync + 'static,
    {
        let service = make();
        let shared = Box::new(move |threads| slice(threads, || service.clone()));
        Self { name, lines, shared, apart: Box::new(move |threads| slice(threads, make)) }
    }
}

/// Measures one slice. Each service is created on the thread that uses it, so that no two share a cache line by chance.
fn slice<S: Service<Request<Body>>>(threads: usize, service: impl Fn() -> S + Sync) -> f64 {
    let (start, stop) = (Barrier::new(threads + 1), AtomicBool::new(false));
    let hits = |thread| {
        pin(thread);
        let mut service = service();
        // From a `String`, because a static URI would have no reference count, and one for all threads would share it.
        let uri: Uri = "https://api.example.org/fhir/Patient/123".to_owned().parse().expect("a URI");
        let mut hits = 0;
        start.wait();
        while !stop.load(Ordering::Relaxed) {
            for _ in 0..256 {
                let mut request = Request::new(Body::new());
                *request.uri_mut() = uri.clone();
                send(&mut service, request);
            }
            hits += 256;
        }
        hits
    };
    thread::scope(|scope| {
        let hits = &hits;
        let threads: Vec<_> = (0..threads).map(|thread| scope.spawn(move || hits(thread))).collect();
        start.wait();
        let began = Instant::now();
        thread::sleep(SLICE);
        stop.store(true, Ordering::Relaxed);
        let took = began.elapsed();
        let hits: u32 = threads.into_iter().map(|thread| thread.join().expect("its hits")).sum();
        f64::from(hits) / took.as_secs_f64()
    })
}

/// Pins the thread. Otherwise the scheduler takes longer than a slice to spread the threads.
fn pin(thread: usize) {
    let mut cores = CpuSet::new();
    cores.set(thread % thread::available_parallelism().expect("a number of cores"));
    sched_setaffinity(None, &cores).expect("a core");
}

/// Returns the 90th percentile, because other load on the machine can only slow a slice down.
fn undisturbed(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() * 9 / 10]
}

fn main() {
    let contestants = [
        Contestant::new("bare", 0, Bare::new),
        Contestant::new("AddAuthorization", 1, || add_authorization().layer(Bare::new())),
        Contestant::new("ours, without retry", 0, || ours().without_retry().layer(Bare::new())),
        Contestant::new("ours, with retry", 0, || ours().layer(Bare::new())),
    ];
    let mut rates = vec![[const { Vec::new() }; THREADS.len() + 1]; contestants.len()];
    for _ in 0..ROUNDS {
        for (contestant, rates) in contestants.iter().zip(&mut rates) {
            let [apart, shared @ ..] = rates;
            apart.push((contestant.apart)(2));
            for (threads, rates) in THREADS.iter().zip(shared) {
                rates.push((contestant.shared)(*threads));
            }
        }
    }
    let rates: Vec<_> = rates.into_iter().map(|rates| rates.map(undisturbed)).collect();

    measured(&contestants, &rates);
    simulated(&contestants, &rates);
}

fn measured(contestants: &[Contestant], rates: &[Rates]) {
    println!("{:<21} {:>6} {:>6} {:>6} {:>6} {:>7} {:>8}", "million hits a second", 1, 2, 4, 8, "apart", "2 ÷ 1");
    for (Contestant { name, .. }, [apart, one, two, four, eight]) in contestants.iter().zip(rates) {
        let scaled = two / one;
        let verdict = match name.starts_with("ours") {
            true if scaled >= 1.9 => "≥ 1.90 holds",
            true => "≥ 1.90 MISSED",
            false => "",
        };
        let [apart, one, two, four, eight] = [apart, one, two, four, eight].map(|rate| rate / 1e6);
        println!("{name:<21} {one:>6.2} {two:>6.2} {four:>6.2} {eight:>6.2} {apart:>7.2} {scaled:>8.2} {verdict}");
    }
}

fn simulated(contestants: &[Contestant], rates: &[Rates]) {
    println!(
        "\n{:<21} {:>6} {:>9} {:>10} {:>7} {:>8} {:>8}",
        "simulated", "lines", "ns apart", "ns shared", 2, 64, "64 ÷ 1"
    );
    for (Contestant { name, lines, .. }, [apart, one, two, ..]) in contestants.iter().zip(rates) {
        let apart = 2e9 / apart;
        let shared = (2e9 / two - apart).max(0.0);
        let [two, many] = [2, 64].map(|cores| hits_a_second(cores, apart, shared, *lines));
        let (scaled, two, many) = (many / one, two / 1e6, many / 1e6);
        println!("{name:<21} {lines:>6} {apart:>9.1} {shared:>10.1} {two:>7.2} {many:>8.2} {scaled:>8.1}");
    }
}
