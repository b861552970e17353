//! Many requests while the token is revoked again and again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use reqwest::{Client, StatusCode};
use tokio::time::{Instant, sleep_until};
use tower_bearer_reqwest::{BearerClient, RequestBuilderExt};

use crate::{
    server::Server,
    support::{issuer, layer},
};

const TASKS: usize = 8;
const ROUNDS: usize = 25;
const ROUND: usize = 480;
const REVOCATIONS: u64 = 24;

/// Tokens that are revoked again and again within half a second of their issue would look like an API that rejects everything.
const PERIOD: Duration = Duration::from_millis(600);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_12000_requests_during_24_revocations_none_is_lost() {
    let issuer = issuer();
    let server = Server::protected(&issuer).await;
    let client = Client::new();
    let api = BearerClient::new(client.clone(), layer(&issuer));
    let (started, lost) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let tasks = (0..TASKS).map(|_| {
        let (issuer, client, api, url) = (issuer.clone(), client.clone(), api.clone(), server.url("/orders"));
        let (started, lost) = (Arc::clone(&started), Arc::clone(&lost));
        tokio::spawn(async move {
            for _ in 0..ROUNDS {
                let next = Instant::now() + PERIOD;
                for _ in 0..ROUND / TASKS {
                    // In the middle of each round but the first.
                    let n = started.fetch_add(1, Ordering::Relaxed);
                    if n > ROUND && n % ROUND == ROUND / 2 {
                        issuer.revoke_all();
                    }
                    let status =
                        client.post(&url).body("order").send_with(&api).await.map(|response| response.status());
                    if status.ok() != Some(StatusCode::OK) {
                        lost.fetch_add(1, Ordering::Relaxed);
                    }
                }
                sleep_until(next).await;
            }
        })
    });
    for task in futures::future::join_all(tasks).await {
        task.unwrap();
    }
    let counts = issuer.counts();
    println!(
        "{} lost, {} answers of 401, {} token requests",
        lost.load(Ordering::Relaxed),
        counts.api_rejected,
        counts.token_requests
    );
    assert_eq!(lost.load(Ordering::Relaxed), 0);
    assert!(counts.token_requests <= REVOCATIONS + 1, "{counts:?}");
}
