//! What proves that a renewal helped, so that the next rejection is a revocation.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use http::{Response, StatusCode};
use tokio::time::Instant;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_bearer::{BearerAuthLayer, Verdict};

use crate::support::{Answer, Ask, HOUR, SECOND, ask, get, scripted, token};

/// Sends one request each two seconds for an hour. The API rejects every token, and answers with `status` or with this gRPC
/// status to a request that comes within a second of another one. Returns the number of token requests.
async fn token_requests_behind_a_rate_limit(status: u16, grpc: Option<&'static str>) -> u64 {
    let (source, asked) = scripted(async |n| Ok(token(n).with_expires_in(48 * HOUR)));
    let last = Arc::new(Mutex::new(None::<Instant>));
    let api = service_fn(move |_: Ask| {
        let before = last.lock().unwrap().replace(Instant::now());
        let is_too_soon = before.is_some_and(|before| before.elapsed() < SECOND);
        let answer = match (is_too_soon, grpc) {
            (false, Some(_)) => Response::builder().header("grpc-status", "16"),
            (false, None) => Response::builder().status(401),
            (true, Some(code)) => Response::builder().header("grpc-status", code),
            (true, None) => Response::builder().status(status),
        };
        std::future::ready(Ok::<_, Infallible>(answer.body(Answer::default().into_body()).unwrap()))
    });
    let client = BearerAuthLayer::new(source).judge_by(Verdict::grpc).layer(api);
    for _ in 0..1800 {
        get(&client, "/").await;
        tokio::time::advance(2 * SECOND).await;
    }
    asked.times()
}

#[tokio::test(start_paused = true)]
async fn an_answer_from_before_authentication_does_not_prove_a_token() {
    for status in [503, 429, 408, 421, 425, 404, 302] {
        let requests = token_requests_behind_a_rate_limit(status, None).await;
        assert!(requests <= 38, "{requests} with {status}");
    }
    for code in ["14", "8"] {
        let requests = token_requests_behind_a_rate_limit(200, Some(code)).await;
        assert!(requests <= 38, "{requests} with gRPC status {code}");
    }
}

/// Returns an API that rejects the first tokens, as many as `revoked` says.
fn api(
    revoked: &Arc<AtomicU64>,
) -> impl Service<Ask, Response = Answer, Error = Infallible, Future: Send> + Clone + Send + 'static {
    let revoked = Arc::clone(revoked);
    service_fn(move |request: Ask| {
        let n: u64 = request.headers()["authorization"].to_str().unwrap()["Bearer t".len()..].parse().unwrap();
        let mut answer = Answer::default();
        if n <= revoked.load(SeqCst) {
            *answer.status_mut() = StatusCode::UNAUTHORIZED;
        }
        std::future::ready(Ok(answer))
    })
}

#[tokio::test(start_paused = true)]
async fn without_retries_each_revocation_costs_one_401_and_no_more() {
    // More often than each 100 s, the budget for renewals that no retry has proved is spent at some time.
    for (seconds, revocations) in [(20, 14), (100, 29), (150, 29)] {
        let (source, asked) = scripted(async |n| Ok(token(n).with_expires_in(48 * HOUR)));
        let revoked = Arc::new(AtomicU64::new(0));
        let client = BearerAuthLayer::new(source).without_retry().layer(api(&revoked));
        for revocation in 1..=revocations {
            for _ in 0..10 * seconds {
                assert_eq!(get(&client, "/").await.status(), 200, "before revocation {revocation}");
                tokio::time::advance(SECOND / 10).await;
            }
            revoked.store(asked.times(), SeqCst);
            assert_eq!(get(&client, "/").await.status(), 401);
            assert_eq!(client.clone().oneshot(ask("/")).await.unwrap().status(), 200, "revocation {revocation}");
        }
        assert_eq!(asked.times(), revocations + 1);
    }
}
