//! Many requests in flight when their token is revoked. See `README.md`.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures::future::join_all;
use http::{Request, Response, StatusCode, header::WWW_AUTHENTICATE};
use peers::{Body, grant, issuer, request};
use tokio::{runtime::Builder, sync::watch, task::yield_now};
use tower::{Layer, ServiceExt, service_fn};
use tower_bearer::{
    BearerAuthLayer,
    testing::{Counts, Issuer},
};

type Answer = Result<Response<Body>, Infallible>;

/// An API that sends no response until it is opened.
#[derive(Clone)]
struct Api {
    issuer: Issuer,
    open: watch::Receiver<bool>,
    arrived: Arc<AtomicUsize>,
}

impl Api {
    async fn answer(mut self, request: Request<Body>) -> Answer {
        self.arrived.fetch_add(1, Ordering::Relaxed);
        let _ = self.open.wait_for(|open| *open).await;
        let standing = self.issuer.check(request.headers());
        let mut answer = Response::new(Body::new());
        if !standing.is_accepted() {
            *answer.status_mut() = StatusCode::UNAUTHORIZED;
            answer.headers_mut().insert(WWW_AUTHENTICATE, standing.challenge());
        }
        Ok(answer)
    }
}

struct Seen {
    counts: Counts,
    succeeded: usize,
    /// The time from the revocation to the last response.
    took: Duration,
}

async fn revocation(requests: usize) -> Seen {
    let issuer = issuer();
    let open = watch::Sender::new(false);
    let api = Api { issuer: issuer.clone(), open: open.subscribe(), arrived: Arc::default() };
    let arrived = Arc::clone(&api.arrived);
    let layer = BearerAuthLayer::new(grant(&issuer));
    layer.cache().token().await.expect("a token");
    let service = layer.layer(service_fn(move |request| api.clone().answer(request)));
    let in_flight: Vec<_> = (0..requests).map(|_| tokio::spawn(service.clone().oneshot(request(2)))).collect();
    while arrived.load(Ordering::Relaxed) < requests {
        yield_now().await;
    }
    let began = Instant::now();
    issuer.revoke_current();
    open.send_replace(true);
    let answers = join_all(in_flight).await;
    let took = began.elapsed();
    let succeeded = answers.iter().flatten().flatten().filter(|answer| answer.status().is_success()).count();
    Seen { counts: issuer.counts(), succeeded, took }
}

fn main() {
    println!("{:>9} {:>7} {:>8} {:>9} {:>9} {:>9}", "in flight", "401s", "retries", "succeeded", "renewals", "ms");
    for requests in [1, 10, 100, 1_000, 10_000, 100_000] {
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        let Seen { counts, succeeded, took } = runtime.block_on(revocation(requests));
        let retries = counts.api_requests - requests as u64;
        // The first one was for the token that is revoked.
        let renewals = counts.token_requests - 1;
        let (rejected, ms) = (counts.api_rejected, took.as_secs_f64() * 1e3);
        println!("{requests:>9} {rejected:>7} {retries:>8} {succeeded:>9} {renewals:>9} {ms:>9.2}");
        assert_eq!((succeeded, renewals), (requests, 1));
    }
}
