//! Renewals that end after they no longer count: another one has begun since.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures::FutureExt;
use tokio::{
    runtime::{Builder, Runtime},
    sync::oneshot,
};
use tower_bearer::{
    AccessToken, BoxTokenSource, Error, Reason, TokenCache, TokenSource,
    source::{Narrowing, from_fn},
};

const HOUR: Duration = Duration::from_secs(3600);

type Obtained = Result<AccessToken, Error>;

fn runtime(paused: bool) -> Runtime {
    Builder::new_current_thread().enable_all().start_paused(paused).build().unwrap()
}

fn token(text: impl Into<String>) -> AccessToken {
    AccessToken::new(text.into()).unwrap().with_expires_in(HOUR)
}

/// Returns a cache whose first token request is answered through the channel, and whose other ones succeed at once.
fn first_answered_by_hand() -> (TokenCache, oneshot::Sender<Obtained>) {
    let (first, answer) = oneshot::channel::<Obtained>();
    let (answer, newer) = (Arc::new(Mutex::new(Some(answer))), AtomicU64::new(0));
    let source = from_fn(move |_| {
        let first = answer.lock().unwrap().take();
        let newer = newer.fetch_add(1, Relaxed);
        async move {
            match first {
                Some(answer) => answer.await.unwrap(),
                None => Ok(token(format!("newer{newer}"))),
            }
        }
    });
    (TokenCache::new(source), first)
}

/// Begins a renewal in a runtime that then is not driven, and has another runtime abandon it and begin a newer one.
fn abandoned(cache: &TokenCache, first: oneshot::Sender<Obtained>, answer: Obtained) -> (Runtime, Runtime) {
    let (idle, driven) = (runtime(false), runtime(true));
    idle.block_on(async {
        assert!(cache.clone().token().now_or_never().is_none());
        tokio::task::yield_now().await;
    });
    // The answer comes, and nobody reads it.
    first.send(answer).unwrap();
    assert!(driven.block_on(cache.token()).unwrap_err().is_timeout());
    (idle, driven)
}

fn drive(idle: &Runtime) {
    idle.block_on(async {
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
    });
}

#[test]
fn the_token_of_an_abandoned_renewal_does_not_replace_a_newer_one() {
    let (cache, first) = first_answered_by_hand();
    let (idle, driven) = abandoned(&cache, first, Ok(token("older")));
    assert_eq!(driven.block_on(cache.token()).unwrap().secret(), "newer1");
    drive(&idle);
    assert_eq!(driven.block_on(cache.token()).unwrap().secret(), "newer1", "{:?}", cache.status());
    assert_eq!((cache.status().generation, cache.status().renewals), (1, 1));
}

#[test]
fn the_refusal_of_an_abandoned_renewal_does_not_hold_back_the_next_one() {
    let (cache, first) = first_answered_by_hand();
    let (idle, driven) = abandoned(&cache, first, Err(Error::terminal("the old password")));
    let token = driven.block_on(cache.token()).unwrap();
    drive(&idle);
    assert_eq!(cache.status().failures, 0);
    cache.invalidate(&token);
    assert_eq!(driven.block_on(cache.token()).unwrap().secret(), "newer2");
}

/// Nothing newer has begun, so its token is better than none.
#[test]
fn the_token_of_an_abandoned_renewal_is_used_if_there_is_no_newer_renewal() {
    let (cache, first) = first_answered_by_hand();
    let (idle, driven) = abandoned(&cache, first, Ok(token("older")));
    drive(&idle);
    assert_eq!(driven.block_on(cache.token()).unwrap().secret(), "older");
}

/// Returns a cache whose source reads the identity when it is asked, and answers a second later.
fn asked_as(identity: &'static str) -> (TokenCache, Arc<Mutex<&'static str>>) {
    let current = Arc::new(Mutex::new(identity));
    let read = Arc::clone(&current);
    let source = from_fn(move |_| {
        let sent = *read.lock().unwrap();
        async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if sent == "wrong" { Err(Error::terminal("wrong password")) } else { Ok(token(sent)) }
        }
    });
    (TokenCache::new(source), current)
}

/// Resets the cache while its first renewal is in progress, after the identity has changed.
async fn reset_during_a_renewal(
    before: &'static str,
    after: &'static str,
) -> (TokenCache, impl Future<Output = Obtained>) {
    let (cache, identity) = asked_as(before);
    let mut waiting = Box::pin({
        let cache = cache.clone();
        async move { cache.token().await }
    });
    assert!(waiting.as_mut().now_or_never().is_none());
    tokio::time::sleep(Duration::from_millis(500)).await;
    *identity.lock().unwrap() = after;
    cache.reset();
    (cache, waiting)
}

#[tokio::test(start_paused = true)]
async fn a_refusal_from_before_a_reset_does_not_hold_requests_back_after_it() {
    let (cache, waiting) = reset_during_a_renewal("wrong", "right").await;
    assert_eq!(waiting.await.unwrap().secret(), "right", "those that wait get the token of the next renewal");
    assert_eq!(cache.token().await.unwrap().secret(), "right");
    assert_eq!(cache.status().failures, 0);
}

#[tokio::test(start_paused = true)]
async fn a_token_from_before_a_reset_is_not_served_after_it() {
    let (cache, waiting) = reset_during_a_renewal("alice", "bob").await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(cache.token().await.unwrap().secret(), "bob");
    assert_eq!(waiting.await.unwrap().secret(), "bob");
    assert_eq!(cache.status().renewals, 1);
}

/// A source that reads the credentials when it is asked, and answers a second later.
#[derive(Clone)]
struct Asks {
    credentials: Arc<Mutex<&'static str>>,
    asked: Arc<AtomicU64>,
}

impl TokenSource for Asks {
    async fn obtain(&self, _: Reason) -> Obtained {
        self.asked.fetch_add(1, Relaxed);
        let sent = *self.credentials.lock().unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        if sent == "wrong" { Err(Error::terminal("wrong password")) } else { Ok(token(sent)) }
    }

    fn credentials_version(&self) -> u64 {
        self.credentials.lock().unwrap().len() as u64
    }

    fn narrowed(&self, _: &Narrowing) -> Option<BoxTokenSource> {
        Some(self.clone().boxed())
    }
}

fn asks(credentials: &'static str) -> (TokenCache, Asks) {
    let source = Asks { credentials: Arc::new(Mutex::new(credentials)), asked: Arc::default() };
    (TokenCache::new(source.clone()), source)
}

#[tokio::test(start_paused = true)]
async fn a_refusal_from_before_a_reset_is_not_shared_with_narrowed_caches() {
    let (cache, source) = asks("wrong");
    let to = Narrowing::new().with_scope("a").unwrap();
    assert!(cache.narrowed(&to).unwrap().token().now_or_never().is_none());
    tokio::time::sleep(Duration::from_millis(500)).await;
    *source.credentials.lock().unwrap() = "right";
    cache.reset();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(cache.token().await.unwrap().secret(), "right");
    assert_eq!(cache.narrowed(&to).unwrap().token().await.unwrap().secret(), "right");
}

/// It waits for the outcome of another cache's first try of the credentials. After the reset, its token would not be used.
#[tokio::test(start_paused = true)]
async fn a_renewal_that_waits_during_a_reset_does_not_ask_the_issuer() {
    let (cache, source) = asks("right");
    let narrowed = cache.narrowed(&Narrowing::new().with_scope("a").unwrap()).unwrap();
    let (first, second, ()) = futures::join!(cache.token(), narrowed.token(), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        cache.reset();
    });
    assert_eq!((first.unwrap().secret(), second.unwrap().secret()), ("right", "right"));
    assert_eq!(source.asked.load(Relaxed), 3, "one before the reset, and each cache after it");
}

/// It waits for another cache's first try of the credentials, in a runtime that then is not driven.
#[test]
fn a_renewal_that_was_abandoned_while_it_waited_does_not_ask_the_issuer() {
    let (cache, source) = asks("right");
    let narrowed = cache.narrowed(&Narrowing::new().with_scope("a").unwrap()).unwrap();
    let (idle, driven) = (runtime(false), runtime(true));
    driven.block_on(async {
        assert!(cache.clone().token().now_or_never().is_none());
        tokio::task::yield_now().await;
    });
    idle.block_on(async {
        assert!(narrowed.clone().token().now_or_never().is_none());
        tokio::task::yield_now().await;
    });
    assert!(driven.block_on(narrowed.token()).unwrap_err().is_timeout());
    drive(&idle);
    assert_eq!(source.asked.load(Relaxed), 1, "that of the other cache");
    assert_eq!(driven.block_on(narrowed.token()).unwrap().secret(), "right");
}

/// It waits for another cache's try of the old ones, so they change before they are sent.
#[tokio::test(start_paused = true)]
async fn credentials_that_change_while_a_renewal_waits_are_tried_once() {
    let (cache, source) = asks("initial");
    let narrowed = cache.narrowed(&Narrowing::new().with_scope("a").unwrap()).unwrap();
    let (first, second, ()) = futures::join!(cache.token(), narrowed.token(), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        *source.credentials.lock().unwrap() = "wrong";
    });
    assert!(first.is_ok() && second.is_err());
    for _ in 0..10 {
        assert!(narrowed.token().await.unwrap_err().is_backing_off());
    }
    assert_eq!(source.asked.load(Relaxed), 2);
}
