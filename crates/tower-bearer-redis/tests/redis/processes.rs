//! A fleet of processes on real servers: how many token requests it sends, and that no request fails.

use std::time::Duration;

use futures_util::future::join_all;
use tower_bearer::testing::Issuer;

use crate::{
    server::{Server, Version},
    workers::{Settings, Worker},
};

#[tokio::test]
async fn sixteen_cold_processes_with_ten_thousand_requests_send_one_token_request() {
    let Some(redis) = Server::start(Version::Redis7, &[]) else { return };
    let issuer = Issuer::new();
    issuer.delay(Duration::from_millis(200));
    let server = issuer.listen().await.unwrap();
    let mut workers = Worker::start_all(16, &Settings::new(&server, &redis.url())).await;
    let reports = join_all(workers.iter_mut().map(|worker| worker.burst(625))).await;
    let answered: Vec<_> = reports.iter().map(|report| report.answered()).collect();
    assert_eq!(answered, [625; 16]);
    assert_eq!(issuer.counts().token_requests, 1);
    assert_eq!(issuer.counts().api_accepted, 10_000);
    assert_eq!(reports.iter().map(|report| report.count("exchanges")).sum::<u64>(), 1);
    println!("first tokens after {:?}", reports.iter().map(|report| report.first_token.unwrap()).collect::<Vec<_>>());
}
