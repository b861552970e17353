//! Renewals that rejections cause, and the budget for them.

use std::{
    convert::Infallible,
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::{Response, StatusCode};
use tokio::{sync::Semaphore, time::Instant};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_bearer::{
    BearerAuthLayer, FixedToken, NotRetried, TokenCache,
    testing::{Issuer, TokenFormat},
};

use crate::support::{Answer, Ask, SECOND, ask, get, grant, is_ok, issuer, not_retried, outcome, waiting};

fn layer(issuer: &Issuer) -> BearerAuthLayer {
    BearerAuthLayer::new(grant(issuer.service()))
}

/// Returns an API with one endpoint, `/bad`, that responds to every token with a 401 without a challenge.
fn partly_bad(
    issuer: &Issuer,
) -> impl Service<Ask, Response = Answer, Error = Infallible, Future: Send> + Clone + Send + Sync + 'static {
    let api = issuer.api();
    service_fn(move |request: Ask| {
        let api = api.clone();
        async move {
            if request.uri().path() == "/bad" {
                let mut answer = Response::default();
                *answer.status_mut() = StatusCode::UNAUTHORIZED;
                return Ok(answer);
            }
            api.oneshot(request).await
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_thousand_401s_at_once_cost_one_renewal_and_one_retry_each() {
    let issuer = issuer();
    let layer = layer(&issuer);
    layer.cache().token().await.unwrap();
    issuer.revoke_all();
    let gate = Arc::new(Semaphore::new(0));
    let client = layer.layer(slow(&issuer, &gate));
    let requests = waiting(1000, || client.clone().oneshot(ask("/")));
    assert_eq!(issuer.counts().api_rejected, 1000);
    gate.close();
    for request in requests {
        let answer = request.await.unwrap();
        assert!(is_ok(&answer) && outcome(&answer).unwrap().retried());
    }
    assert_eq!((issuer.counts().token_requests, issuer.counts().api_requests), (2, 2000));
}

#[tokio::test(start_paused = true)]
async fn a_late_401_costs_no_renewal_and_one_retry_with_the_newer_token() {
    let issuer = issuer();
    let layer = layer(&issuer);
    let client = layer.layer(issuer.api());
    get(&client, "/").await;
    let gate = Arc::new(Semaphore::new(0));
    let slow = layer.layer(slow(&issuer, &gate));
    issuer.revoke_all();
    let late = waiting(10, || slow.clone().oneshot(ask("/")));
    assert!(is_ok(&get(&client, "/").await));
    let before = issuer.counts();
    gate.close();
    for request in late {
        let answer = request.await.unwrap();
        assert!(is_ok(&answer) && outcome(&answer).unwrap().generation() == 2);
    }
    assert_eq!(issuer.counts().token_requests, before.token_requests);
    assert_eq!(issuer.counts().api_requests, before.api_requests + 10);
}

/// Returns an API that decides at once, and sends its response when the gate has a permit or is closed.
fn slow(
    issuer: &Issuer,
    gate: &Arc<Semaphore>,
) -> impl Service<Ask, Response = Answer, Error = Infallible> + Clone + use<> {
    let (api, gate) = (issuer.api(), Arc::clone(gate));
    service_fn(move |request: Ask| {
        let (api, gate) = (api.clone(), Arc::clone(&gate));
        async move {
            let answer = api.oneshot(request).await;
            let _permit = gate.acquire().await;
            answer
        }
    })
}

#[tokio::test(start_paused = true)]
async fn the_same_token_again_is_not_retried_and_the_401_is_passed_on() {
    let issuer = issuer();
    let client = layer(&issuer).layer(issuer.api());
    get(&client, "/").await;
    issuer.revoke_current();
    issuer.return_same_token(true);
    let answer = get(&client, "/").await;
    assert_eq!(answer.status(), 401);
    assert!(matches!(not_retried(&answer), Some(NotRetried::SameToken)));
    assert_eq!(answer.headers()["www-authenticate"].to_str().unwrap().matches("revoked").count(), 1);
    assert_eq!((issuer.counts().token_requests, issuer.counts().api_requests), (2, 2));
    let answer = get(&client, "/").await;
    assert!(matches!(not_retried(&answer), Some(NotRetried::BudgetSpent)));
    assert_eq!(issuer.counts().token_requests, 2);
    issuer.return_same_token(false);
    tokio::time::advance(SECOND).await;
    assert!(is_ok(&get(&client, "/").await));
}

#[tokio::test(start_paused = true)]
async fn a_rejected_fixed_token_is_the_same_token_again() {
    let client = BearerAuthLayer::new(FixedToken::new("fixed").unwrap()).layer(issuer().api());
    let answer = get(&client, "/").await;
    assert_eq!(answer.status(), 401);
    assert!(matches!(not_retried(&answer), Some(NotRetried::SameToken)));
}

/// For an hour, at a hundred requests a second.
#[tokio::test(start_paused = true)]
async fn an_api_that_rejects_everything_for_an_hour_costs_36_token_requests() {
    let issuer = issuer();
    let layer = layer(&issuer);
    let broken = Arc::new(AtomicBool::new(true));
    let mut client = layer.layer({
        let broken = Arc::clone(&broken);
        service_fn(move |_: http::Request<()>| {
            let mut answer = Response::new(String::new());
            if broken.load(Ordering::Relaxed) {
                *answer.status_mut() = StatusCode::UNAUTHORIZED;
            }
            std::future::ready(Ok::<_, Infallible>(answer))
        })
    });
    let mut send = async || client.ready().await.unwrap().call(http::Request::new(())).await.unwrap();
    for _ in 0..3600 {
        for _ in 0..100 {
            assert_eq!(send().await.status(), 401);
        }
        tokio::time::advance(SECOND).await;
    }
    assert_eq!(issuer.counts().token_requests, 36);
    broken.store(false, Ordering::Relaxed);
    let answer = send().await;
    assert!(answer.status() == 200 && answer.extensions().is_empty(), "it recovers at once when the API does");
}

/// The same at a thousand a second, for users of the cache without the layer.
#[tokio::test(start_paused = true)]
async fn invalidating_every_token_for_an_hour_costs_36_token_requests() {
    let issuer = issuer();
    let cache = TokenCache::new(grant(issuer.service()));
    for _ in 0..3600 {
        for _ in 0..1000 {
            cache.invalidate(&cache.token().await.unwrap());
        }
        tokio::time::advance(SECOND).await;
    }
    assert_eq!(issuer.counts().token_requests, 36);
}

/// The cost of an hour at 20 requests a second.
#[derive(Debug)]
struct Cost {
    token_requests: u64,
    revocations: u64,
    /// The longest time from a revocation to the next successful response of a good endpoint.
    longest_outage: Duration,
}

/// Simulates an hour in which this share of requests goes to the bad endpoint. The token is revoked every
/// `revoked_each` seconds.
async fn hour(bad: f64, revoked_each: Option<u64>) -> Cost {
    let issuer = issuer();
    let client = layer(&issuer).layer(partly_bad(&issuer));
    let mut random = fastrand::Rng::with_seed(7);
    let (mut revoked_at, mut revocations, mut longest_outage) = (None, 0, Duration::ZERO);
    for tick in 1..=72_000 {
        if revoked_each.is_some_and(|seconds| tick % (20 * seconds) == 7) {
            issuer.revoke_all();
            revocations += 1;
            revoked_at.get_or_insert_with(Instant::now);
        }
        if random.f64() < bad {
            get(&client, "/bad").await;
        } else if is_ok(&get(&client, "/good").await) {
            let outage = revoked_at.take().map_or(Duration::ZERO, |at: Instant| at.elapsed());
            longest_outage = longest_outage.max(outage);
        }
        tokio::time::advance(SECOND / 20).await;
    }
    Cost { token_requests: issuer.counts().token_requests, revocations, longest_outage }
}

#[tokio::test(start_paused = true)]
async fn one_bad_endpoint_costs_no_more_than_an_api_that_rejects_everything() {
    for bad in [0.05, 0.25, 0.5] {
        let cost = hour(bad, None).await.token_requests;
        assert!(cost <= 37, "{cost} with {bad} bad");
    }
}

#[tokio::test(start_paused = true)]
async fn with_a_bad_endpoint_a_good_one_recovers_from_a_revocation_within_two_seconds() {
    for bad in [0.05, 0.25, 0.5] {
        within_two_seconds(bad, 1800).await;
    }
}

#[tokio::test(start_paused = true)]
async fn with_a_bad_endpoint_a_good_one_recovers_from_each_of_many_revocations() {
    for (bad, each) in [(0.05, 30), (0.25, 30), (0.5, 30), (0.05, 3), (0.25, 3), (0.5, 3)] {
        within_two_seconds(bad, each).await;
    }
}

async fn within_two_seconds(bad: f64, revoked_each: u64) {
    let cost = hour(bad, Some(revoked_each)).await;
    let outage = SECOND / 20..=2 * SECOND;
    assert!(outage.contains(&cost.longest_outage), "{cost:?} with {bad} bad and a revocation each {revoked_each} s");
    assert!((1 + cost.revocations..=37 + cost.revocations).contains(&cost.token_requests), "{cost:?}");
}

/// Without a bad endpoint, each revocation causes one renewal, and no request fails.
#[tokio::test(start_paused = true)]
async fn revocations_of_tokens_that_work_are_not_held_back() {
    let cost = hour(0.0, Some(3)).await;
    assert_eq!((cost.token_requests, cost.revocations, cost.longest_outage), (1201, 1200, Duration::ZERO));
}

/// The gaps between requests in seconds, and whether they are random.
const PACES: [(f64, bool); 11] = [
    (0.1, false),
    (0.9, false),
    (1.0, false),
    (1.5, false),
    (5.0, false),
    (10.0, false),
    (16.0, false),
    (30.0, false),
    (1.0, true),
    (5.0, true),
    (10.0, true),
];

/// Sends one good and one bad request by turns, or one by chance, for an hour. Returns the number of token requests.
async fn token_requests_in_an_hour<S>(issuer: &Issuer, client: &S, gap: f64, is_random: bool) -> u64
where
    S: Service<Ask, Response = Answer, Error: Debug> + Clone,
{
    let mut random = fastrand::Rng::with_seed(3);
    let (start, mut turn) = (Instant::now(), 0);
    while start.elapsed() < 3600 * SECOND {
        turn += 1;
        let is_bad = if is_random { random.bool() } else { turn % 2 == 0 };
        get(client, if is_bad { "/bad" } else { "/good" }).await;
        let gap = if is_random { -gap * (1.0 - random.f64()).ln() } else { gap };
        tokio::time::advance(Duration::from_secs_f64(gap)).await;
    }
    issuer.counts().token_requests
}

/// Returns an issuer none of whose tokens ages within an hour.
fn issuer_of_long_lived_tokens() -> Issuer {
    Issuer::builder().token_format(TokenFormat::Opaque).lifetime(86_400 * SECOND).build()
}

/// Some issuers return the same token again while it is valid.
#[tokio::test(start_paused = true)]
async fn one_bad_endpoint_stays_within_the_bound_at_any_pace() {
    for (gap, is_random) in PACES {
        for returns_same_token in [false, true] {
            let issuer = issuer_of_long_lived_tokens();
            issuer.return_same_token(returns_same_token);
            let client = layer(&issuer).layer(partly_bad(&issuer));
            let cost = token_requests_in_an_hour(&issuer, &client, gap, is_random).await;
            assert!((2..=37).contains(&cost), "{cost} with a gap of {gap} s, the same token: {returns_same_token}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_bad_endpoint_without_retries_stays_within_the_bound_at_any_pace() {
    for (gap, is_random) in PACES {
        let issuer = issuer_of_long_lived_tokens();
        let client = layer(&issuer).without_retry().layer(partly_bad(&issuer));
        let cost = token_requests_in_an_hour(&issuer, &client, gap, is_random).await;
        assert!((2..=37).contains(&cost), "{cost} with a gap of {gap} s, random: {is_random}");
    }
}
