//! Many requests while the token is revoked again and again.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use reqwest::{Client, StatusCode};
use tower_bearer_reqwest::{BearerClient, RequestBuilderExt};

use crate::{
    server::Server,
    support::{issuer, layer},
};

const REQUESTS: usize = 12_000;
const TASKS: usize = 8;
const REVOCATIONS: usize = 24;

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
            loop {
                let n = started.fetch_add(1, Ordering::Relaxed);
                if n >= REQUESTS {
                    return;
                }
                if n % (REQUESTS / REVOCATIONS) == 0 {
                    issuer.revoke_all();
                }
                let status = client.post(&url).body("order").send_with(&api).await.map(|response| response.status());
                if status.ok() != Some(StatusCode::OK) {
                    lost.fetch_add(1, Ordering::Relaxed);
                }
            }
        })
    });
    for task in futures::future::join_all(tasks).await {
        task.unwrap();
    }
    let counts = issuer.counts();
    println!(
        "{} of {REQUESTS} lost, {} answers of 401, {} token requests",
        lost.load(Ordering::Relaxed),
        counts.api_rejected,
        counts.token_requests
    );
    assert_eq!(lost.load(Ordering::Relaxed), 0);
    assert!(counts.token_requests <= REVOCATIONS as u64 + 1, "{counts:?}");
}
