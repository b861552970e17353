//! Requests that user code sends by `TokenCache::call`, and by its parts `accept` and `reject`.

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt, future::join_all};
use http::{HeaderMap, Response, StatusCode, header::AUTHORIZATION};
use http_body_util::Full;
use tokio::{
    task::yield_now,
    time::{Instant, advance, sleep},
};
use tower::{BoxError, Layer, ServiceExt};
use tower_bearer::{
    AccessToken, BearerAuthLayer, Error, FixedToken, Judged, NotRetried, Outcome, TokenCache, TokenPool, Verdict,
    cache::{Age, Backoff},
    source::{Narrowing, from_fn},
};

use crate::{
    scripted::{Answer, Api, Numbered, Strict, URI, challenge, get, status},
    support::{Asked, HOUR, MINUTE, SECOND, gated, polled, scripted, settled, token, waiting},
};

type Sent = Result<Response<Full<Bytes>>, BoxError>;

async fn send(api: &Api, token: AccessToken) -> Sent {
    let mut request = get(URI);
    request.headers_mut().insert(AUTHORIZATION, token.header_value());
    api.clone().oneshot(request).await
}

fn judge(sent: &Sent) -> Judged {
    sent.as_ref().map_or(Judged::UNKNOWN, Judged::response)
}

async fn call(cache: &TokenCache, api: &Api) -> (Sent, Outcome) {
    cache.call_with_outcome(|token| send(api, token), judge).await.unwrap()
}

/// Returns the status that a caller who does not ask for more gets.
async fn plain(cache: &TokenCache, api: &Api) -> u16 {
    cache.call(|token| send(api, token), Judged::response).await.unwrap().unwrap().status().as_u16()
}

fn world(answers: impl IntoIterator<Item = Answer>) -> (TokenCache, Api, Numbered) {
    let source = Numbered::default();
    (TokenCache::new(source.clone()), Api::answering(answers), source)
}

fn code(sent: &Sent) -> u16 {
    sent.as_ref().unwrap().status().as_u16()
}

#[tokio::test]
async fn a_call_sends_the_token_and_runs_once_if_it_is_accepted() {
    let (cache, api, source) = world([]);
    for waited in [true, false] {
        let (sent, outcome) = call(&cache, &api).await;
        assert_eq!(code(&sent), 200);
        assert_eq!((outcome.waited(), outcome.retried(), outcome.generation()), (waited, false, 1));
        assert!(outcome.not_retried().is_none());
    }
    assert_eq!(api.take_authorizations(), ["Bearer t1"; 2]);
    assert_eq!(source.asked(), 1);
}

/// RFC 9110 §15.5.2.
#[tokio::test]
async fn a_rejected_call_is_sent_once_more_and_the_second_result_is_final() {
    for second in [200, 401, 403, 419, 500, 503] {
        let (cache, api, source) = world([status(401), status(second), status(200)]);
        let (sent, outcome) = call(&cache, &api).await;
        assert_eq!(code(&sent), second);
        assert!(outcome.retried() && outcome.not_retried().is_none() && outcome.generation() == 2);
        assert_eq!(api.take_authorizations(), ["Bearer t1", "Bearer t2"]);
        assert_eq!(source.asked(), 2);
    }
}

#[tokio::test]
async fn an_error_of_the_client_is_the_inner_error_and_final() {
    let (cache, api, source) = world([Answer::Fail("refused"), status(401), Answer::Fail("reset"), status(200)]);
    for (why, sent) in [("refused", 1), ("reset", 2)] {
        let result = cache.call(|token| send(&api, token), Judged::response).await;
        assert_eq!(result.unwrap().unwrap_err().to_string(), why);
        assert_eq!(api.take_seen().len(), sent);
    }
    assert_eq!(plain(&cache, &api).await, 200);
    assert_eq!(source.asked(), 2);
}

#[tokio::test]
async fn without_a_token_the_outer_error_is_the_caches_and_nothing_is_sent() {
    let (cache, api, source) = world([]);
    source.fail(true);
    for backing_off in [false, true] {
        let error = cache.call(|token| send(&api, token), Judged::response).await.unwrap_err();
        assert!(error.is_transient() && error.is_backing_off() == backing_off);
    }
    // The renewal is tried again three times, but not during the backoff.
    assert_eq!((api.take_seen().len(), source.asked()), (0, 4));
}

#[tokio::test(start_paused = true)]
async fn refused_credentials_cost_one_token_request_for_a_thousand_calls() {
    let (source, asked) = scripted(|_| async { Err::<AccessToken, _>(Error::terminal("refused")) });
    let (cache, api) = (TokenCache::new(source), Api::default());
    let calls = (0..1000).map(|_| cache.call(|token| send(&api, token), Judged::response));
    assert!(join_all(calls).await.iter().all(|call| call.as_ref().is_err_and(Error::is_terminal)));
    assert_eq!((asked.times(), api.take_seen().len()), (1, 0));
}

/// Each has its answer before the first of them is judged.
#[tokio::test]
async fn a_thousand_calls_that_are_rejected_for_one_token_share_one_renewal() {
    let (cache, api, source) = world((0..1000).map(|_| status(401)));
    cache.token().await.unwrap();
    let answered = tokio::sync::Barrier::new(1000);
    let calls = (0..1000).map(|_| {
        let (mut first, cache, api, answered) = (true, &cache, &api, &answered);
        cache.call(
            move |token| {
                let is_first = std::mem::take(&mut first);
                async move {
                    let sent = send(api, token).await;
                    if is_first {
                        answered.wait().await;
                    }
                    sent
                }
            },
            Judged::response,
        )
    });
    assert!(join_all(calls).await.into_iter().all(|call| call.unwrap().unwrap().status() == 200));
    assert_eq!((source.asked(), api.take_seen().len()), (2, 2000));
}

#[tokio::test]
async fn a_late_rejection_costs_a_second_attempt_and_no_renewal() {
    let (cache, api, source) = world([status(401)]);
    let old = cache.token().await.unwrap();
    let mut late = pin!(cache.call(|token| send(&api, token), Judged::response));
    assert!(futures::poll!(&mut late).is_pending());
    cache.invalidate(&old);
    cache.token().await.unwrap();
    assert_eq!(late.await.unwrap().unwrap().status(), 200);
    assert_eq!(api.take_authorizations(), ["Bearer t1", "Bearer t2"]);
    assert_eq!(source.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_rejected_during_a_renewal_waits_for_that_renewal() {
    let ((cache, asked, gate), api) = (gated(), Api::answering([status(401)]));
    gate.add_permits(1);
    cache.token().await.unwrap();
    advance(58 * MINUTE).await;
    let mut rejected = tokio_test::task::spawn(call(&cache, &api));
    for _ in 0..5 {
        yield_now().await;
        assert!(rejected.poll().is_pending());
    }
    assert!(cache.status().renewing, "stale, and rejected during its renewal");
    gate.add_permits(10);
    let (sent, outcome) = rejected.await;
    assert!(code(&sent) == 200 && outcome.retried());
    assert_eq!(asked.times(), 2);
}

#[tokio::test(start_paused = true)]
async fn if_the_renewal_fails_each_call_gets_its_own_answer_and_the_reason() {
    let (cache, api, source) = world([]);
    cache.token().await.unwrap();
    source.fail(true);
    (0..10).for_each(|n| api.will(status(if n < 9 { 401 } else { 200 })));
    let calls = join_all((0..9).map(|_| call(&cache, &api))).await;
    for (sent, outcome) in &calls {
        assert_eq!((code(sent), outcome.retried(), outcome.generation()), (401, false, 1));
        let Some(NotRetried::RenewalFailed { error, .. }) = outcome.not_retried() else { panic!("{outcome:?}") };
        assert!(error.is_transient());
    }
    assert_eq!(api.take_seen().len(), 9, "nothing is sent twice");
    assert_eq!(plain(&cache, &api).await, 200, "the token is served, because other endpoints may accept it");
    source.fail(false);
    advance(MINUTE).await;
    api.will(status(401));
    assert!(call(&cache, &api).await.1.retried(), "after the backoff");
}

#[tokio::test(start_paused = true)]
async fn during_the_backoff_of_an_expired_token_calls_fail_at_once() {
    let (source, asked) =
        scripted(|n| async move { if n == 1 { Ok(token(1)) } else { Err(Error::transient("down")) } });
    let cache = TokenCache::builder(source).transient_backoff(Backoff::new(10 * SECOND, MINUTE)).build();
    let api = Api::default();
    cache.token().await.unwrap();
    advance(HOUR).await;
    assert!(cache.call(|token| send(&api, token), Judged::response).await.is_err());
    let (before, start) = (asked.times(), Instant::now());
    for _ in 0..100 {
        assert!(cache.call(|token| send(&api, token), Judged::response).await.unwrap_err().is_backing_off());
    }
    assert_eq!((asked.times(), start.elapsed(), api.take_seen().len()), (before, Duration::ZERO, 0));
}

#[tokio::test]
async fn the_same_token_again_is_not_sent_again() {
    let (cache, api) = (TokenCache::new(FixedToken::new("fixed").unwrap()), Api::answering([status(401)]));
    let (sent, outcome) = call(&cache, &api).await;
    assert!(matches!(outcome.not_retried(), Some(NotRetried::SameToken)) && !outcome.retried());
    assert_eq!((code(&sent), api.take_seen().len()), (401, 1));
    let token = cache.token().await.unwrap();
    assert!(matches!(cache.reject(&token).await, Err(NotRetried::BudgetSpent | NotRetried::SameToken)));
}

/// RFC 6750 §3.1, RFC 9470 §3.
#[tokio::test]
async fn what_a_new_token_would_not_help_against_is_not_sent_again() {
    let scope = "Bearer error=insufficient_scope";
    let user = "Bearer error=insufficient_user_authentication";
    for (code, says) in
        [(401, scope), (403, scope), (401, user), (403, ""), (500, ""), (404, "Bearer error=invalid_token")]
    {
        let (cache, api, source) = world([challenge(code, says)]);
        let (sent, outcome) = call(&cache, &api).await;
        assert_eq!(sent.unwrap().status(), code);
        let is_meant = match outcome.not_retried() {
            Some(NotRetried::InsufficientScope) => says == scope,
            Some(NotRetried::InsufficientUserAuthentication) => says == user,
            Some(_) => false,
            None => code != 401,
        };
        assert!(is_meant && !outcome.retried(), "{code} {says}: {outcome:?}");
        assert_eq!((api.take_seen().len(), source.asked()), (1, 1));
    }
}

#[tokio::test]
async fn a_401_that_names_a_scope_which_the_token_lacks_keeps_the_token() {
    let (source, asked) = scripted(|n| async move { Ok(token(n).with_scope("patients.read")) });
    let cache = TokenCache::new(source);
    let api = Api::answering([
        challenge(401, "Bearer scope=\"patients.write\""),
        challenge(401, "Bearer scope=\"patients.read\""),
    ]);
    assert!(matches!(call(&cache, &api).await.1.not_retried(), Some(NotRetried::InsufficientScope)));
    assert_eq!(asked.times(), 1);
    assert!(call(&cache, &api).await.1.retried(), "the token has this one");
}

#[tokio::test]
async fn a_custom_judge_decides_what_is_a_rejection() {
    let (cache, api, _) = world([status(419), status(200), status(401)]);
    let judge = |answer: &Response<Full<Bytes>>| match answer.status().as_u16() {
        419 => Judged::REJECTED,
        401 => Judged::UNKNOWN,
        _ => Judged::response(answer),
    };
    for expected in [200, 401] {
        let answer = cache.call(|token| send(&api, token), judge).await.unwrap().unwrap();
        assert_eq!(answer.status(), expected);
    }
    assert_eq!(api.take_authorizations(), ["Bearer t1", "Bearer t2", "Bearer t2"]);
}

#[tokio::test]
async fn a_client_that_returns_a_rejection_as_an_error_is_judged_by_its_whole_output() {
    let (cache, _, source) = world([]);
    let send = async |token: AccessToken| if token.secret() == "t1" { Err(401) } else { Ok("patient") };
    let judge = |result: &Result<&str, u16>| match result {
        Ok(_) => Judged::ACCEPTED,
        Err(401) => Judged::REJECTED,
        Err(_) => Judged::UNKNOWN,
    };
    let (patient, outcome) = cache.call_with_outcome(send, judge).await.unwrap();
    assert!(patient == Ok("patient") && outcome.retried());
    assert_eq!(source.asked(), 2);
}

/// Says when it is dropped.
struct Held(Arc<OnceLock<Duration>>, Instant);

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.set(self.1.elapsed());
    }
}

/// Calls an API that rejects each token with an answer that `judged` describes, while the renewal takes five seconds and fails.
/// Returns after which time the first answer was dropped, how often it was sent, and the outcome.
async fn slow_failure(judged: Judged) -> (Duration, u32, Outcome) {
    let (source, _) = scripted(|n| async move {
        if n == 1 {
            return Ok(token(1));
        }
        sleep(5 * SECOND).await;
        Err(Error::terminal("refused"))
    });
    let cache = TokenCache::new(source);
    cache.token().await.unwrap();
    let (dropped, start, mut runs) = (Arc::new(OnceLock::new()), Instant::now(), 0);
    let send = |_| {
        runs += 1;
        let held = Held(Arc::clone(&dropped), start);
        async move { held }
    };
    let (last, outcome) = cache.call_with_outcome(send, |_| judged.clone()).await.unwrap();
    assert_eq!(start.elapsed(), 5 * SECOND);
    drop(last);
    (*dropped.get().unwrap(), runs, outcome)
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_may_hold_a_connection_is_given_up_during_a_long_renewal() {
    let head = |length: &str| {
        let headers = HeaderMap::from_iter([("content-length".parse().unwrap(), length.parse().unwrap())]);
        Judged::head(StatusCode::UNAUTHORIZED, &headers)
    };
    let failed = |outcome: &Outcome| matches!(outcome.not_retried(), Some(NotRetried::RenewalFailed { .. }));
    for (length, dropped) in [("100000", 100), ("1000", 2500)] {
        let (after, sent, outcome) = slow_failure(head(length)).await;
        assert!(after.as_millis().abs_diff(dropped) <= 200, "{after:?}");
        assert!(sent == 2 && outcome.retried() && failed(&outcome), "sent again with the old token");
    }
    for judged in [head("0"), Judged::REJECTED] {
        let (after, sent, outcome) = slow_failure(judged).await;
        assert_eq!((after, sent, outcome.retried()), (5 * SECOND, 1, false), "it holds nothing");
        assert!(failed(&outcome));
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_dropped_in_any_state_leaves_the_cache_sound() {
    let mut polls = 0;
    loop {
        let (cache, api, source) = world([status(401)]);
        let ended = polled(polls, call(&cache, &api)).await;
        advance(SECOND).await;
        assert_eq!(plain(&cache, &api).await, 200, "after {polls} polls");
        assert!((1..=2).contains(&source.asked()), "{} renewals after {polls} polls", source.asked());
        let status = cache.status();
        assert!(status.age == Age::Fresh && !status.renewing && status.failures == 0, "{status:?}");
        if ended {
            break;
        }
        polls += 1;
    }
    assert!(polls > 5, "only {polls} polls: not all states were gone through");
}

#[tokio::test]
async fn a_panic_of_the_client_or_of_the_judge_leaves_the_cache_sound() {
    for panics_at in [1, 2, 3, 4] {
        let (cache, api, source) = world([status(401)]);
        let at = AtomicU64::new(0);
        let step = || assert_ne!(at.fetch_add(1, SeqCst) + 1, panics_at, "on purpose");
        let call = cache.call(
            |token| {
                step();
                send(&api, token)
            },
            |answer| {
                step();
                Judged::response(answer)
            },
        );
        assert!(AssertUnwindSafe(call).catch_unwind().await.is_err());
        settled(&cache).await;
        assert_eq!(plain(&cache, &api).await, 200, "after a panic in step {panics_at}");
        assert_eq!(cache.status().failures, 0);
        assert!(source.asked() <= 2);
    }
}

#[tokio::test]
async fn a_call_by_the_source_of_the_cache_itself_is_an_error() {
    let own: Arc<OnceLock<TokenCache>> = Arc::default();
    let inner = Arc::clone(&own);
    let cache = TokenCache::new(from_fn(move |_| {
        let cache = inner.get().unwrap().clone();
        async move { cache.call(async |token| Ok::<_, Error>(token), |_| Judged::ACCEPTED).await? }
    }));
    own.set(cache.clone()).unwrap();
    assert!(cache.token().await.unwrap_err().is_recursion());
}

#[tokio::test]
async fn a_pools_identity_and_a_narrowed_cache_have_their_own_calls() {
    let made: HashMap<&str, Numbered> = ["acme", "globex"].map(|name| (name, Numbered::default())).into();
    let sources = made.clone();
    let pool = TokenPool::new(move |tenant: &String| Ok(sources[tenant.as_str()].clone()));
    let api = Api::answering([status(401)]);
    assert_eq!(plain(&pool.cache("acme").unwrap(), &api).await, 200);
    assert_eq!(plain(&pool.cache("globex").unwrap(), &api).await, 200);
    assert_eq!((made["acme"].asked(), made["globex"].asked()), (2, 1));

    let issuer = crate::support::issuer();
    let cache = TokenCache::new(crate::support::grant(issuer.service()));
    let narrowed = cache.narrowed(&Narrowing::new().with_scope("user/Patient.rs").unwrap()).unwrap();
    api.will(status(401));
    assert!(call(&narrowed, &api).await.1.retried());
    assert_eq!((issuer.counts().token_requests, cache.status().generation), (2, 0));
}

/// Compiles: futures that can be spawned, and both errors with `?`.
#[tokio::test]
async fn calls_can_be_spawned_with_each_form_of_closure() {
    let (cache, api, _) = world([]);
    let by_closure = {
        let (cache, api) = (cache.clone(), api.clone());
        async move { Ok::<_, BoxError>(cache.call(|token| send(&api, token), Judged::response).await??.status()) }
    };
    let by_block = {
        let (cache, api) = (cache.clone(), api.clone());
        async move {
            let api = &api;
            let send = |token| async move {
                let answer = send(api, token).await?;
                Ok::<_, BoxError>(answer)
            };
            Ok::<_, BoxError>(cache.call(send, Judged::response).await??.status())
        }
    };
    let by_async_closure = async move {
        let send = async |token| send(&api, token).await;
        Ok::<_, BoxError>(cache.call(send, Judged::response).await??.status())
    };
    for status in [tokio::spawn(by_closure), tokio::spawn(by_block), tokio::spawn(by_async_closure)] {
        assert_eq!(status.await.unwrap().unwrap(), 200);
    }
}

#[tokio::test]
async fn a_rejected_token_is_exchanged_for_the_renewed_one() {
    let (cache, _, source) = world([]);
    let first = cache.token().await.unwrap();
    let second = cache.reject(&first).await.unwrap();
    assert_eq!((second.secret(), second.generation()), ("t2", 2));
    assert_eq!(cache.reject(&first).await.unwrap().secret(), "t2", "it was replaced already");
    assert_eq!(cache.token().await.unwrap().secret(), "t2");
    assert_eq!(source.asked(), 2);
}

#[tokio::test]
async fn a_thousand_rejections_of_one_token_cost_one_renewal() {
    let (cache, _, source) = world([]);
    let token = cache.token().await.unwrap();
    for next in waiting(1000, || cache.reject(&token)) {
        assert_eq!(next.await.unwrap().secret(), "t2");
    }
    assert_eq!(source.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_rejection_that_brings_no_token_says_why() {
    let (cache, _, source) = world([]);
    let first = cache.token().await.unwrap();
    source.fail(true);
    for asked in [5, 5] {
        let why = cache.reject(&first).await.unwrap_err();
        assert!(matches!(&why, NotRetried::RenewalFailed { error, .. } if error.is_transient()));
        let text = why.to_string();
        assert!(
            text.starts_with("the API rejected the token, and its renewal failed: the token source failed"),
            "{text}"
        );
        assert_eq!(source.asked(), asked, "nothing during the backoff");
    }
    assert_eq!(cache.token().await.unwrap().secret(), "t1", "it is still the best one");

    let (cache, _, source) = world([]);
    let second = cache.reject(&cache.token().await.unwrap()).await.unwrap();
    let why = cache.reject(&second).await.unwrap_err();
    assert!(matches!(why, NotRetried::BudgetSpent), "{why}");
    assert_eq!(source.asked(), 2);
}

#[tokio::test]
async fn a_cache_that_was_made_again_does_not_return_the_token_that_its_caller_rejects() {
    let rejected = TokenCache::new(FixedToken::new("same").unwrap()).token().await.unwrap();
    let made_again = TokenCache::new(FixedToken::new("same").unwrap());
    assert!(matches!(made_again.reject(&rejected).await, Err(NotRetried::SameToken)));
}

#[tokio::test]
async fn another_caches_token_is_neither_accepted_nor_rejected() {
    let (cache, _, source) = world([]);
    let foreign = TokenCache::new(FixedToken::new("foreign").unwrap()).token().await.unwrap();
    assert_eq!(cache.reject(&foreign).await.unwrap().secret(), "t1", "the first one, without a rejection");
    assert_eq!(cache.reject(&foreign).await.unwrap().secret(), "t1");
    assert_eq!(source.asked(), 1);
    let second = cache.reject(&cache.token().await.unwrap()).await.unwrap();
    cache.accept(&foreign);
    assert!(matches!(cache.reject(&second).await, Err(NotRetried::BudgetSpent)), "nothing has proven it");
}

#[tokio::test(start_paused = true)]
async fn the_acceptance_of_a_retry_shows_that_the_renewal_helped() {
    let (cache, _, source) = world([]);
    let mut token = cache.token().await.unwrap();
    for revocation in 1..=100 {
        sleep(5 * SECOND).await;
        token = cache.reject(&token).await.unwrap();
        cache.accept(&token);
        assert_eq!(source.asked(), revocation + 1);
    }
}

/// The ways to send a request.
#[derive(Clone, Copy, Debug)]
enum Way {
    Layer,
    Call,
    Parts,
}

/// Sends a request to an API, in this way. Returns its status.
async fn by(way: Way, cache: &TokenCache, api: &(impl Fn(&str) -> u16 + Sync)) -> u16 {
    let send = |token: AccessToken| {
        let answer = Response::builder().status(api(token.secret())).body(Full::<Bytes>::default()).unwrap();
        std::future::ready(Ok::<_, BoxError>(answer))
    };
    let answer = match way {
        Way::Layer => {
            let inner = tower::service_fn(|request: http::Request<Full<Bytes>>| {
                let token = request.headers()[AUTHORIZATION].to_str().unwrap().replace("Bearer ", "");
                send(AccessToken::new(token).unwrap())
            });
            BearerAuthLayer::with_cache(cache.clone()).layer(Strict::new(inner)).oneshot(get(URI)).await.unwrap()
        }
        Way::Call => cache.call(send, Judged::response).await.unwrap().unwrap(),
        Way::Parts => {
            let mut token = cache.token().await.unwrap();
            let mut answer = send(token.clone()).await.unwrap();
            if answer.status() == 401 {
                let Ok(next) = cache.reject(&token).await else { return 401 };
                token = next;
                answer = send(token.clone()).await.unwrap();
            }
            match answer.status().as_u16() {
                200 => cache.accept(&token),
                // The layer does not renew a token because of a second attempt, but a caller may ask.
                401 => drop(cache.reject(&token).await),
                _ => {}
            }
            answer
        }
    };
    answer.status().as_u16()
}

/// Plays ten minutes with ten requests a second, of which `endpoint(n)` sees the nth. Returns when tokens were issued, and how
/// many requests were answered 401.
async fn played(way: Way, endpoint: impl Fn(u64, &str, u64) -> u16 + Sync) -> (Vec<u64>, u64) {
    let start = Instant::now();
    let issued: Arc<std::sync::Mutex<Vec<u64>>> = Arc::default();
    let log = Arc::clone(&issued);
    let (source, asked): (_, Asked) = scripted(move |n| {
        log.lock().unwrap().push(start.elapsed().as_secs());
        async move { Ok(token(n)) }
    });
    let cache = TokenCache::new(source);
    let mut rejected = 0;
    for n in 0..6000 {
        let newest = || asked.times();
        rejected += u64::from(by(way, &cache, &|token: &str| endpoint(n, token, newest())).await == 401);
        settled(&cache).await;
        sleep(SECOND / 10).await;
    }
    let issued = issued.lock().unwrap().clone();
    (issued, rejected)
}

#[tokio::test(start_paused = true)]
async fn an_api_that_rejects_every_token_costs_as_many_renewals_as_with_the_layer() {
    let (by_layer, _) = played(Way::Layer, |_, _, _| 401).await;
    assert!((5..=20).contains(&by_layer.len()), "{by_layer:?}");
    for way in [Way::Call, Way::Parts] {
        assert_eq!(played(way, |_, _, _| 401).await.0, by_layer, "{way:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_endpoint_that_rejects_every_token_costs_as_many_renewals_as_with_the_layer() {
    let every = |nth: u64| move |n: u64, _: &str, _| if n.is_multiple_of(nth) { 401 } else { 200 };
    for nth in [2, 7, 50, 300] {
        let (by_layer, _) = played(Way::Layer, every(nth)).await;
        assert!(by_layer.len() <= 20, "{by_layer:?}");
        for way in [Way::Call, Way::Parts] {
            let (issued, _) = played(way, every(nth)).await;
            assert!(issued.len() <= by_layer.len() + 2, "{way:?}, each {nth}th: {issued:?} and {by_layer:?}");
        }
    }
}

/// Every minute the token is revoked, in the midst of an endpoint that rejects every token.
#[tokio::test(start_paused = true)]
async fn a_revocation_beside_a_bad_endpoint_is_recovered_from_as_soon_as_with_the_layer() {
    let start = Instant::now();
    let revoking = |revoked_before: Arc<AtomicU64>| {
        move |n: u64, token: &str, newest: u64| {
            if n.is_multiple_of(600) {
                revoked_before.store(newest, SeqCst);
            }
            let number: u64 = token[1..].parse().unwrap();
            if n % 5 == 1 || (n >= 600 && number <= revoked_before.load(SeqCst)) { 401 } else { 200 }
        }
    };
    let (_, by_layer) = played(Way::Layer, revoking(Arc::default())).await;
    for way in [Way::Call, Way::Parts] {
        let (_, rejected) = played(way, revoking(Arc::default())).await;
        assert!(rejected <= by_layer + 20, "{way:?}: {rejected} and {by_layer}");
        assert!(rejected < 1200 + 9 * 40, "{rejected}, after {:?}", start.elapsed());
    }
}

#[test]
fn an_answer_is_judged_by_the_rule_that_is_given() {
    let headers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), "16".parse().unwrap())]);
    let judged = Judged::head_by(Verdict::grpc, StatusCode::OK, &headers);
    assert!(format!("{judged:?}").contains("Rejected"));
}
