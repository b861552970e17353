//! Two gateways with tenants that come and go, for a long time: tokens are renewed each second, some are revoked, connections fail, and
//! Redis fails over.

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs, io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use fastrand::Rng;
use tokio::time::{Instant, sleep, sleep_until};
use tower_bearer::testing::{Issuer, TokenFormat};

use crate::{
    fault::{Fault, Link},
    gateway::{Gateway, Settings, Usage},
    load::{Callers, Outcome, Record, shown},
    proxy::Proxy,
    redis::Watched,
    rules, upstream,
};

/// Tokens are renewed after half of it.
const LIFETIME: Duration = Duration::from_secs(2);

const TIMEOUT: Duration = Duration::from_secs(2);

/// What a busy machine may add to each time.
const MARGIN: Duration = Duration::from_secs(3);

/// A timer of this program that fires so late shows that the machine does not run its processes in time.
const LATE: Duration = Duration::from_millis(250);

/// For so long before and during a request, a late timer excuses it. It is counted apart.
const LATELY: Duration = Duration::from_secs(3);

/// How many requests are in progress at most.
const AT_ONCE: u32 = 256;

const TENANTS: u64 = 40;

/// How many tenants are active at a time. They change all the time, and each is forgotten 15 s after its last request.
const ACTIVE: u64 = 8;

/// Faults from one time to another.
struct Window {
    faults: Vec<(Link, Fault)>,
    on: Instant,
    off: Option<Instant>,
}

#[derive(Default)]
struct Log {
    windows: Vec<Window>,
    counts: BTreeMap<Outcome, usize>,
    broken: Vec<String>,
    /// Requests that broke a rule while the machine was late, when it was late, and for how long at most.
    starved: u64,
    late: Vec<Instant>,
    latest: Duration,
    /// The longest time after a fault in which a request failed, and the slowest request.
    recovery: Duration,
    slowest: Duration,
    revocations: u64,
    failovers: u64,
    csv: String,
}

type Shared = Arc<Mutex<Log>>;

/// Returns whether everything held.
pub async fn run(binary: &Path, seed: u64, minutes: u32, rate: u32, csv: Option<&Path>) -> io::Result<bool> {
    let mut rng = Rng::with_seed(seed);
    let name = |number: u64| format!("t{number:02}");
    let builder = Issuer::builder().lifetime(LIFETIME).token_format(TokenFormat::Opaque);
    let issuer = (0..TENANTS).fold(builder, |issuer, number| issuer.user(name(number), "user-password")).build();
    let server = issuer.listen().await?;
    let mut redis = Watched::start().await?;
    let proxies =
        [Proxy::start(server.addr().port(), None).await, Proxy::start(upstream::http1(&issuer).await, None).await];
    let mut identity = "[identity]\nheader = \"x-tenant\"\nmax = 100\nidle = \"15s\"\n".to_owned();
    for tenant in (0..TENANTS).map(name) {
        let _ = writeln!(
            identity,
            "[identity.tenants.{tenant}]\nusername = \"{tenant}\"\npassword = {{ env = \"USER_PASSWORD\" }}"
        );
    }
    let settings = Settings {
        token_url: format!("http://127.0.0.1:{}/token", proxies[0].port),
        upstream: format!("http://127.0.0.1:{}", proxies[1].port),
        store: Some(format!("url = \"{}\"\nsentinel = \"mymaster\"", redis.urls())),
        identity,
        timeout: TIMEOUT,
        own_names: false,
    };
    let gateways = [Gateway::start(binary, &settings).await?, Gateway::start(binary, &settings).await?];
    let urls: Vec<_> = gateways.iter().map(|gateway| gateway.url.clone()).collect();
    Callers::new(urls.clone(), AT_ONCE)
        .load(rate, Instant::now() + Duration::from_secs(3), |number| Some(name(number % ACTIVE)))
        .await;
    sleep(Duration::from_secs(1)).await;
    let start = [gateways[0].usage().await?, gateways[1].usage().await?];

    let (begin, log) = (Instant::now(), Shared::default());
    let end = begin + Duration::from_secs(60 * u64::from(minutes));
    let tenant = move |number: u64| {
        let shift = begin.elapsed().as_secs() / 10 * 3;
        Some(name((shift + number * 7 % ACTIVE + number / 1000) % TENANTS))
    };
    let note = Arc::clone(&log);
    let callers = Callers::new(urls, AT_ONCE);
    let load = callers.each((rate, u64::MAX), end, tenant, move |record| judge(&mut lock(&note), &record));
    let mut samples = Vec::new();
    tokio::select! {
        () = load => {}
        () = revoke(&issuer, &log, begin, rng.fork()) => {}
        () = fail(&proxies, &log, begin, end, rng.fork()) => {}
        () = fail_over(&mut redis, &log, begin, end, rng.fork()) => {}
        () = clock(&log) => {}
        result = watch(&gateways, &log, begin, &mut samples) => result?,
    }
    drop(callers);
    let took = begin.elapsed();
    let mut held = true;
    for (gateway, start) in gateways.iter().zip(start) {
        held &= start.returns(gateway).await?;
    }
    let log = lock(&log);
    if let Some(path) = csv {
        fs::write(path, &log.csv)?;
    }
    println!("{:.0?} at {rate} requests a second: {}", took, shown(&log.counts));
    println!(
        "{} tokens issued, {} revocations, {} faults, {} failovers, {} answers 401",
        issuer.counts().issued,
        log.revocations,
        log.windows.len(),
        log.failovers,
        issuer.counts().api_rejected
    );
    println!("slowest request {} ms, longest recovery {} ms", log.slowest.as_millis(), log.recovery.as_millis());
    for number in 0..2 {
        let (early, late) = (mean(&samples, number, 1), mean(&samples, number, 5));
        println!("gateway {number}: {early} in the second sixth, {late} in the last");
    }
    println!(
        "{} requests broke a rule, and {} more while the machine was late ({} times by {LATE:?} or more, at most {:.1?})",
        log.broken.len(),
        log.starved,
        log.late.len(),
        log.latest
    );
    for line in log.broken.iter().take(50) {
        println!("BROKEN: {line}");
    }
    Ok(held && log.broken.is_empty())
}

fn lock(log: &Shared) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts a request, and says if it may not end like this.
fn judge(log: &mut Log, record: &Record) {
    *log.counts.entry(record.outcome).or_default() += 1;
    log.slowest = log.slowest.max(record.end - record.start);
    if record.outcome == Outcome::Answered {
        return;
    }
    let mut allowed = false;
    // Only the last few can concern it.
    for window in log.windows.iter().rev().take(4) {
        let limit = window.off.map(|off| off + MARGIN + rules::recovery(&window.faults, off - window.on, false));
        if record.end >= window.on
            && limit.is_none_or(|limit| record.end <= limit)
            && rules::allows(record.outcome, &window.faults)
        {
            allowed = true;
            log.recovery =
                log.recovery.max(window.off.map_or(Duration::ZERO, |off| record.end.saturating_duration_since(off)));
        }
    }
    let starts = record.start.checked_sub(LATELY).unwrap_or(record.start);
    if !allowed && log.late.last().is_some_and(|late| *late >= starts) {
        log.starved += 1;
    } else if !allowed {
        let last = log.windows.last();
        let ago = last.and_then(|window| Some(record.end.saturating_duration_since(window.off?)));
        let faults = last.map(|window| format!("{:?}", window.faults));
        log.broken.push(format!(
            "{} after {:?}; the last fault was {faults:?}, which ended {ago:?} before",
            record.outcome,
            record.end - record.start
        ));
    }
}

/// Notes when a timer fires late.
async fn clock(log: &Shared) {
    loop {
        let due = Instant::now() + Duration::from_millis(50);
        sleep_until(due).await;
        let late = due.elapsed();
        if late > LATE {
            let mut log = lock(log);
            log.late.push(Instant::now());
            log.latest = log.latest.max(late);
        }
    }
}

/// Revokes a token, or all, each 5 to 15 seconds.
async fn revoke(issuer: &Issuer, log: &Shared, begin: Instant, mut rng: Rng) {
    loop {
        sleep(Duration::from_millis(rng.u64(5_000..15_000))).await;
        let all = rng.bool();
        if all {
            issuer.revoke_all();
        } else {
            issuer.revoke_current();
        }
        event(log, begin, if all { "all tokens revoked" } else { "a token revoked" });
        lock(log).revocations += 1;
    }
}

/// Makes a connection fail for 1 to 3 seconds, each 15 to 25 seconds. None in the last ten seconds.
async fn fail(proxies: &[Proxy; 2], log: &Shared, begin: Instant, end: Instant, mut rng: Rng) {
    loop {
        sleep(Duration::from_millis(rng.u64(15_000..25_000))).await;
        if Instant::now() + Duration::from_secs(15) > end {
            return std::future::pending().await;
        }
        let first = rng.bool();
        let links = if rng.u8(..5) == 0 { vec![0, 1] } else { vec![usize::from(first)] };
        let choose =
            |link: usize| ([Link::Issuer, Link::Upstream][link], Fault::PLAIN[rng.usize(..Fault::PLAIN.len())]);
        let faults: Vec<_> = links.into_iter().map(choose).collect();
        for (link, fault) in &faults {
            event(log, begin, &format!("{link:?}: {}", fault.name()));
        }
        lock(log).windows.push(Window { faults: faults.clone(), on: Instant::now(), off: None });
        let set = |on: bool| {
            for (link, fault) in &faults {
                proxies[usize::from(*link == Link::Upstream)].set(on.then_some(*fault));
            }
        };
        set(true);
        sleep(Duration::from_millis(rng.u64(1_000..3_000))).await;
        set(false);
        if let Some(window) = lock(log).windows.last_mut() {
            window.off = Some(Instant::now());
        }
    }
}

/// Kills the master each 60 to 90 seconds, and starts it again 10 seconds later.
async fn fail_over(redis: &mut Watched, log: &Shared, begin: Instant, end: Instant, mut rng: Rng) {
    loop {
        sleep(Duration::from_millis(rng.u64(60_000..90_000))).await;
        let Some(master) = redis.master().await else { continue };
        event(log, begin, "Redis: the master is killed");
        master.kill().await;
        sleep_until((Instant::now() + Duration::from_secs(10)).min(end)).await;
        let _ = master.restart().await;
        lock(log).failovers += 1;
    }
}

/// Notes each two seconds what the gateways use.
async fn watch(gateways: &[Gateway; 2], log: &Shared, begin: Instant, samples: &mut Vec<[Usage; 2]>) -> io::Result<()> {
    loop {
        let sample = [gateways[0].usage().await?, gateways[1].usage().await?];
        samples.push(sample);
        write_sample(&mut lock(log), begin, sample);
        sleep(Duration::from_secs(2)).await;
    }
}

fn write_sample(log: &mut Log, begin: Instant, sample: [Usage; 2]) {
    let answered = log.counts.get(&Outcome::Answered).copied().unwrap_or_default();
    let failed = log.counts.values().sum::<usize>() - answered;
    let at = begin.elapsed().as_secs_f64();
    for (number, Usage { kib, threads, descriptors, tasks }) in sample.into_iter().enumerate() {
        let _ = writeln!(log.csv, "sample,{at:.1},{number},{kib},{threads},{descriptors},{tasks},{answered},{failed}");
    }
}

fn event(log: &Shared, begin: Instant, what: &str) {
    let _ = writeln!(lock(log).csv, "event,{:.1},{what}", begin.elapsed().as_secs_f64());
}

/// Returns the mean of a sixth of the samples.
fn mean(samples: &[[Usage; 2]], gateway: usize, sixth: usize) -> Usage {
    let part = &samples[samples.len() * sixth / 6..samples.len() * (sixth + 1) / 6];
    let of = |field: fn(&Usage) -> u64| {
        part.iter().map(|sample| field(&sample[gateway])).sum::<u64>() / (part.len() as u64).max(1)
    };
    Usage {
        kib: of(|usage| usage.kib),
        threads: of(|usage| usage.threads),
        descriptors: of(|usage| usage.descriptors),
        tasks: of(|usage| usage.tasks),
    }
}
