//! A cache for each of many identities, and the layer that chooses the identity of each request.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    io,
    sync::{Arc, Barrier, Mutex, OnceLock},
    thread,
};

use bytes::Bytes;
use futures::future::join_all;
use http::Request;
use http_body_util::Full;
use tokio::{task::yield_now, time::advance};
use tower::Layer;
use tower_bearer::{
    AccessToken, BearerAuthLayer, BoxTokenSource, Error, Reason, RequestHead, SkipBearerAuth, TokenCache, TokenPool,
    TokenSource,
    pool::{Shown, TokenPoolBuilder},
    source::Narrowing,
};

use crate::{
    scripted::{Api, Strict, URI, get, outcome, send, status},
    support::{HOUR, MINUTE, SECOND},
};

/// What happened to all identities, and which of them fail.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) made: Mutex<Vec<String>>,
    asked: Mutex<Vec<String>>,
    issued: Mutex<BTreeMap<String, u64>>,
    revoked: Mutex<Vec<String>>,
    pub(crate) failing: Mutex<BTreeSet<String>>,
}

/// A source whose tokens name its identity: `acme-1`, `acme-2`, and `acme/read-1` where they are narrowed.
struct Named {
    name: String,
    log: Arc<Log>,
}

impl TokenSource for Named {
    async fn obtain(&self, _why: Reason) -> Result<AccessToken, Error> {
        self.log.asked.lock().unwrap().push(self.name.clone());
        yield_now().await;
        if self.log.failing.lock().unwrap().contains(&self.name) {
            return Err(Error::terminal("this identity is locked"));
        }
        let number = {
            let mut issued = self.log.issued.lock().unwrap();
            let number = issued.entry(self.name.clone()).or_default();
            *number += 1;
            *number
        };
        Ok(AccessToken::new(format!("{}-{number}", self.name))?.with_expires_in(HOUR))
    }

    fn narrowed(&self, to: &Narrowing) -> Option<BoxTokenSource> {
        let name = format!("{}/{}", self.name, to.scope().unwrap_or_default());
        Some(Self { name, log: Arc::clone(&self.log) }.boxed())
    }

    async fn revoke(&self, token: &AccessToken) -> Result<(), Error> {
        self.log.revoked.lock().unwrap().push(token.secret().to_owned());
        Ok(())
    }
}

impl Log {
    /// Returns a pool of these identities. None of them has an empty name.
    pub(crate) fn pool(self: &Arc<Self>) -> TokenPoolBuilder<String> {
        let log = Arc::clone(self);
        TokenPool::builder(move |name: &String| {
            log.made.lock().unwrap().push(name.clone());
            if name.is_empty() {
                return Err(Error::terminal("an empty name"));
            }
            Ok(TokenCache::builder(Named { name: name.clone(), log: Arc::clone(&log) }).renewal_retries(0))
        })
    }

    fn take_made(&self) -> Vec<String> {
        std::mem::take(&mut self.made.lock().unwrap())
    }

    fn take_asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    fn take_revoked(&self) -> BTreeSet<String> {
        std::mem::take(&mut *self.revoked.lock().unwrap()).into_iter().collect()
    }
}

/// Returns the identity that a request names in its header.
pub(crate) fn by_header(head: RequestHead<'_>) -> Option<Cow<'_, str>> {
    head.headers().get("x-tenant")?.to_str().ok().map(Cow::Borrowed)
}

pub(crate) fn ask(tenant: &str) -> Request<Full<Bytes>> {
    let mut request = get(URI);
    request.headers_mut().insert("x-tenant", tenant.parse().unwrap());
    request
}

fn read() -> Narrowing {
    Narrowing::new().with_scope("read").unwrap()
}

async fn secret(pool: &TokenPool<String>, name: &str) -> String {
    pool.cache(name).unwrap().token().await.unwrap().secret().to_owned()
}

#[tokio::test]
async fn each_identity_has_its_own_token_in_a_request_and_in_its_cache() {
    let (log, api) = (Arc::<Log>::default(), Api::default());
    let pool = log.pool().build();
    let mut service = BearerAuthLayer::with_pool(pool.clone(), by_header).layer(Strict::new(api.clone()));
    for _ in 0..2 {
        for tenant in ["acme", "globex"] {
            assert_eq!(send(&mut service, ask(tenant)).await.unwrap().status(), 200);
        }
    }
    assert_eq!(api.take_authorizations(), ["Bearer acme-1", "Bearer globex-1", "Bearer acme-1", "Bearer globex-1"]);
    assert_eq!(secret(&pool, "acme").await, "acme-1");
    assert_eq!(
        (log.take_made(), log.take_asked()),
        (vec!["acme".into(), "globex".into()], vec!["acme".into(), "globex".into()])
    );
    let status = pool.status();
    assert_eq!((status.identities, status.ready, status.failing, status.evicted), (2, 2, 0, 0));
    let all: BTreeSet<_> = pool.iter().map(|(name, cache)| (name, cache.status().generation)).collect();
    assert_eq!(all, [("acme".to_owned(), 1), ("globex".to_owned(), 1)].into());
}

#[tokio::test]
async fn a_request_without_an_identity_is_an_error_and_nothing_is_sent() {
    let (log, api) = (Arc::<Log>::default(), Api::default());
    let layer = BearerAuthLayer::with_pool(log.pool().build(), by_header);
    let mut service = layer.layer(Strict::new(api.clone()));
    send(&mut service, ask("acme")).await.unwrap();
    api.take_seen();
    for request in [get(URI), {
        let mut narrowed = get(URI);
        narrowed.extensions_mut().insert(read());
        narrowed
    }] {
        let error = send(&mut service, request).await.unwrap_err().downcast::<Error>().unwrap();
        assert!(error.is_no_identity() && error.is_terminal() && !error.is_config(), "{error}");
    }
    // The layer has no token that could be sent by mistake.
    assert!(layer.cache().token().await.unwrap_err().is_no_identity());
    assert!(api.take_seen().is_empty());

    let mut skipped = get(URI);
    skipped.extensions_mut().insert(SkipBearerAuth);
    send(&mut service, skipped).await.unwrap();
    assert_eq!(api.take_authorizations(), ["none"]);
}

#[tokio::test]
async fn an_error_of_the_function_goes_to_the_request_and_is_not_kept() {
    let (log, api) = (Arc::<Log>::default(), Api::default());
    let pool = log.pool().build();
    let mut service = BearerAuthLayer::with_pool(pool.clone(), by_header).layer(Strict::new(api.clone()));
    for _ in 0..2 {
        let error = send(&mut service, ask("")).await.unwrap_err().downcast::<Error>().unwrap();
        assert!(std::error::Error::source(&*error).unwrap().to_string().contains("an empty name"), "{error}");
    }
    assert_eq!(log.take_made().len(), 2, "asked again");
    assert!(api.take_seen().is_empty() && pool.get("").is_none());
    assert_eq!(pool.status().identities, 0);
}

#[tokio::test]
async fn requests_of_a_new_identity_at_once_share_one_token_request() {
    let (log, api) = (Arc::<Log>::default(), Api::default());
    let layer = BearerAuthLayer::with_pool(log.pool().build(), by_header);
    let requests = (0..50).map(async |_| send(&mut layer.layer(Strict::new(api.clone())), ask("acme")).await.unwrap());
    join_all(requests).await;
    assert_eq!(log.take_asked(), ["acme"]);
    assert_eq!(api.take_authorizations(), ["Bearer acme-1"; 50]);
}

#[test]
fn threads_that_make_the_same_identity_at_once_get_the_same_cache() {
    let log = Arc::<Log>::default();
    let at_once = Arc::new(Barrier::new(4));
    let pool = {
        let (log, at_once) = (Arc::clone(&log), Arc::clone(&at_once));
        TokenPool::new(move |name: &String| {
            log.made.lock().unwrap().push(name.clone());
            at_once.wait();
            Ok(Named { name: name.clone(), log: Arc::clone(&log) })
        })
    };
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let pool = pool.clone();
            thread::spawn(move || pool.cache("acme").unwrap())
        })
        .collect();
    let caches: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for cache in caches {
        assert_eq!(runtime.block_on(cache.token()).unwrap().secret(), "acme-1");
    }
    assert_eq!((log.take_made().len(), log.take_asked().len()), (4, 1));
}

#[tokio::test]
async fn the_function_may_use_the_pool() {
    let pool: Arc<OnceLock<TokenPool<u32>>> = Arc::default();
    let log = Arc::<Log>::default();
    let made = {
        let pool = Arc::clone(&pool);
        TokenPool::new(move |n: &u32| {
            if let Some(less) = n.checked_sub(1) {
                pool.get().unwrap().cache(&less)?;
            }
            Ok(Named { name: n.to_string(), log: Arc::clone(&log) })
        })
    };
    let pool = pool.get_or_init(|| made);
    assert_eq!(pool.cache(&9).unwrap().token().await.unwrap().secret(), "9-1");
    assert_eq!(pool.status().identities, 10);
}

/// Its `Drop` is user code, which would wait for a lock of the pool.
#[test]
fn a_source_that_uses_the_pool_when_it_is_dropped_may_be_evicted() {
    struct UsesPool(Arc<OnceLock<TokenPool<u32>>>);
    impl TokenSource for UsesPool {
        async fn obtain(&self, _why: Reason) -> Result<AccessToken, Error> {
            AccessToken::new("t")
        }
    }
    impl Drop for UsesPool {
        fn drop(&mut self) {
            let pool = self.0.get().unwrap();
            assert!(pool.status().identities <= 3 && pool.get(&0).is_none());
        }
    }
    let pool: Arc<OnceLock<TokenPool<u32>>> = Arc::default();
    let sources = Arc::clone(&pool);
    let builder = TokenPool::builder(move |_: &u32| Ok(UsesPool(Arc::clone(&sources)))).max_identities(2);
    let pool = pool.get_or_init(|| builder.build());
    (1..=10).for_each(|n| drop(pool.cache(&n).unwrap()));
    assert_eq!(pool.status().evicted, 8);
    assert!(pool.forget(&10));
}

#[tokio::test]
async fn an_identity_that_is_not_in_use_makes_room_for_another_one() {
    let log = Arc::<Log>::default();
    let pool = log.pool().max_identities(8).build();
    for n in 0..100 {
        secret(&pool, &n.to_string()).await;
    }
    let status = pool.status();
    assert_eq!((status.identities, status.evicted), (8, 92));
    // It is made again, with a new token.
    log.take_made();
    assert_eq!(secret(&pool, "50").await, "50-2");
    assert_eq!(log.take_made(), ["50"]);
}

#[tokio::test(start_paused = true)]
async fn an_identity_that_is_idle_is_made_again() {
    let log = Arc::<Log>::default();
    let pool = log.pool().idle(10 * MINUTE).build();
    secret(&pool, "acme").await;
    for _ in 0..20 {
        advance(9 * MINUTE).await;
        secret(&pool, "acme").await;
        assert!(pool.get("acme").is_some());
    }
    assert_eq!(log.take_made(), ["acme"], "it was never idle for ten minutes");
    // Neither of these is a use.
    advance(5 * MINUTE).await;
    assert!(pool.get("acme").unwrap().status().generation > 0);
    assert_eq!(pool.iter().count(), 1);
    advance(5 * MINUTE).await;
    secret(&pool, "acme").await;
    assert_eq!(log.take_made(), ["acme"]);
    assert_eq!(pool.status().evicted, 1);
}

#[tokio::test(start_paused = true)]
async fn the_renewal_of_another_identity_evicts_the_idle_ones() {
    let log = Arc::<Log>::default();
    let pool = log.pool().idle(10 * MINUTE).build();
    for n in 0..1000 {
        secret(&pool, &n.to_string()).await;
    }
    advance(10 * MINUTE).await;
    assert_eq!(pool.status().identities, 1000);
    secret(&pool, "acme").await;
    tokio::time::sleep(SECOND).await;
    let status = pool.status();
    assert_eq!((status.identities, status.evicted), (1, 1000));
}

/// Otherwise its wrong password would be tried again at once.
#[tokio::test(start_paused = true)]
async fn an_identity_that_backs_off_is_not_evicted() {
    let log = Arc::<Log>::default();
    let pool = log.pool().max_identities(2).idle(MINUTE).build();
    log.failing.lock().unwrap().insert("locked".into());
    assert!(pool.cache("locked").unwrap().token().await.is_err());
    for n in 0..20 {
        secret(&pool, &n.to_string()).await;
    }
    advance(2 * MINUTE).await;
    let status = pool.get("locked").unwrap().status();
    assert_eq!((status.failures, pool.status().failing), (1, 1));
    log.take_made();
    assert!(pool.cache("locked").unwrap().token().await.is_err());
    assert_eq!(log.take_made(), Vec::<String>::new());
}

#[tokio::test]
async fn a_forgotten_identity_is_made_again_and_no_other_one_changes() {
    let log = Arc::<Log>::default();
    let pool = log.pool().build();
    for name in ["acme", "globex"] {
        secret(&pool, name).await;
        pool.cache(name).unwrap().narrowed(&read()).unwrap().token().await.unwrap();
    }
    assert!(pool.forget("acme") && !pool.forget("acme") && !pool.forget("initech"));
    let status = pool.status();
    assert_eq!((status.identities, status.evicted, pool.get("acme").is_none()), (1, 0, true));
    assert_eq!((secret(&pool, "acme").await, secret(&pool, "globex").await), ("acme-2".into(), "globex-1".into()));
    let narrowed = pool.cache("acme").unwrap().narrowed(&read()).unwrap();
    assert_eq!(narrowed.token().await.unwrap().secret(), "acme/read-2");
    assert!(log.take_revoked().is_empty());
}

/// Neither a backoff nor a clone of its cache keeps it.
#[tokio::test(start_paused = true)]
async fn a_forgotten_identity_that_backs_off_is_asked_for_at_once() {
    let log = Arc::<Log>::default();
    let pool = log.pool().build();
    log.failing.lock().unwrap().insert("acme".into());
    let cache = pool.cache("acme").unwrap();
    assert!(cache.token().await.is_err() && cache.token().await.unwrap_err().is_backing_off());
    log.failing.lock().unwrap().clear();
    assert!(pool.forget("acme"));
    assert_eq!(secret(&pool, "acme").await, "acme-1");
    assert!(cache.token().await.unwrap_err().is_backing_off(), "it is not the pool's any more");
}

#[tokio::test]
async fn a_request_in_progress_gets_the_token_of_an_identity_that_is_forgotten() {
    let (log, api) = (Arc::<Log>::default(), Api::default());
    let pool = log.pool().build();
    let mut service = BearerAuthLayer::with_pool(pool.clone(), by_header).layer(Strict::new(api.clone()));
    let request = tokio::spawn(async move { send(&mut service, ask("acme")).await.unwrap().status() });
    while log.asked.lock().unwrap().is_empty() {
        yield_now().await;
    }
    assert!(pool.forget("acme"));
    assert_eq!(request.await.unwrap(), 200);
    assert_eq!((api.take_authorizations(), pool.status().identities), (vec!["Bearer acme-1".to_owned()], 0));
    assert_eq!(secret(&pool, "acme").await, "acme-2");
}

#[tokio::test(start_paused = true)]
async fn an_identity_with_rejected_tokens_is_not_evicted() {
    let (log, api) = (Arc::<Log>::default(), Api::default());
    let pool = log.pool().max_identities(2).build();
    let mut service = BearerAuthLayer::with_pool(pool.clone(), by_header).layer(Strict::new(api.clone()));
    for _ in 0..3 {
        api.will(status(401));
        api.will(status(401));
        send(&mut service, ask("acme")).await.unwrap();
    }
    for n in 0..20 {
        secret(&pool, &n.to_string()).await;
    }
    assert!(pool.get("acme").unwrap().status().rejections_limited);
    assert_eq!(pool.status().limited, 1);
}

#[tokio::test]
async fn an_identity_that_is_renewed_or_in_use_is_not_evicted() {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let held = Arc::clone(&gate);
    let pool = TokenPool::builder(move |name: &String| {
        let (gate, name) = (Arc::clone(&held), name.clone());
        Ok(tower_bearer::source::from_fn(move |_| {
            let (gate, name) = (Arc::clone(&gate), name.clone());
            async move {
                if name == "slow" {
                    let _permit = gate.acquire().await;
                }
                AccessToken::new(name)
            }
        }))
    })
    .max_identities(2)
    .build();
    let slow = pool.cache("slow").unwrap();
    let waiting = tokio::spawn(async move { slow.token().await });
    yield_now().await;
    waiting.abort();
    let kept = pool.cache("kept").unwrap();
    kept.token().await.unwrap();
    for n in 0..20 {
        secret(&pool, &n.to_string()).await;
    }
    assert!(pool.get("slow").unwrap().status().renewing);
    assert_eq!(pool.status().renewing, 1);
    assert_eq!(pool.get("kept").unwrap().status().generation, 1);
    gate.add_permits(1);
}

#[tokio::test]
async fn a_narrowed_token_belongs_to_its_identity() {
    let (log, api) = (Arc::<Log>::default(), Api::default());
    let pool = log.pool().build();
    let mut service = BearerAuthLayer::with_pool(pool.clone(), by_header).layer(Strict::new(api.clone()));
    for tenant in ["acme", "globex", "acme"] {
        let mut request = ask(tenant);
        request.extensions_mut().insert(read());
        send(&mut service, request).await.unwrap();
    }
    assert_eq!(api.take_authorizations(), ["Bearer acme/read-1", "Bearer globex/read-1", "Bearer acme/read-1"]);
    assert_eq!(pool.status().identities, 2);
}

#[tokio::test]
async fn reset_and_revoke_reach_one_identity_or_all_with_their_narrowed_tokens() {
    let log = Arc::<Log>::default();
    let pool = log.pool().build();
    let all = async || {
        for name in ["acme", "globex"] {
            secret(&pool, name).await;
            pool.cache(name).unwrap().narrowed(&read()).unwrap().token().await.unwrap();
        }
        log.take_asked().len()
    };
    assert_eq!((all().await, all().await), (4, 0));
    pool.get("acme").unwrap().reset();
    assert_eq!(all().await, 2);
    pool.reset();
    assert_eq!(all().await, 4);

    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    pool.get("acme").unwrap().revoke().await.unwrap();
    assert_eq!(log.take_revoked(), set(&["acme-3", "acme/read-3"]));
    assert_eq!(all().await, 2);
    pool.revoke().await.unwrap();
    assert_eq!(log.take_revoked(), set(&["acme-4", "acme/read-4", "globex-2", "globex/read-2"]));
    assert_eq!(pool.status().ready, 0);
}

#[tokio::test]
async fn invalidate_renews_the_token_of_one_identity_or_of_all() {
    let log = Arc::<Log>::default();
    let pool = log.pool().build();
    let (acme, globex) = (pool.cache("acme").unwrap(), pool.cache("globex").unwrap());
    let first = acme.token().await.unwrap();
    globex.token().await.unwrap();
    assert!(acme.invalidate(&first) && !globex.invalidate(&first));
    assert_eq!((&*secret(&pool, "acme").await, &*secret(&pool, "globex").await), ("acme-2", "globex-1"));
    pool.invalidate();
    assert_eq!(secret(&pool, "globex").await, "globex-2");
}

#[tokio::test]
async fn the_second_attempt_of_a_rejected_request_has_the_same_identity() {
    let (log, api) = (Arc::<Log>::default(), Api::answering([status(200), status(401)]));
    let mut service = BearerAuthLayer::with_pool(log.pool().build(), by_header).layer(Strict::new(api.clone()));
    send(&mut service, ask("globex")).await.unwrap();
    let answer = send(&mut service, ask("acme")).await.unwrap();
    assert!(outcome(&answer).retried());
    send(&mut service, ask("globex")).await.unwrap();
    let sent = ["Bearer globex-1", "Bearer acme-1", "Bearer acme-2", "Bearer globex-1"];
    assert_eq!(api.take_authorizations(), sent);
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs `scenario` and returns what was logged.
pub(crate) fn logged(scenario: impl Future<Output = ()>) -> String {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tracing::subscriber::with_default(subscriber.finish(), || runtime.block_on(scenario));
    let logged = lines.0.lock().unwrap().clone();
    String::from_utf8(logged).unwrap()
}

fn show(what: &impl Debug) -> String {
    format!("{what:?} {what:#?}")
}

#[test]
fn a_key_is_in_no_debug_output_error_or_log_line() {
    const KEY: &str = "sensitive-key";
    let shown = Arc::<Mutex<String>>::default();
    let all = Arc::clone(&shown);
    let logs = logged(async move {
        let api = Api::answering([status(401), status(401)]);
        let fails = Arc::new(Mutex::new(true));
        let failing = Arc::clone(&fails);
        let builder = TokenPool::builder(move |_: &String| {
            let fails = *failing.lock().unwrap();
            if fails { Err(Error::terminal("unknown")) } else { tower_bearer::FixedToken::new("t") }
        });
        let mut text = show(&builder);
        let pool = builder.build();
        let layer = BearerAuthLayer::with_pool(pool.clone(), by_header);
        let mut service = layer.layer(Strict::new(api.clone()));
        for request in [ask(KEY), get(URI)] {
            let error = send(&mut service, request).await.unwrap_err();
            text += &(error.to_string() + &show(&error));
        }
        *fails.lock().unwrap() = false;
        let answer = send(&mut service, ask(KEY)).await.unwrap();
        text += &show(&answer.extensions().get::<tower_bearer::Outcome>());
        text += &(show(&layer) + &show(&pool) + &show(&pool.status()) + &show(&pool.get(KEY)));
        text += &show(&layer.layer("inner"));
        all.lock().unwrap().push_str(&text);
    });
    let shown = shown.lock().unwrap();
    assert!(shown.contains("TokenPool") && logs.contains("renew token"));
    assert!(!shown.contains(KEY), "{shown}");
    assert!(!logs.contains(KEY), "{logs}");
}

#[test]
fn a_custom_error_for_an_identity_is_not_told_as_one_of_a_token_source() {
    let pool = TokenPool::new(|name: &String| match name.as_str() {
        "" => tower_bearer::FixedToken::new("two words"),
        _ => Err(Error::terminal("s3cret")),
    });
    let error = pool.cache("umbrella").unwrap_err();
    let text = "the pool could not make this identity, and nothing was sent; read the error of the pool's function, the `source()` of this one";
    assert_eq!((error.to_string().as_str(), error.is_terminal()), (text, true));
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "s3cret");
    assert!(!format!("{error:?}").contains("s3cret"));
    let own = pool.cache("").unwrap_err().to_string();
    assert_eq!(own, tower_bearer::FixedToken::new("two words").unwrap_err().to_string());
}

#[test]
fn a_key_that_its_user_wraps_is_in_the_log_lines_of_its_renewal() {
    let logs = logged(async {
        let pool = TokenPool::builder(|name: &Shown<String>| tower_bearer::FixedToken::new(name.0.clone()));
        let pool = pool.show_keys().build();
        pool.cache(&Shown("acme".to_owned())).unwrap().token().await.unwrap();
        assert!(pool.get("acme").is_some());
    });
    assert!(logs.contains("identity=\"acme\""), "{logs}");
}
