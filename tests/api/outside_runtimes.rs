//! Where Tokio's timers cannot be used: outside a runtime, and in one that was built without them.

use std::{convert::Infallible, future::pending, sync::mpsc, thread, time::Duration};

use bytes::Bytes;
use futures::{FutureExt, channel::oneshot, stream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use tokio::runtime::{Builder, Runtime};
use tower::{BoxError, Layer, ServiceExt, service_fn};
use tower_bearer::{
    BearerAuthLayer, Error, Outcome, Reason, TokenCache, TokenSource,
    grant::{ClientAuth, RefreshToken},
};

use crate::support::{SECOND, ask, grant, is_ok, issuer, scripted, token};

/// A runtime that runs by itself.
fn running() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// A runtime that runs only in a `block_on`.
fn idle() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn without_timers() -> Runtime {
    Builder::new_current_thread().build().unwrap()
}

/// Runs a future in a thread outside all runtimes. It must end.
fn outside<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
    let (done, result) = mpsc::channel();
    thread::spawn(move || done.send(futures::executor::block_on(future)));
    result.recv_timeout(10 * SECOND).expect("the wait ends")
}

/// Returns a cache whose renewal began in a runtime that does not run any more.
fn stopped() -> (TokenCache, Runtime) {
    let (source, _) = scripted(async |n| Ok(token(n)));
    let cache = TokenCache::builder(source).renewal_deadline(Duration::from_millis(20)).build();
    let idle = idle();
    idle.block_on(async { assert!(cache.token().now_or_never().is_none()) });
    (cache, idle)
}

fn assert_no_timers(error: &Error) {
    assert!(error.is_no_runtime() && error.is_transient(), "{error:?}");
    assert!(error.to_string().contains("`enable_time`"), "{error}");
}

#[test]
fn a_wait_outside_a_runtime_ends_with_the_deadline() {
    let (cache, _idle) = stopped();
    assert!(outside(async move { cache.token().await }).unwrap_err().is_timeout());

    let (cache, _idle) = stopped();
    let client = BearerAuthLayer::with_cache(cache).layer(issuer().api());
    let error = outside(client.oneshot(ask("/"))).unwrap_err();
    assert!(error.downcast_ref::<Error>().unwrap().is_timeout(), "{error}");
}

#[test]
fn a_wait_that_began_in_a_runtime_ends_outside_it() {
    let (cache, idle) = stopped();
    let mut waiting = Box::pin(async move { cache.token().await });
    idle.block_on(async { assert!(waiting.as_mut().now_or_never().is_none()) });
    assert!(outside(waiting).unwrap_err().is_timeout());

    let (cache, idle) = stopped();
    let mut revoking = Box::pin(async move { cache.revoke().await });
    idle.block_on(async { assert!(revoking.as_mut().now_or_never().is_none()) });
    outside(revoking).unwrap();
}

/// The renewal runs in another runtime.
#[test]
fn a_wait_without_timers_gets_the_token() {
    let waits: [fn(TokenCache) -> String; 2] = [
        |cache| outside(async move { cache.token().await.unwrap().secret().to_owned() }),
        |cache| without_timers().block_on(cache.token()).unwrap().secret().to_owned(),
    ];
    for wait in waits {
        let (source, asked) = scripted(async |n| {
            tokio::time::sleep(Duration::from_millis(30)).await;
            Ok(token(n))
        });
        let cache = TokenCache::new(source);
        let running = running();
        running.block_on(async { assert!(cache.token().now_or_never().is_none()) });
        assert_eq!((wait(cache), asked.times()), ("t1".to_owned(), 1));
    }
}

#[test]
fn in_a_runtime_without_timers_a_renewal_is_an_error() {
    let (source, asked) = scripted(async |n| Ok(token(n)));
    let cache = TokenCache::new(source);
    let client = BearerAuthLayer::with_cache(cache.clone()).layer(issuer().api());
    without_timers().block_on(async {
        let error = client.oneshot(ask("/")).await.unwrap_err();
        assert_no_timers(error.downcast_ref().unwrap());
        assert_no_timers(&cache.token().await.unwrap_err());
        assert_no_timers(&cache.revoke().await.unwrap_err());
    });
    assert_eq!(asked.times(), 0);
    assert!(idle().block_on(cache.token()).is_ok(), "another runtime does not wait for a backoff");
}

#[test]
fn in_a_runtime_without_timers_a_token_at_hand_is_served() {
    let issuer = issuer();
    let cache = TokenCache::new(grant(issuer.service()));
    let fetched = idle().block_on(cache.token()).unwrap();
    let client = BearerAuthLayer::with_cache(cache.clone()).layer(issuer.api());
    without_timers().block_on(async {
        assert!(is_ok(&client.oneshot(ask("/fhir")).await.unwrap()));
        assert_eq!(cache.token().await.unwrap().secret(), fetched.secret());
    });
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// The token is renewed in another runtime while the first attempt is sent, or after it. The 401 never ends.
#[test]
fn without_timers_a_rejected_request_is_sent_again() {
    for renewed_before_the_401 in [true, false] {
        let (source, _) = scripted(async |n| {
            tokio::time::sleep(Duration::from_millis(200)).await;
            Ok(token(n))
        });
        let cache = TokenCache::new(source);
        let running = running();
        let first = running.block_on(cache.token()).unwrap();
        let renew = {
            let cache = cache.clone();
            move || assert!(running.block_on(async { cache.invalidate(&first) }))
        };
        let (sent, was_sent) = mpsc::channel();
        let api = service_fn(move |request: Request<Full<Bytes>>| {
            let is_first = request.headers()["authorization"] == "Bearer t1";
            let (answer, answered) = oneshot::channel();
            sent.send(answer).unwrap();
            async move {
                let stalled = StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>());
                if !is_first {
                    return Ok::<_, BoxError>(Response::new(Full::default().boxed_unsync() as Body));
                }
                answered.await?;
                Ok(Response::builder().status(401).body(stalled.boxed_unsync())?)
            }
        });
        let mut call = Box::pin(BearerAuthLayer::with_cache(cache.clone()).layer(api).oneshot(ask("/")));
        let stopped = without_timers();
        stopped.block_on(async { assert!(call.as_mut().now_or_never().is_none()) });
        renew();
        if renewed_before_the_401 {
            outside({
                let cache = cache.clone();
                async move { cache.token().await }
            })
            .unwrap();
        }
        was_sent.recv().unwrap().send(()).unwrap();
        let answer = stopped.block_on(call).unwrap();
        assert!(answer.status().is_success() && answer.extensions().get::<Outcome>().unwrap().retried());
    }
}

#[test]
fn a_grant_that_is_used_without_timers_is_an_error() {
    let issuer = issuer();
    let source = RefreshToken::builder("https://issuer.test/token")
        .client_auth(ClientAuth::basic("client1", "client-secret"))
        .refresh_token("r0")
        .on_rotation(|_| pending())
        .build_with(issuer.service())
        .unwrap();
    without_timers().block_on(async {
        assert_no_timers(&source.obtain(Reason::First).await.unwrap_err());
        assert_no_timers(&source.revoke(&token(1)).await.unwrap_err());
        assert_no_timers(&source.revoke_unused().await.unwrap_err());
    });
    assert!(futures::executor::block_on(source.obtain(Reason::First)).unwrap_err().is_no_runtime());
    assert_eq!(issuer.counts().token_requests, 0);
}

#[cfg(feature = "client")]
#[test]
fn the_ready_made_client_without_timers_is_an_error() {
    use tower_bearer::grant::Metadata;

    let error = without_timers().block_on(Metadata::discover("https://127.0.0.1:1")).unwrap_err();
    assert_no_timers(&error);
    assert!(outside(Metadata::discover("https://127.0.0.1:1")).unwrap_err().is_no_runtime());
}
