//! What the order of layers changes. These are the rows of the guide's table "Where to put the layer".

use std::{
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::FutureExt;
use http::{HeaderMap, Request, Response, StatusCode, header::AUTHORIZATION};
use http_body_util::Full;
use tokio::{sync::Semaphore, time::Instant};
use tower::{
    BoxError, Layer, Service, ServiceBuilder, ServiceExt,
    limit::GlobalConcurrencyLimitLayer,
    load_shed::error::Overloaded,
    retry::{Policy, RetryLayer},
    steer::Steer,
    timeout::error::Elapsed,
};
use tower_bearer::{BearerAuthLayer, Error};
use tower_http::{
    request_id::{MakeRequestUuid, SetRequestIdLayer},
    sensitive_headers::SetSensitiveRequestHeadersLayer,
    timeout::TimeoutLayer,
    trace::TraceLayer,
};

use crate::middleware::WithinBudget;
use crate::scripted::{Answer, Api, Numbered, Strict, URI, World, get, outcome, send, status, world};
use crate::support::{SECOND, grant, issuer};

const LONG: Duration = Duration::from_secs(5);

/// `Timeout` above: it limits the wait for a token. The renewal continues for the next request.
#[tokio::test(start_paused = true)]
async fn a_timeout_above_ends_the_wait_for_a_token_and_leaves_the_cache_sound() {
    let issuer = issuer();
    let gate = issuer.hold();
    let auth = BearerAuthLayer::new(grant(issuer.service()));
    let mut service = ServiceBuilder::new().timeout(LONG).layer(auth.clone()).service(Strict::new(issuer.api()));
    let mut answered =
        TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, LONG).layer(auth.layer(Strict::new(issuer.api())));
    let start = Instant::now();
    let (error, answer) = tokio::join!(send(&mut service, get(URI)), send(&mut answered, get(URI)));
    assert!(error.unwrap_err().is::<Elapsed>());
    assert_eq!((answer.unwrap().status().as_u16(), start.elapsed()), (504, LONG));
    gate.release();
    assert_eq!(send(&mut service, get(URI)).await.unwrap().status(), 200);
    assert_eq!(issuer.counts().token_requests, 1);
}

/// `Timeout` above: it limits both attempts together.
#[tokio::test(start_paused = true)]
async fn a_timeout_above_ends_the_second_attempt_too() {
    let World { api, source, layer } = world([status(401), Answer::Hang]);
    let mut service = ServiceBuilder::new().timeout(LONG).layer(layer).service(Strict::new(api.clone()));
    assert!(send(&mut service, get(URI)).await.unwrap_err().is::<Elapsed>());
    assert_eq!(api.take_authorizations(), ["Bearer t1", "Bearer t2"]);
    assert_eq!(send(&mut service, get(URI)).await.unwrap().status(), 200);
    assert_eq!(source.asked(), 2);
}

/// `Timeout` below: it does not include the wait for a token, and each attempt has the whole time.
#[tokio::test(start_paused = true)]
async fn a_timeout_below_bounds_each_attempt_by_itself() {
    let issuer = issuer();
    issuer.delay(LONG + SECOND);
    let auth = BearerAuthLayer::new(grant(issuer.service()));
    let attempts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&attempts);
    let slow = ServiceBuilder::new().timeout(LONG).map_request(move |request| {
        counted.fetch_add(1, SeqCst);
        request
    });
    let slow = slow.service(
        ServiceBuilder::new()
            .then(async |answer| {
                tokio::time::sleep(4 * SECOND).await;
                answer
            })
            .service(Strict::new(issuer.api())),
    );
    let mut service = auth.layer(slow);
    let start = Instant::now();
    assert_eq!(send(&mut service, get(URI)).await.unwrap().status(), 200);
    assert_eq!(start.elapsed(), (LONG + SECOND) + 4 * SECOND);
    issuer.revoke_all();
    let start = Instant::now();
    assert_eq!(send(&mut service, get(URI)).await.unwrap().status(), 200);
    assert_eq!(start.elapsed(), (LONG + SECOND) + 8 * SECOND);
    assert_eq!(attempts.load(SeqCst), 3);
}

/// `Retry` above: it sees only the second response, and a retried rejection uses nothing of its budget.
#[tokio::test(start_paused = true)]
async fn a_retry_policy_above_sees_the_second_answer_only() {
    for (budget, expected, tokens) in
        [(1, 200, &["Bearer t1", "Bearer t2", "Bearer t2"][..]), (0, 503, &["Bearer t1", "Bearer t2"])]
    {
        let World { api, layer, .. } = world([status(401), status(503), status(200)]);
        let retry = RetryLayer::new(WithinBudget::of(budget));
        let mut service = retry.layer(layer.layer(Strict::new(api.clone())));
        assert_eq!(send(&mut service, get(URI)).await.unwrap().status(), expected);
        assert_eq!(api.take_authorizations(), tokens);
    }
}

/// `Retry` below: each of the two attempts has retries, all with the attempt's own token.
#[tokio::test(start_paused = true)]
async fn a_retry_policy_below_repeats_with_the_same_token() {
    let World { api, layer, .. } = world([status(503), status(401), status(503), status(200)]);
    let mut service = layer.layer(RetryLayer::new(WithinBudget::of(2)).layer(Strict::new(api.clone())));
    assert_eq!(send(&mut service, get(URI)).await.unwrap().status(), 200);
    assert_eq!(api.take_authorizations(), ["Bearer t1", "Bearer t1", "Bearer t2", "Bearer t2"]);
}

/// Retries each 401 once.
#[derive(Clone)]
struct OnRejection(bool);

impl Policy<Request<Full<Bytes>>, Response<Full<Bytes>>, BoxError> for OnRejection {
    type Future = std::future::Ready<()>;

    fn retry(
        &mut self,
        _: &mut Request<Full<Bytes>>,
        result: &mut Result<Response<Full<Bytes>>, BoxError>,
    ) -> Option<Self::Future> {
        let rejected = result.as_ref().is_ok_and(|answer| answer.status() == StatusCode::UNAUTHORIZED);
        (rejected && std::mem::take(&mut self.0)).then(|| std::future::ready(()))
    }

    fn clone_request(&mut self, request: &Request<Full<Bytes>>) -> Option<Request<Full<Bytes>>> {
        Some(request.clone())
    }
}

/// `Retry` on 401: above, it repeats the work of the layer; below, it sends a rejected token twice.
#[tokio::test]
async fn a_policy_that_retries_401s_only_adds_requests() {
    for (above, tokens) in [
        (true, &["Bearer t1", "Bearer t2", "Bearer t2"][..]),
        (false, &["Bearer t1", "Bearer t1", "Bearer t2", "Bearer t2"]),
    ] {
        let World { api, layer, .. } = world([status(401), status(401), status(401), status(401)]);
        let retry = RetryLayer::new(OnRejection(true));
        let answer = if above {
            send(&mut retry.layer(layer.layer(Strict::new(api.clone()))), get(URI)).await
        } else {
            send(&mut layer.layer(retry.layer(Strict::new(api.clone()))), get(URI)).await
        };
        assert_eq!(answer.unwrap().status(), 401);
        assert_eq!(api.take_authorizations(), tokens, "above: {above}");
    }
}

/// `RateLimit`: it counts requests above and attempts below.
#[tokio::test(start_paused = true)]
async fn a_rate_limit_counts_requests_above_and_attempts_below() {
    let took = async |above: bool| {
        let World { api, layer, .. } = world([status(401)]);
        let limit = ServiceBuilder::new().buffer(8).rate_limit(1, LONG);
        let start = Instant::now();
        if above {
            send(&mut limit.layer(layer).service(Strict::new(api.clone())), get(URI)).await.unwrap();
        } else {
            send(&mut layer.layer(limit.service(Strict::new(api.clone()))), get(URI)).await.unwrap();
        }
        assert_eq!(api.take_seen().len(), 2);
        start.elapsed()
    };
    assert_eq!((took(true).await, took(false).await), (Duration::ZERO, LONG));
}

/// A response returns its permit at once, even if its future is kept.
#[tokio::test]
async fn a_future_with_a_response_no_longer_holds_the_service_below() {
    let World { api, layer, .. } = world([status(200), status(200)]);
    let permits = Arc::new(Semaphore::new(1));
    let limit = GlobalConcurrencyLimitLayer::with_semaphore(Arc::clone(&permits));
    let mut service = layer.layer(limit.layer(api));
    for _ in 0..2 {
        let ready = ServiceExt::<Request<Full<Bytes>>>::ready(&mut service).await.unwrap();
        let mut answer = pin!(ready.call(get(URI)));
        assert_eq!(answer.as_mut().await.unwrap().status(), 200);
        assert_eq!(permits.available_permits(), 1);
    }
}

/// `ConcurrencyLimit` above: the request keeps its permit while it waits for a token. If the token's own client needs
/// the same permit, only the renewal's deadline ends the wait.
#[tokio::test(start_paused = true)]
async fn a_limit_above_must_not_be_that_of_the_tokens_own_client() {
    let issuer = issuer();
    let limit = GlobalConcurrencyLimitLayer::new(1);
    let auth = BearerAuthLayer::new(grant(limit.layer(issuer.service())));
    let mut service = limit.layer(auth.layer(Strict::new(issuer.api())));
    let start = Instant::now();
    let error = send(&mut service, get(URI)).await.unwrap_err();
    assert!(error.downcast_ref().is_some_and(Error::is_timeout), "{error}");
    assert_eq!((start.elapsed(), issuer.counts().token_requests), (2 * LONG, 0));
}

/// `LoadShed` below: it sheds the second attempt if there is no capacity. This is an error, never a hang.
#[tokio::test(start_paused = true)]
async fn load_shed_below_sheds_the_second_attempt() {
    let World { api, source, layer } = world([status(200), status(401)]);
    let permits = Arc::new(Semaphore::new(1));
    let limit = GlobalConcurrencyLimitLayer::with_semaphore(Arc::clone(&permits));
    let below = ServiceBuilder::new().load_shed().layer(limit).service(api.clone());
    let mut service = layer.layer(below);
    send(&mut service, get(URI)).await.unwrap();
    let old = layer.cache().token().await.unwrap();

    let answer = send(&mut service, get(URI));
    let taken = async {
        while layer.cache().status().generation == old.generation() {
            if permits.available_permits() == 1 && layer.cache().status().renewing {
                permits.acquire().await.unwrap().forget();
            }
            tokio::task::yield_now().await;
        }
    };
    let (answer, ()) = tokio::time::timeout(LONG, futures::future::join(answer, taken)).await.expect("no hang");
    assert!(answer.unwrap_err().is::<Overloaded>());
    assert_eq!(api.take_authorizations(), ["Bearer t1", "Bearer t1"]);
    permits.add_permits(1);
    assert_eq!(send(&mut service, get(URI)).await.unwrap().status(), 200);
    assert_eq!(source.asked(), 2);
}

/// `LoadShed` above: it sheds by the readiness of the inner services. Waiting for a token does not affect that.
#[tokio::test(start_paused = true)]
async fn load_shed_above_does_not_shed_who_waits_for_a_token() {
    let issuer = issuer();
    let gate = issuer.hold();
    let auth = BearerAuthLayer::new(grant(issuer.service()));
    let service = ServiceBuilder::new().load_shed().layer(auth).concurrency_limit(1).service(issuer.api());
    let waiting: Vec<_> = (0..3).map(|_| tokio::spawn(service.clone().oneshot(get(URI)))).collect();
    gate.waiting(1).await;
    gate.release();
    for answer in waiting {
        assert_eq!(answer.await.unwrap().unwrap().status(), 200);
    }
}

/// `Trace` and `SetRequestId`: one for each request above, one for each attempt below.
#[tokio::test]
async fn spans_and_ids_are_a_requests_above_and_an_attempts_below() {
    for above in [true, false] {
        let World { api, layer, .. } = world([status(401)]);
        let spans = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&spans);
        let traced = ServiceBuilder::new().layer(SetRequestIdLayer::x_request_id(MakeRequestUuid)).layer(
            TraceLayer::new_for_http().on_request(move |_: &Request<Full<Bytes>>, _: &tracing::Span| {
                counted.fetch_add(1, SeqCst);
            }),
        );
        if above {
            send(&mut traced.layer(layer).service(Strict::new(api.clone())), get(URI)).await.unwrap();
        } else {
            send(&mut layer.layer(traced.service(Strict::new(api.clone()))), get(URI)).await.unwrap();
        }
        let ids: Vec<_> = api.take_seen().iter().map(|seen| seen.head.headers["x-request-id"].clone()).collect();
        assert_eq!((ids.len(), ids[0] == ids[1]), (2, above));
        assert_eq!(spans.load(SeqCst), if above { 1 } else { 2 });
    }
}

/// `Filter` above: a request that it refuses does not cause a token request. Below: it sees each attempt with its
/// token, and its refusal is the response.
#[tokio::test]
async fn a_filter_refuses_before_there_is_a_token_or_sees_it() {
    let World { api, source, layer } = world([]);
    let refuse = |_: Request<Full<Bytes>>| Err::<Request<Full<Bytes>>, _>(BoxError::from("refused"));
    let mut above = ServiceBuilder::new().filter(refuse).layer(layer).service(Strict::new(api.clone()));
    assert_eq!(send(&mut above, get(URI)).await.unwrap_err().to_string(), "refused");
    assert_eq!((source.asked(), api.take_seen().len()), (0, 0));

    let World { api, layer, .. } = world([status(401)]);
    let first_only = |request: Request<Full<Bytes>>| {
        if request.headers()["authorization"] == "Bearer t1" { Ok(request) } else { Err(BoxError::from("refused")) }
    };
    let mut below = layer.layer(ServiceBuilder::new().filter(first_only).service(Strict::new(api.clone())));
    assert_eq!(send(&mut below, get(URI)).await.unwrap_err().to_string(), "refused");
    assert_eq!(api.take_authorizations(), ["Bearer t1"]);
}

/// `SetSensitiveHeaders`: the token is already marked as sensitive below, and above there is no token to mark.
#[tokio::test]
async fn the_token_is_sensitive_without_a_layer_for_it() {
    let World { api, layer, .. } = world([status(401)]);
    let marked = |api: &Api| -> Vec<_> {
        api.take_seen().iter().map(|seen| seen.head.headers[AUTHORIZATION].is_sensitive()).collect()
    };
    send(&mut layer.layer(Strict::new(api.clone())), get(URI)).await.unwrap();
    assert_eq!(marked(&api), [true, true]);

    let before = Arc::new(Mutex::new(Vec::<HeaderMap>::new()));
    let saw = Arc::clone(&before);
    let mut service = ServiceBuilder::new()
        .layer(SetSensitiveRequestHeadersLayer::new([AUTHORIZATION]))
        .map_request(move |request: Request<Full<Bytes>>| {
            saw.lock().unwrap().push(request.headers().clone());
            request
        })
        .layer(layer)
        .service(Strict::new(api.clone()));
    send(&mut service, get(URI)).await.unwrap();
    assert!(before.lock().unwrap()[0].is_empty());
    assert_eq!(marked(&api), [true]);
}

type Picked = fn(&Request<Full<Bytes>>, &[Strict<Api>]) -> usize;

fn by_path<S>(request: &Request<Full<Bytes>>, _: &[S]) -> usize {
    usize::from(request.uri().path() == "/second")
}

const SECOND_API: &str = "https://api.example.org/second";

/// `Steer` above: each API has its own tokens.
#[tokio::test]
async fn steered_above_each_service_has_its_own_token() {
    let apis = [Api::default(), Api::answering([status(401)])];
    let services = apis.clone().map(|api| BearerAuthLayer::new(Numbered::default()).layer(Strict::new(api)));
    let mut service = Steer::new(services, by_path);
    for uri in [URI, SECOND_API] {
        assert_eq!(send(&mut service, get(uri)).await.unwrap().status(), 200);
    }
    assert_eq!(apis.map(|api| api.take_authorizations()), [vec!["Bearer t1"], vec!["Bearer t1", "Bearer t2"]]);
}

/// `Steer` below: the second attempt goes to the same service as the first. It needs a `Buffer` around it; the next
/// test shows why.
#[tokio::test]
async fn steered_below_in_a_buffer_the_second_attempt_goes_the_same_way() {
    let apis = [Api::default(), Api::answering([status(401)])];
    let steer = Steer::new(apis.clone().map(Strict::new), by_path as Picked);
    let mut service = BearerAuthLayer::new(Numbered::default()).layer(ServiceBuilder::new().buffer(1).service(steer));
    let answer = send(&mut service, get(SECOND_API)).await.unwrap();
    assert!(outcome(&answer).retried());
    assert_eq!(apis.map(|api| api.take_authorizations()), [vec![], vec!["Bearer t1", "Bearer t2"]]);
}

/// A clone of tower's `Steer` copies its readiness, but not that of its services. If this test fails, tower has fixed
/// that, and the row in the guide can be removed.
#[tokio::test]
async fn a_clone_of_a_ready_steer_calls_services_that_are_not_ready() {
    let mut steer = Steer::new([Strict::new(Api::default())], by_path as Picked);
    steer.ready().await.unwrap();
    let mut clone = steer.clone();
    assert!(ServiceExt::<Request<Full<Bytes>>>::ready(&mut clone).now_or_never().is_some(), "at once");
    let called = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(clone.call(get(URI)))));
    assert!(called.is_err());
}
