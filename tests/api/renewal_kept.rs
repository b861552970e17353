//! Rejections while the issuer is away. A token that has been rejected may still be good for other endpoints.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use http::Response;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_bearer::{BearerAuthLayer, Error, NotRetried, TokenCache, cache::Backoff, source::from_fn};

use crate::support::{Answer, Ask, HOUR, MINUTE, SECOND, ask, get, is_ok, not_retried, token, waiting};

const UP: usize = 0;
const DOWN: usize = 1;
const HANGING: usize = 2;

/// A source that can be down or hang, and an API that rejects every token at `/bad`, and tokens before `revoked` everywhere.
#[derive(Clone, Default)]
struct World {
    source: Arc<AtomicUsize>,
    asked: Arc<AtomicU64>,
    revoked: Arc<AtomicU64>,
}

impl World {
    fn layer(&self) -> BearerAuthLayer {
        let Self { source, asked, .. } = self.clone();
        let source = from_fn(move |_| {
            let (n, state) = (asked.fetch_add(1, SeqCst) + 1, source.load(SeqCst));
            async move {
                match state {
                    UP => Ok(token(n).with_expires_in(48 * HOUR)),
                    DOWN => Err(Error::transient("connection refused")),
                    _ => std::future::pending().await,
                }
            }
        });
        let steady = Backoff::new(10 * SECOND, 10 * SECOND);
        BearerAuthLayer::with_cache(TokenCache::builder(source).transient_backoff(steady).renewal_retries(0).build())
    }

    fn api(&self) -> impl Service<Ask, Response = Answer, Error = Infallible, Future: Send> + Clone + Send + 'static {
        let revoked = Arc::clone(&self.revoked);
        service_fn(move |request: Ask| {
            let n: u64 = request.headers()["authorization"].to_str().unwrap()["Bearer t".len()..].parse().unwrap();
            let rejected = request.uri().path() == "/bad" || n <= revoked.load(SeqCst);
            let answer =
                Response::builder().status(if rejected { 401 } else { 200 }).body(Answer::default().into_body());
            std::future::ready(Ok(answer.unwrap()))
        })
    }

    fn source_is(&self, state: usize) {
        self.source.store(state, SeqCst);
    }

    fn asked(&self) -> u64 {
        self.asked.load(SeqCst)
    }
}

fn renewal_failed(answer: &Answer) -> bool {
    answer.status() == 401 && matches!(not_retried(answer), Some(NotRetried::RenewalFailed { .. }))
}

#[tokio::test(start_paused = true)]
async fn one_endpoints_401_does_not_fail_the_others_while_the_issuer_is_away() {
    let world = World::default();
    let client = world.layer().layer(world.api());
    assert!(is_ok(&get(&client, "/good").await));
    world.source_is(DOWN);
    for _ in 0..600 {
        assert!(renewal_failed(&get(&client, "/bad").await));
        assert!(is_ok(&get(&client, "/good").await), "the token lives 48 hours");
        tokio::time::advance(SECOND).await;
    }
    assert_eq!(world.asked(), 61, "each 401 after the backoff tries again");
}

#[tokio::test(start_paused = true)]
async fn requests_that_waited_for_a_renewal_that_failed_are_sent_with_the_old_token() {
    let world = World::default();
    let client = world.layer().layer(world.api());
    get(&client, "/good").await;
    world.source_is(HANGING);
    let mut rejected = waiting(1, || client.clone().oneshot(ask("/bad")));
    let good = waiting(10, || client.clone().oneshot(ask("/good")));
    assert!(renewal_failed(&rejected.remove(0).await.unwrap()));
    for request in good {
        assert!(is_ok(&request.await.unwrap()));
    }
    // Nobody waits for the later ones.
    tokio::time::advance(MINUTE).await;
    let _again = waiting(1, || client.clone().oneshot(ask("/bad")));
    let start = tokio::time::Instant::now();
    assert!(is_ok(&get(&client, "/good").await) && start.elapsed() < Duration::from_millis(1));
}

#[tokio::test(start_paused = true)]
async fn a_revoked_token_gets_its_401s_passed_on_until_a_renewal_succeeds() {
    let world = World::default();
    let client = world.layer().layer(world.api());
    get(&client, "/good").await;
    world.source_is(DOWN);
    world.revoked.store(1, SeqCst);
    for _ in 0..30 {
        assert!(renewal_failed(&get(&client, "/good").await));
        tokio::time::advance(SECOND).await;
    }
    world.source_is(UP);
    tokio::time::advance(10 * SECOND).await;
    assert!(is_ok(&get(&client, "/good").await));
}

#[tokio::test(start_paused = true)]
async fn a_kept_token_that_has_expired_is_not_served() {
    let world = World::default();
    let layer = world.layer();
    let client = layer.layer(world.api());
    get(&client, "/good").await;
    world.source_is(DOWN);
    assert!(renewal_failed(&get(&client, "/bad").await));
    tokio::time::advance(48 * HOUR).await;
    assert!(client.oneshot(ask("/good")).await.is_err());
}

/// An API that rejects everything, and an issuer that fails every other time.
#[tokio::test(start_paused = true)]
async fn tries_after_a_failure_stay_within_the_budget() {
    let world = World::default();
    let client = world.layer().layer(world.api());
    for n in 0..3600 {
        world.source_is(if world.asked() % 2 == 0 { UP } else { DOWN });
        let answer = client.clone().oneshot(ask("/bad")).await;
        assert!(n < 10 || answer.is_ok());
        tokio::time::advance(SECOND).await;
    }
    assert!(world.asked() < 80, "{}", world.asked());
}
