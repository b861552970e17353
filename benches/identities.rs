//! The cost of many identities: to fill a pool, to keep one, and a hit among 100,000. See `README.md`.

mod valgrind;

use std::{borrow::Cow, env, time::Instant};

use peers::{Bare, NarrowedCaches, Requests, request, send};
use tokio::runtime::{Builder, Runtime};
use tower::Layer;
use tower_bearer::{
    AccessToken, BearerAuthLayer, FixedToken, TokenCache, TokenPool,
    source::{Narrowing, from_fn},
};

use crate::valgrind::{Counts, count};

const SIZES: [usize; 3] = [1_000, 10_000, 100_000];
/// The old map needs minutes for more.
const OLD_SIZES: [usize; 3] = [1_000, 4_000, 8_000];

/// The identities of the hits. All of them have a lease, as identities that are in use do.
const IN_USE: usize = 16;

/// The number of requests to warm up, and then the number of requests to count.
const TIMES: u64 = 1_000;
/// With the header that names the identity, these are the five of a usual request.
const HEADERS: usize = 4;

const SINGLE: [&str; 2] = ["single, without retry", "single, with retry"];
const AMONG: [&str; 2] = ["among 100,000, without retry", "among 100,000, with retry"];
/// Each request is of another identity, so each renews a lease.
const LEASES: &str = "among 100,000, each once";

fn main() {
    let args: Vec<_> = env::args().skip(1).collect();
    match &args[..] {
        [flag, service, times, headers] if flag == "--under-valgrind" => {
            let mut requests = service_of(service);
            requests(TIMES, headers.parse().expect("a number"));
            counted_requests(&mut requests, times.parse().expect("a number"), headers.parse().expect("a number"));
        }
        _ => {
            print_fills();
            if !args.iter().any(|arg| arg == "memory") {
                print_hits();
            }
        }
    }
}

/// Returns the token of an identity, which is as long as an opaque token usually is.
fn token(name: &str) -> String {
    format!("{name:-<43}")
}

fn name(n: usize) -> String {
    format!("tenant-{n}")
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().expect("a runtime")
}

fn pool(max: usize) -> TokenPool<String> {
    let source = |name: &String| {
        let name = name.clone();
        Ok(from_fn(move |_| std::future::ready(AccessToken::new(token(&name)))))
    };
    TokenPool::builder(source).max_identities(max).build()
}

fn fill(runtime: &Runtime, pool: &TokenPool<String>, identities: usize) {
    runtime.block_on(async {
        for n in 0..identities {
            pool.cache(name(n).as_str()).expect("a cache").token().await.expect("a token");
        }
    });
}

fn print_fills() {
    println!("{:<28} {:>10} {:>12} {:>18} {:>18}", "fill", "identities", "µs each", "bytes each", "beside the token");
    let mut one = None;
    let alone = allocation_counter::measure(|| one = AccessToken::new(token("")).ok()).bytes_current;
    let runtime = runtime();
    // So that what is made once is not counted.
    fill(&runtime, &pool(1), 1);
    for identities in SIZES {
        let (pool, mut micros) = (pool(identities), 0.0);
        let memory =
            allocation_counter::measure(|| micros = micros_each(identities, || fill(&runtime, &pool, identities)));
        assert_eq!(pool.status().identities, identities);
        print_fill("pool", identities, micros, memory.bytes_current, alone);
    }
    for identities in OLD_SIZES {
        let (map, mut micros) = (NarrowedCaches::new(identities), 0.0);
        let fill = || {
            runtime.block_on(async {
                for n in 0..identities {
                    let to = Narrowing::new().with_scope(&name(n)).expect("a scope");
                    let name = name(n);
                    let cache = TokenCache::new(from_fn(move |_| std::future::ready(AccessToken::new(token(&name)))));
                    map.add(&to, &cache, |_| false).token().await.expect("a token");
                }
            });
        };
        let memory = allocation_counter::measure(|| micros = micros_each(identities, fill));
        print_fill("the map before", identities, micros, memory.bytes_current, alone);
    }
}

#[expect(clippy::cast_precision_loss, reason = "far from 2^52")]
fn print_fill(what: &str, identities: usize, micros: f64, bytes: i64, alone: i64) {
    let each = bytes as f64 / identities as f64;
    println!("{what:<28} {identities:>10} {micros:>12.1} {each:>18.0} {:>18.0}", each - alone as f64);
}

#[expect(clippy::cast_precision_loss, reason = "far from 2^52")]
fn micros_each(identities: usize, fill: impl FnOnce()) -> f64 {
    let began = Instant::now();
    fill();
    began.elapsed().as_secs_f64() * 1e6 / identities as f64
}

fn print_hits() {
    println!("\n{:<32} {:>14} {:>8} {:>13}", "a hit", "instructions", "locked", "allocations");
    let counted = |service: &str| {
        let counts = count(service, TIMES, HEADERS);
        let Counts { instructions, locked, allocations } = counts;
        println!("{service:<32} {instructions:>14.0} {locked:>8.1} {allocations:>13.2}");
        counts
    };
    for (single, among) in SINGLE.into_iter().zip(AMONG) {
        let (single, among) = (counted(single), counted(among));
        let ratio = among.instructions / single.instructions;
        println!("{:<32} {ratio:>14.2} target ≤ 1.25: {}", "ratio", if ratio < 1.255 { "holds" } else { "MISSED" });
    }
    counted(LEASES);
}

fn service_of(service: &str) -> Requests {
    let runtime = runtime();
    if service == SINGLE[0] || service == SINGLE[1] {
        let layer = BearerAuthLayer::new(FixedToken::new(token("t")).expect("a token"));
        runtime.block_on(layer.cache().token()).expect("a token");
        return if service == SINGLE[1] {
            requests(layer.layer(Bare::new()), &[name(0)])
        } else {
            requests(layer.without_retry().layer(Bare::new()), &[name(0)])
        };
    }
    let pool = pool(SIZES[2]);
    fill(&runtime, &pool, SIZES[2]);
    let step = if service == LEASES { 1 } else { SIZES[2] / IN_USE };
    let names: Vec<_> = (0..SIZES[2]).step_by(step).map(name).collect();
    let layer =
        BearerAuthLayer::with_pool(pool, |head| Some(Cow::Borrowed(head.headers().get("x-tenant")?.to_str().ok()?)));
    match service {
        _ if service == AMONG[1] => requests(layer.layer(Bare::new()), &names),
        _ => requests(layer.without_retry().layer(Bare::new()), &names),
    }
}

/// Sends requests that name these identities in turn. The layer of a single cache does not read the name.
fn requests<S>(mut service: S, names: &[String]) -> Requests
where
    S: tower::Service<http::Request<peers::Body>, Response = http::Response<peers::Body>> + 'static,
{
    let names: Vec<_> = names.iter().map(|name| http::HeaderValue::from_str(name).expect("a value")).collect();
    let mut next = 0;
    Box::new(move |times, headers| {
        for _ in 0..times {
            let mut request = request(headers);
            request.headers_mut().insert("x-tenant", names[next % names.len()].clone());
            next += 1;
            send(&mut service, request);
        }
    })
}

/// Runs the requests. Callgrind counts in this function only.
#[inline(never)]
fn counted_requests(requests: &mut Requests, times: u64, headers: usize) {
    requests(times, headers);
}
