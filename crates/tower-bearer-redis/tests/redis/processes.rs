//! A fleet of processes on real servers: how many token requests it sends, and that no request fails.

use std::{ops::RangeInclusive, time::Duration};

use tokio::time::{Instant, sleep};
use tower_bearer::testing::{Issuer, IssuerServer};

use crate::{
    clusters::Watched,
    server::{Server, Version},
    workers::{Report, Settings, Worker, all, sum},
};

const LEASE: Duration = Duration::from_secs(2);

/// A takeover may take so much longer than the lease on a busy machine.
const SLACK: Duration = Duration::from_secs(8);

/// The pause before a revocation. A process that meets two of them within a second may get a token that ended in both, and one that
/// meets many within a second each takes the API for broken.
const PAUSE: Duration = Duration::from_millis(1100);

/// How many processes are under load in an outage, and how many tasks send requests in each.
const PROCESSES: usize = 6;
const TASKS: usize = 2;

#[tokio::test]
async fn sixteen_cold_processes_with_ten_thousand_requests_send_one_token_request() {
    let Some(redis) = Server::start(Version::Redis7, &[]) else { return };
    let issuer = Issuer::new();
    issuer.delay(Duration::from_millis(200));
    let server = issuer.listen().await.unwrap();
    let mut workers = Worker::start_all(16, &Settings::new(&server, &redis.url())).await;
    let reports = all(&mut workers, async |worker| worker.burst(625).await).await;
    assert_eq!(answered(&reports), [625; 16]);
    assert_eq!(issuer.counts().token_requests, 1);
    assert_eq!(issuer.counts().api_accepted, 10_000);
    assert_eq!(sum(&reports, "exchanges"), 1);
    println!("first tokens after {:?}", reports.iter().map(|report| report.first_token.unwrap()).collect::<Vec<_>>());
}

#[tokio::test]
async fn another_process_takes_over_from_one_that_was_killed_while_it_renewed() {
    let Some(redis) = Server::start(Version::Redis7, &[]) else { return };
    let issuer = Issuer::new();
    let server = issuer.listen().await.unwrap();
    let settings = Settings::new(&server, &redis.url()).set("LEASE_MS", LEASE.as_millis().to_string());
    let mut workers = Worker::start_all(8, &settings).await;
    let before = all(&mut workers, async |worker| worker.burst(10).await).await;
    assert_eq!(issuer.counts().token_requests, 1);

    issuer.revoke_current();
    let gate = issuer.hold();
    all(&mut workers, async |worker| worker.start_burst(50).await).await;
    gate.waiting(1).await;
    let now = all(&mut workers, Worker::look).await;
    let renews = before.iter().zip(&now).map(|(before, now)| now.count("exchanges") > before.count("exchanges"));
    let mut killed = workers.remove(renews.enumerate().find(|(_, renews)| *renews).unwrap().0);
    let start = Instant::now();
    killed.kill().await;
    while issuer.counts().token_requests == 2 {
        assert!(start.elapsed() < LEASE + SLACK, "nobody takes over");
        sleep(Duration::from_millis(5)).await;
    }
    println!("another process took over after {:?}, with a lease of {LEASE:?}", start.elapsed());
    gate.release();
    let reports = all(&mut workers, Worker::stop).await;
    assert_eq!(answered(&reports), [50; 7]);
    // The first one, that of the killed process, and its successor's.
    assert_eq!(issuer.counts().token_requests, 3);
    assert_eq!((sum(&reports, "takeovers"), sum(&reports, "alone")), (1, 0));
}

#[tokio::test]
async fn an_issuer_that_is_slower_than_three_leases_gets_one_token_request() {
    let Some(redis) = Server::start(Version::Redis7, &[]) else { return };
    let issuer = Issuer::new();
    let server = issuer.listen().await.unwrap();
    let settings = Settings::new(&server, &redis.url()).set("LEASE_MS", LEASE.as_millis().to_string());
    let mut workers = Worker::start_all(8, &settings).await;
    let gate = issuer.hold();
    all(&mut workers, async |worker| worker.start_burst(50).await).await;
    gate.waiting(1).await;
    sleep(3 * LEASE + LEASE / 4).await;
    gate.release();
    let reports = all(&mut workers, Worker::stop).await;
    assert_eq!(answered(&reports), [50; 8]);
    assert_eq!(issuer.counts().token_requests, 1);
    let counts = ["exchanges", "waits", "takeovers", "lost_leases", "alone"].map(|name| sum(&reports, name));
    assert_eq!(counts, [1, 7, 0, 0, 0]);
}

#[tokio::test]
async fn no_request_fails_while_redis_is_killed_and_started_again() {
    let Some(mut redis) = Server::start(Version::Redis7, &[]) else { return };
    let issuer = Issuer::new();
    let server = issuer.listen().await.unwrap();
    let mut workers = Worker::start_all(PROCESSES, &Settings::new(&server, &redis.url())).await;
    all(&mut workers, async |worker| worker.load(TASKS).await).await;
    let mut requests = settled(&mut workers).await;
    requests += revoke(&issuer, &mut workers, 1..=1).await;
    for revocations in [3, 1] {
        redis.kill();
        for _ in 0..revocations {
            // Each process asks for itself.
            requests += revoke(&issuer, &mut workers, PROCESSES..=PROCESSES).await;
        }
        // It is empty.
        redis.restart();
        requests += available(&mut workers).await;
        for _ in 0..2 {
            requests += revoke(&issuer, &mut workers, 1..=1).await;
        }
    }
    let reports = all(&mut workers, Worker::stop).await;
    requests += answered(&reports).iter().sum::<u64>();
    println!("{requests} requests");
}

#[tokio::test]
async fn no_request_fails_in_a_failover_nor_when_the_old_master_comes_back() {
    let Some(mut watched) = Watched::start() else { return };
    let issuer = Issuer::new();
    let server = issuer.listen().await.unwrap();
    let mut workers = under_load(&server, &watched).await;
    requests_in_failover(&issuer, &mut workers, || watched.servers[0].kill()).await;

    // For some seconds it takes itself for a master. Sentinel then makes it a replica.
    watched.servers[0].restart();
    let start = Instant::now();
    while !format!("{:?}", watched.servers[0].run("ROLE")).contains("slave") {
        revoke(&issuer, &mut workers, 1..=1).await;
        assert!(start.elapsed() < Duration::from_secs(60), "it is still a master");
    }
    println!("the old master was made a replica after {:?}", start.elapsed());
    revoke(&issuer, &mut workers, 1..=1).await;
    answered(&all(&mut workers, Worker::stop).await);
}

#[tokio::test]
async fn no_request_fails_when_a_master_hangs_and_goes_on_after_the_failover() {
    let Some(watched) = Watched::start() else { return };
    let issuer = Issuer::new();
    let server = issuer.listen().await.unwrap();
    let mut workers = under_load(&server, &watched).await;
    requests_in_failover(&issuer, &mut workers, || watched.servers[0].signal("-STOP")).await;
    watched.servers[0].signal("-CONT");
    for _ in 0..2 {
        revoke(&issuer, &mut workers, 1..=1).await;
    }
    answered(&all(&mut workers, Worker::stop).await);
}

/// Starts workers that find their server by Sentinel, and puts them under load.
async fn under_load(server: &IssuerServer, watched: &Watched) -> Vec<Worker> {
    let settings = Settings::new(server, &watched.urls()).set("SENTINEL", "mymaster").set("STORE_MS", "2000");
    let mut workers = Worker::start_all(PROCESSES, &settings).await;
    all(&mut workers, async |worker| worker.load(TASKS).await).await;
    settled(&mut workers).await;
    workers
}

/// Revokes tokens while the master fails, and until each process has found the next one.
async fn requests_in_failover(issuer: &Issuer, workers: &mut [Worker], fails: impl FnOnce()) {
    revoke(issuer, workers, 1..=1).await;
    fails();
    let start = Instant::now();
    loop {
        // Each for itself, or one for those that have found it.
        revoke(issuer, workers, 1..=PROCESSES).await;
        let reports = all(workers, Worker::look).await;
        answered(&reports);
        if sum(&reports, "failures") > 0 && sum(&reports, "is_available") == PROCESSES as u64 {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "{reports:?}");
    }
    println!("all have found the next master after {:?}", start.elapsed());
    revoke(issuer, workers, 1..=1).await;
}

/// Revokes all tokens after a pause, and waits until each process has another one. Returns how many requests were answered meanwhile.
async fn revoke(issuer: &Issuer, workers: &mut [Worker], expected: RangeInclusive<usize>) -> u64 {
    sleep(PAUSE).await;
    let before = issuer.counts().token_requests;
    issuer.revoke_all();
    let requests = settled(workers).await;
    let after = issuer.counts().token_requests - before;
    assert!(expected.contains(&usize::try_from(after).unwrap()), "{after} token requests");
    requests
}

/// Waits until each process has answered a request that began after now.
async fn settled(workers: &mut [Worker]) -> u64 {
    // What was answered before.
    let mut requests: u64 = answered(&all(workers, Worker::look).await).iter().sum();
    for worker in workers {
        // Each task may have begun one before.
        let mut later = 0;
        while later <= TASKS as u64 {
            sleep(Duration::from_millis(20)).await;
            later += worker.look().await.answered();
        }
        requests += later;
    }
    requests
}

/// Waits until each process uses the store.
async fn available(workers: &mut [Worker]) -> u64 {
    let (mut requests, start) = (0, Instant::now());
    loop {
        let reports = all(workers, Worker::look).await;
        requests += answered(&reports).iter().sum::<u64>();
        if sum(&reports, "is_available") == workers.len() as u64 {
            println!("all use the store after {:?}", start.elapsed());
            return requests;
        }
        assert!(start.elapsed() < Duration::from_secs(40), "{reports:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Returns how many requests each worker answered. One that failed is a failed test.
fn answered(reports: &[Report]) -> Vec<u64> {
    reports.iter().map(Report::answered).collect()
}
