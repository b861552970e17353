//! The cost of many identities: to fill a pool, to keep one, and a hit among 100,000. See `README.md`.

mod valgrind;

use std::{
    borrow::Cow,
    convert::Infallible,
    env,
    process::Command,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, header::AUTHORIZATION};
use http_body_util::Full;
use peers::{Bare, Requests, request, send};
use tokio::runtime::{Builder, Runtime};
use tower::{Layer, service_fn};
use tower_bearer::{
    AccessToken, BearerAuthLayer, FixedToken, TokenPool,
    grant::{ClientAuth, OnBehalfOf, Subject, TokenExchange},
    pool::UserPool,
    source::from_fn,
    store::{
        Lease, LeaseAnswer, LeaseOwner, Loaded, SealingKey, SealingKeys, SharedStore, StoreError, StoreKey, Stored,
        TokenStore,
    },
};

use crate::valgrind::{Counts, count};

const SIZES: [usize; 3] = [1_000, 10_000, 100_000];
/// Each user's token is exchanged by a service that answers at once.
const USERS: usize = 10_000;
/// Fewer for the hits, because an exchange takes long under valgrind.
const FEW_USERS: usize = 1_000;

/// The identities of the hits. All of them have a lease, as identities that are in use do.
const IN_USE: usize = 16;

/// The number of requests to warm up, and then the number of requests to count.
const TIMES: u64 = 1_000;
/// With the header that names the identity, these are the five of a usual request.
const HEADERS: usize = 4;

/// The header that names the identity.
const TENANT: HeaderName = HeaderName::from_static("x-tenant");

const SINGLE: [&str; 2] = ["single, without retry", "single, with retry"];
const AMONG: [&str; 2] = ["among 100,000, without retry", "among 100,000, with retry"];
/// Each request is of another identity, so none finds a lease.
const EACH_ONCE: &str = "among 100,000, each once";
/// The identity is the user's token in the request.
const OF_USERS: &str = "among 1,000 users";

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

/// Gives each lease, and keeps no record: what a store keeps is not part of the process.
struct Elsewhere;

impl TokenStore for Elsewhere {
    async fn load(&self, _: StoreKey) -> Result<Loaded, StoreError> {
        Ok(Loaded::default())
    }

    async fn lease(&self, _: StoreKey, owner: LeaseOwner, _: Duration) -> Result<LeaseAnswer, StoreError> {
        Ok(LeaseAnswer::Given(Lease { owner, fence: 1 }))
    }

    async fn commit(&self, _: StoreKey, _: Lease, _: Vec<u8>, _: Duration) -> Result<bool, StoreError> {
        Ok(true)
    }

    async fn release(&self, _: StoreKey, _: Lease) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Returns the same pool, whose tokens are shared by a store.
fn stored_pool(max: usize) -> TokenPool<String> {
    let store = SharedStore::new(Elsewhere, SealingKeys::new(SealingKey::new(&[7; 32])));
    let source = move |name: &String| {
        let owned = name.clone();
        let source = from_fn(move |_| std::future::ready(AccessToken::new(token(&owned))));
        Ok(Stored::new(source, &store).named(name.as_str()))
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

/// Returns the token that a user brings: a JWT of 750 characters, which ends in the year 2100.
fn token_of_user(n: usize) -> String {
    format!("eyJhbGciOiJFUzI1NiJ9.eyJleHAiOjQxMDI0NDQ4MDB9.{n:A>704}")
}

fn users() -> OnBehalfOf {
    let issued = "urn:ietf:params:oauth:token-type:access_token";
    let token = token("t");
    let answer = format!(r#"{{"access_token":"{token}","issued_token_type":"{issued}","token_type":"Bearer"}}"#);
    let server = service_fn(move |_: Request<Full<Bytes>>| {
        std::future::ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(answer.clone()))))
    });
    let exchange =
        TokenExchange::builder("https://issuer.test/token").client_auth(ClientAuth::basic("gateway", "s3cret"));
    exchange.for_users_with(server).expect("a grant")
}

fn fill_users(runtime: &Runtime, pool: &UserPool, users: usize) {
    runtime.block_on(async {
        for n in 0..users {
            pool.cache(&Subject::new(token_of_user(n))).token().await.expect("a token");
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
    let (pool, mut micros) = (stored_pool(USERS), 0.0);
    let memory = allocation_counter::measure(|| micros = micros_each(USERS, || fill(&runtime, &pool, USERS)));
    print_fill("pool, with a store", USERS, micros, memory.bytes_current, alone);
    let (users, mut micros) = (UserPool::builder(users()).pool(|pool| pool.max_identities(USERS)).build(), 0.0);
    let memory = allocation_counter::measure(|| micros = micros_each(USERS, || fill_users(&runtime, &users, USERS)));
    print_fill("users, with an exchange", USERS, micros, memory.bytes_current, alone);
    // It prints rows of this table.
    let before = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/before/run.sh")).status();
    if !before.is_ok_and(|status| status.success()) {
        println!("the map before pools was not measured: that needs git, and the history of this repository");
    }
}

#[expect(clippy::cast_precision_loss, reason = "far from 2^52")]
fn print_fill(what: &str, identities: usize, micros: f64, bytes: i64, alone: i64) {
    let each = bytes as f64 / identities as f64;
    let beside = each - alone as f64;
    let verdict = match what {
        "pool" if micros <= 40.0 && beside <= 1024.0 => "  targets ≤ 40 µs, ≤ 1024 bytes: hold",
        "pool" => "  targets ≤ 40 µs, ≤ 1024 bytes: MISSED",
        _ => "",
    };
    println!("{what:<28} {identities:>10} {micros:>12.1} {each:>18.0} {beside:>18.0}{verdict}");
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
    let compare = |single: &Counts, among: &str| {
        let among = counted(among);
        let ratio = among.instructions / single.instructions;
        let holds = ratio < 1.255 && among.allocations < single.allocations + 0.005;
        let verdict = if holds { "holds" } else { "MISSED" };
        println!("{:<32} {ratio:>14.2} target ≤ 1.25, and as many allocations: {verdict}", "ratio");
    };
    for (single, among) in SINGLE.into_iter().zip(AMONG) {
        let single = counted(single);
        compare(&single, among);
        if among == AMONG[0] {
            compare(&single, EACH_ONCE);
        }
    }
    counted(OF_USERS);
}

fn service_of(service: &str) -> Requests {
    let runtime = runtime();
    if service == SINGLE[0] || service == SINGLE[1] {
        let layer = BearerAuthLayer::new(FixedToken::new(token("t")).expect("a token"));
        runtime.block_on(layer.cache().token()).expect("a token");
        return if service == SINGLE[1] {
            requests(layer.layer(Bare::new()), TENANT, &[name(0)])
        } else {
            requests(layer.without_retry().layer(Bare::new()), TENANT, &[name(0)])
        };
    }
    if service == OF_USERS {
        let pool = UserPool::new(users());
        fill_users(&runtime, &pool, FEW_USERS);
        let bearers: Vec<_> =
            (0..FEW_USERS).step_by(FEW_USERS / IN_USE).map(|n| format!("Bearer {}", token_of_user(n))).collect();
        let layer = BearerAuthLayer::on_behalf_of(pool, |head| head.bearer_token().map(Subject::new));
        return requests(layer.without_retry().layer(Bare::new()), AUTHORIZATION, &bearers);
    }
    let pool = pool(SIZES[2]);
    fill(&runtime, &pool, SIZES[2]);
    let step = if service == EACH_ONCE { 1 } else { SIZES[2] / IN_USE };
    let names: Vec<_> = (0..SIZES[2]).step_by(step).map(name).collect();
    let layer =
        BearerAuthLayer::with_pool(pool, |head| Some(Cow::Borrowed(head.headers().get("x-tenant")?.to_str().ok()?)));
    match service {
        _ if service == AMONG[1] => requests(layer.layer(Bare::new()), TENANT, &names),
        _ => requests(layer.without_retry().layer(Bare::new()), TENANT, &names),
    }
}

/// Sends requests that name these identities in turn, in this header. The layer of a single cache does not read the name.
fn requests<S>(mut service: S, header: HeaderName, names: &[String]) -> Requests
where
    S: tower::Service<Request<peers::Body>, Response = Response<peers::Body>> + 'static,
{
    let names: Vec<_> = names.iter().map(|name| HeaderValue::from_str(name).expect("a value")).collect();
    // The first clone of a value allocates its reference count. That is not part of a hit.
    drop(names.clone());
    let mut next = 0;
    Box::new(move |times, headers| {
        for _ in 0..times {
            let mut request = request(headers);
            request.headers_mut().insert(&header, names[next % names.len()].clone());
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
