//! A program that drives its runtime only while it waits for a call.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::FutureExt;
use tokio::{
    runtime::{Builder, Runtime},
    time::{advance, sleep},
};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};
use tower_bearer::{
    AccessToken, BearerAuthLayer, BoxTokenSource, Error, Reason, TokenCache, TokenSource,
    source::Narrowing,
    testing::{Issuer, TokenFormat},
};

use crate::support::{Answer, Ask, HOUR, MINUTE, SECOND, ask, grant, is_ok, issuer, scripted, token};

fn program() -> Runtime {
    Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

/// Lets time pass while nobody drives the runtime.
fn stop(program: &Runtime, time: Duration) {
    program.block_on(async { advance(time).now_or_never() });
}

/// Waits a few times, as an HTTP client does for a connection, for TLS and for the response.
async fn round_trips(number: u32) {
    for _ in 0..number {
        sleep(Duration::from_millis(10)).await;
    }
}

fn distant<S>(service: S, distance: u32) -> impl Service<Ask, Response = Answer, Error = BoxError, Future: Send> + Clone
where
    S: Service<Ask, Response = Answer, Error: Into<BoxError>, Future: Send> + Clone + Send,
{
    service_fn(move |request| {
        let service = service.clone();
        async move {
            round_trips(distance).await;
            service.oneshot(request).await.map_err(Into::into)
        }
    })
}

/// The issuer takes longer than the API. So a renewal in the background is not complete when the call that began it has ended.
#[test]
fn a_renewal_that_runs_only_during_other_calls_completes() {
    let issuer = Issuer::builder().token_format(TokenFormat::Opaque).lifetime(MINUTE).build();
    let cache = TokenCache::builder(grant(distant(issuer.service(), 4))).stale_before_expiry(MINUTE / 2, 0.9).build();
    let client = BearerAuthLayer::with_cache(cache.clone()).layer(distant(issuer.api(), 1));
    let program = program();
    for _ in 0..40 {
        let answer = program.block_on(client.clone().oneshot(ask("/fhir")));
        assert!(is_ok(&answer.unwrap()));
        assert_eq!(cache.status().failures, 0);
        stop(&program, 14 * SECOND);
    }
    assert!(cache.status().renewals > 5, "{:?}", cache.status());
}

/// Both are tasks of the program, and neither is driven for an hour.
#[test]
fn a_request_that_waits_for_a_renewal_is_stopped_with_it_and_goes_on_with_it() {
    let (source, asked) = scripted(async |n| {
        round_trips(4).await;
        Ok(token(n))
    });
    let cache = TokenCache::new(source);
    let program = program();
    let waiting = cache.clone();
    let waiting = program.spawn(async move { waiting.token().await });
    for _ in 0..3 {
        program.block_on(async { sleep(Duration::from_millis(5)).await });
        stop(&program, HOUR);
    }
    assert_eq!(program.block_on(waiting).unwrap().unwrap().secret(), "t1");
    assert_eq!(asked.times(), 1);
}

#[test]
fn a_renewal_that_makes_no_progress_ends_when_it_was_driven_for_its_deadline() {
    let (source, _) = scripted(async |_| std::future::pending().await);
    let cache = TokenCache::new(source);
    let program = program();
    program.block_on(async {
        assert!(cache.token().now_or_never().is_none());
        sleep(Duration::from_millis(5)).await;
    });
    stop(&program, HOUR);
    let began = program.block_on(async { tokio::time::Instant::now() });
    let error = program.block_on(cache.token()).unwrap_err();
    assert!(error.is_timeout() && !cache.status().renewing, "{error}");
    let driven = program.block_on(async { began.elapsed() });
    assert!((9 * SECOND..=10 * SECOND).contains(&driven), "{driven:?}");
}

/// The answer may have arrived just after the program stopped.
#[test]
fn a_token_whose_renewal_was_stopped_is_as_old_as_its_request() {
    let (source, _) = scripted(async |n| {
        round_trips(4).await;
        Ok(token(n))
    });
    let cache = TokenCache::new(source);
    let program = program();
    program.block_on(async {
        assert!(cache.token().now_or_never().is_none());
        sleep(Duration::from_millis(5)).await;
    });
    stop(&program, 50 * MINUTE);
    program.block_on(async {
        cache.token().await.unwrap();
        assert!(cache.status().expires_in.unwrap() <= 9 * MINUTE, "{:?}", cache.status());
    });
}

/// It waits for another cache's first try of the credentials, and asks the issuer only when it goes on.
#[test]
fn a_token_whose_renewal_was_stopped_before_its_request_is_new() {
    let cache = TokenCache::new(Slow);
    let narrowed = cache.narrowed(&Narrowing::new().with_scope("less").unwrap()).unwrap();
    let (program, other) = (program(), program());
    for (program, cache) in [(&other, &cache), (&program, &narrowed)] {
        program.block_on(async {
            assert!(cache.token().now_or_never().is_none());
            sleep(Duration::from_millis(5)).await;
        });
    }
    stop(&program, 50 * MINUTE);
    other.block_on(cache.token()).unwrap();
    program.block_on(narrowed.token()).unwrap();
    assert!(program.block_on(async { narrowed.status().expires_in }).unwrap() > 50 * MINUTE, "{:?}", narrowed.status());
}

/// A source of any scope, whose answer takes a few round trips.
struct Slow;

impl TokenSource for Slow {
    async fn obtain(&self, _: Reason) -> Result<AccessToken, Error> {
        round_trips(4).await;
        Ok(token(1))
    }

    fn narrowed(&self, _: &Narrowing) -> Option<BoxTokenSource> {
        Some(Self.boxed())
    }
}

/// A source whose credentials are refused.
#[derive(Clone, Default)]
struct Refused(Arc<AtomicU64>);

impl TokenSource for Refused {
    async fn obtain(&self, _: Reason) -> Result<AccessToken, Error> {
        self.0.fetch_add(1, SeqCst);
        round_trips(4).await;
        Err(Error::terminal("wrong password"))
    }

    fn narrowed(&self, _: &Narrowing) -> Option<BoxTokenSource> {
        Some(self.clone().boxed())
    }
}

#[test]
fn a_try_of_the_credentials_that_was_stopped_is_waited_for_when_it_goes_on() {
    let source = Refused::default();
    let cache = TokenCache::new(source.clone());
    let narrowed = cache.narrowed(&Narrowing::new().with_scope("less").unwrap()).unwrap();
    let program = program();
    program.block_on(async {
        assert!(cache.token().now_or_never().is_none());
        sleep(Duration::from_millis(5)).await;
    });
    stop(&program, HOUR);
    program.block_on(async {
        assert!(narrowed.token().await.unwrap_err().is_terminal());
        assert!(cache.token().await.unwrap_err().is_terminal());
    });
    assert_eq!(source.0.load(SeqCst), 1, "a wrong password is sent once");
}

/// The save was not complete when the program stopped.
#[test]
fn a_save_that_was_stopped_completes() {
    use tower_bearer::grant::{ClientAuth, RefreshToken};

    let issuer = issuer();
    let saved = Arc::new(AtomicU64::new(0));
    let log = Arc::clone(&saved);
    let source = RefreshToken::builder("https://issuer.test/token")
        .client_auth(ClientAuth::basic("client1", "client-secret"))
        .refresh_token("r0")
        .on_rotation(move |_| {
            let log = Arc::clone(&log);
            async move {
                round_trips(40).await;
                log.fetch_add(1, SeqCst);
                Ok(())
            }
        })
        .build_with(issuer.service())
        .unwrap();
    issuer.answer_next(serde_json::json!({ "access_token": "t", "token_type": "Bearer", "refresh_token": "r1" }));
    let program = program();
    program.block_on(source.obtain(Reason::First)).unwrap();
    for _ in 0..5 {
        stop(&program, HOUR);
        program.block_on(round_trips(15));
    }
    assert_eq!(saved.load(SeqCst), 1);
}
