//! Each fault on each connection, and then combinations at random.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use fastrand::Rng;
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    fault::{Fault, Link},
    gateway::{BACKOFF, FIRST_BACKOFF, TIMEOUT, can_have_own_names},
    load::{Outcome, counts, shown},
    rules,
    stand::{LIFETIME, Stand},
};

/// What a busy machine may add to each time.
const MARGIN: Duration = Duration::from_secs(1);

/// The time before a fault, and the time after it in which recovery is seen.
const BEFORE: Duration = Duration::from_millis(500);
const AFTER: Duration = Duration::from_millis(1_500);

/// Requests a second to each gateway.
const RATE: u32 = 40;

/// How many gateways have faults at once.
const AT_ONCE: usize = 4;

/// Faults at the same time.
struct Case {
    faults: Vec<(Link, Fault)>,
    lasts: Duration,
    /// Whether an operator resets the gateway when the faults have ended.
    reset: bool,
}

/// The cases of one gateway.
struct Plan {
    tls: bool,
    cases: Vec<Case>,
    /// Gives more cases until this time.
    more: Option<(Rng, Instant)>,
}

/// Runs the matrix, and then random combinations for some minutes. Returns whether everything held.
pub async fn run(binary: &Path, seed: u64, minutes: u32) -> io::Result<bool> {
    let mut rng = Rng::with_seed(seed);
    let own_names = can_have_own_names().await;
    if !own_names {
        println!("SKIPPED: names that are not found, because no mount namespace can be made here");
    }
    println!(
        "| fault | ends of requests | recovery, ms | slowest, ms | token requests, at most |\n|---|---|---|---|---|"
    );
    let until = Instant::now() + Duration::from_secs(60 * u64::from(minutes));
    let (mut gateways, places) = (JoinSet::new(), Arc::new(Semaphore::new(AT_ONCE)));
    for plan in plans(&mut rng, own_names, (minutes > 0).then_some(until)) {
        gateways.spawn(of_one_gateway(binary.to_owned(), plan, own_names, Arc::clone(&places)));
    }
    let (mut failed, mut held, mut ran) = (Vec::new(), true, 0);
    while let Some(done) = gateways.join_next().await {
        let done = done.map_err(io::Error::other)??;
        failed.extend(done.failed);
        held &= done.settled;
        ran += done.ran;
    }
    // A busy machine can break any limit of time. What fails again alone has failed.
    for (tls, case) in &failed {
        println!("again, alone: {}", case.name());
        let stand = Stand::start(binary, *tls, *tls && own_names).await?;
        held &= case.run(&stand).await?;
    }
    println!("{ran} cases, {} of them ran twice; {}", failed.len(), if held { "all rules held" } else { "FAILED" });
    Ok(held)
}

fn plans(rng: &mut Rng, own_names: bool, until: Option<Instant>) -> Vec<Plan> {
    let mut plans = Vec::new();
    for tls in [false, true] {
        for link in Link::ALL {
            let mut faults = if tls { Fault::TLS.to_vec() } else { Fault::PLAIN.to_vec() };
            if tls && link == Link::Upstream {
                faults.extend(Fault::HTTP2);
            }
            faults.retain(|fault| own_names || *fault != Fault::Dns);
            rng.shuffle(&mut faults);
            let mut cases = Vec::new();
            for fault in faults {
                cases.push(Case { faults: vec![(link, fault)], lasts: lasts(rng), reset: false });
                if link == Link::Issuer && fault.may_be_a_refusal() {
                    cases.push(Case { faults: vec![(link, fault)], lasts: lasts(rng), reset: true });
                }
            }
            plans.push(Plan { tls, cases, more: None });
        }
        let cases = (0..4).map(|_| Case::random(rng, tls, own_names)).collect();
        plans.push(Plan { tls, cases, more: until.map(|until| (rng.fork(), until)) });
    }
    plans
}

fn lasts(rng: &mut Rng) -> Duration {
    Duration::from_millis(rng.u64(2_000..3_000))
}

struct Done {
    failed: Vec<(bool, Case)>,
    settled: bool,
    ran: usize,
}

async fn of_one_gateway(binary: PathBuf, plan: Plan, own_names: bool, places: Arc<Semaphore>) -> io::Result<Done> {
    let place = places.acquire().await;
    let stand = Stand::start(&binary, plan.tls, plan.tls && own_names).await?;
    stand.callers().load(RATE, Instant::now() + Duration::from_secs(2), |_| None).await;
    sleep(Duration::from_secs(1)).await;
    let start = stand.gateway.usage().await?;
    let (mut failed, mut ran, mut more) = (Vec::new(), 0, plan.more);
    let mut cases = plan.cases.into_iter();
    loop {
        let next = cases.next().or_else(|| {
            let (rng, until) = more.as_mut().filter(|(_, until)| Instant::now() < *until)?;
            let _ = until;
            Some(Case::random(rng, plan.tls, own_names))
        });
        let Some(case) = next else { break };
        ran += 1;
        if !case.run(&stand).await? {
            failed.push((plan.tls, case));
        }
    }
    drop(place);
    let settled = start.returns(&stand.gateway).await?;
    Ok(Done { failed, settled, ran })
}

impl Case {
    fn random(rng: &mut Rng, tls: bool, own_names: bool) -> Self {
        let mut links = Link::ALL.to_vec();
        rng.shuffle(&mut links);
        links.truncate(rng.usize(1..=3));
        let choose = |link: Link, rng: &mut Rng| {
            let mut faults = if tls { Fault::TLS.to_vec() } else { Fault::PLAIN.to_vec() };
            if tls && link == Link::Upstream {
                faults.extend(Fault::HTTP2);
            }
            faults.retain(|fault| own_names || *fault != Fault::Dns);
            (link, faults[rng.usize(..faults.len())])
        };
        let faults = links.into_iter().map(|link| choose(link, rng)).collect();
        Self { faults, lasts: lasts(rng), reset: rng.bool() }
    }

    fn name(&self) -> String {
        let faults = self.faults.iter().map(|(link, fault)| format!("{link:?}: {}", fault.name()));
        let reset = if self.reset { ", then a reset" } else { "" };
        format!("{} for {:.1?}{reset}", faults.collect::<Vec<_>>().join("; "), self.lasts)
    }

    /// Runs the case and prints what came of it. Returns whether the rules held.
    async fn run(&self, stand: &Stand) -> io::Result<bool> {
        let begin = Instant::now();
        let (on, off) = (begin + BEFORE, begin + BEFORE + self.lasts);
        let asked = stand.token_requests();
        let callers = stand.callers();
        let faults = async {
            sleep_until(on).await;
            stand.set(&self.faults, true).await?;
            sleep_until(off).await;
            stand.set(&self.faults, false).await?;
            if self.reset {
                stand.reset().await?;
            }
            Ok::<_, io::Error>(Instant::now())
        };
        let (records, off) = tokio::join!(
            callers.load(RATE, off + rules::recovery(&self.faults, self.lasts, self.reset) + AFTER, |_| None),
            faults
        );
        let off = off?;
        let asked = stand.token_requests() - asked;
        let limit = rules::recovery(&self.faults, self.lasts, self.reset);
        let failures = || records.iter().filter(|record| record.outcome != Outcome::Answered);
        let recovery = failures().map(|record| record.end.saturating_duration_since(off)).max().unwrap_or_default();
        let slowest = records.iter().map(|record| record.end - record.start).max().unwrap_or_default();
        let most = self.most_token_requests(begin.elapsed());
        println!(
            "| {} | {} | {} | {} | {asked}, {most} |",
            self.name(),
            shown(&counts(&records)),
            recovery.as_millis(),
            slowest.as_millis()
        );
        let mut broken: Vec<_> = failures()
            .filter(|record| record.end < on || !rules::allows(record.outcome, &self.faults))
            .map(|record| format!("{} is not allowed", record.outcome))
            .collect();
        broken.sort();
        broken.dedup();
        if recovery > limit + MARGIN {
            broken.push(format!("recovery took {recovery:.1?}"));
        }
        // Until the answer begins, and until its next part comes.
        if slowest > 2 * TIMEOUT + MARGIN {
            broken.push(format!("a request took {slowest:.1?}"));
        }
        if asked > most {
            broken.push(format!("{asked} token requests"));
        }
        for rule in &broken {
            println!("BROKEN: {}: {rule}", self.name());
        }
        Ok(broken.is_empty())
    }

    /// Returns how many token requests there may be in this time: scheduled ones, and with a fault a first renewal with its three
    /// retries and then one for each backoff.
    fn most_token_requests(&self, time: Duration) -> u64 {
        let scheduled = time.as_millis().div_ceil(LIFETIME.as_millis() / 2) + 1;
        let dns = self.faults.iter().any(|(_, fault)| *fault == Fault::Dns);
        let is_faulty = dns || self.faults.iter().any(|(link, _)| *link == Link::Issuer);
        let tries = (self.lasts + BACKOFF).saturating_sub(FIRST_BACKOFF).as_millis().div_ceil(BACKOFF.as_millis()) + 1;
        let tries = tries + u128::from(self.reset);
        u64::try_from(scheduled + if is_faulty { 4 + tries } else { 0 }).unwrap_or(u64::MAX)
    }
}
