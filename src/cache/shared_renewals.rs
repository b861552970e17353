//! Tests of many identities that share a client, an issuer and the bound on renewals in progress.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use futures_util::{FutureExt, future::join_all};
use http::StatusCode;
use tokio::{
    runtime::{Builder, Runtime},
    time::{Instant, advance, sleep},
};

use crate::{
    cache::{
        family::{AfterRenewal, Shared},
        settings::Settings,
        token_cache::TokenCache,
    },
    error::Error,
    source::{Reason, TokenSource},
    token::AccessToken,
};

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

type Answer = Arc<dyn Fn(usize) -> Result<(), Error> + Send + Sync>;

/// An issuer of all identities.
struct Issuer {
    requests: AtomicUsize,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
    /// Which identities asked, in order.
    order: Mutex<Vec<usize>>,
    answer: Mutex<Answer>,
    takes: Mutex<Duration>,
    client: AtomicU64,
}

struct Source {
    issuer: Arc<Issuer>,
    identity: usize,
}

/// Counts a request until it ends or is dropped.
struct InProgress<'a>(&'a Issuer);

impl Drop for InProgress<'_> {
    fn drop(&mut self) {
        self.0.at_once.fetch_sub(1, SeqCst);
    }
}

impl TokenSource for Source {
    async fn obtain(&self, _why: Reason) -> Result<AccessToken, Error> {
        let issuer = &*self.issuer;
        let n = issuer.requests.fetch_add(1, SeqCst) + 1;
        issuer.order.lock().unwrap().push(self.identity);
        let at_once = issuer.at_once.fetch_add(1, SeqCst) + 1;
        let _in_progress = InProgress(issuer);
        issuer.most_at_once.fetch_max(at_once, SeqCst);
        let (takes, answer) = (*issuer.takes.lock().unwrap(), Arc::clone(&issuer.answer.lock().unwrap()));
        sleep(takes).await;
        answer(self.identity)?;
        Ok(AccessToken::new(format!("{}-{n}", self.identity))?.with_expires_in(HOUR))
    }

    fn client(&self) -> Option<u64> {
        Some(self.issuer.client.load(SeqCst)).filter(|number| *number != 0)
    }
}

/// Identities that share need no pool.
struct NoPool;

impl AfterRenewal for NoPool {
    fn renewed(self: Arc<Self>) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        None
    }
}

/// Identities that share.
struct Pool {
    issuer: Arc<Issuer>,
    shared: Arc<Shared>,
    caches: Vec<TokenCache>,
}

impl Pool {
    fn new(identities: usize) -> Self {
        Self::with(identities, 64)
    }

    fn with(identities: usize, max_renewals: usize) -> Self {
        let issuer = Arc::new(Issuer {
            requests: AtomicUsize::new(0),
            at_once: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
            order: Mutex::default(),
            answer: Mutex::new(Arc::new(|_| Ok(()))),
            takes: Mutex::new(50 * MILLI),
            client: AtomicU64::new(1),
        });
        let shared = Shared::new(max_renewals, None, Weak::<NoPool>::new());
        let caches = (0..identities).map(|identity| cache(&issuer, &shared, identity)).collect();
        Self { issuer, shared, caches }
    }

    fn answer(&self, answer: impl Fn(usize) -> Result<(), Error> + Send + Sync + 'static) {
        *self.issuer.answer.lock().unwrap() = Arc::new(answer);
    }

    fn takes(&self, takes: Duration) {
        *self.issuer.takes.lock().unwrap() = takes;
    }

    /// Returns how many requests there were since the last call, and the identities that made them.
    fn asked(&self) -> Vec<usize> {
        std::mem::take(&mut *self.issuer.order.lock().unwrap())
    }

    /// Makes a request for each identity at the same time, and returns what failed.
    async fn failures(&self) -> Vec<(usize, Error)> {
        let all = join_all(self.caches.iter().map(TokenCache::token)).await;
        all.into_iter().enumerate().filter_map(|(identity, answer)| Some((identity, answer.err()?))).collect()
    }

    async fn warm_up(&self) {
        assert!(self.failures().await.is_empty());
        self.asked();
    }
}

fn cache(issuer: &Arc<Issuer>, shared: &Arc<Shared>, identity: usize) -> TokenCache {
    let source = Source { issuer: Arc::clone(issuer), identity };
    TokenCache::from_core(TokenCache::builder(source).stale_jitter(0.0).build_in(shared, None))
}

fn refused(code: &str) -> Error {
    Error::refused(StatusCode::BAD_REQUEST, code.into(), None)
}

fn busy() -> Error {
    Error::unexplained_status(StatusCode::SERVICE_UNAVAILABLE)
}

/// Lets what was spawned run until it waits.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_cold_identities_make_one_request_each_and_at_most_64_at_once() {
    let pool = Pool::new(10_000);
    let wrong = |identity| if identity == 4_711 { Err(refused("invalid_grant")) } else { Ok(()) };
    pool.answer(wrong);
    pool.takes(5 * MILLI);
    let all = join_all((0..10).flat_map(|_| &pool.caches).map(TokenCache::token)).await;
    let failed = all.iter().filter(|answer| answer.is_err()).count();
    assert_eq!(failed, 10, "the ten requests of the one with the wrong password");
    assert_eq!(pool.issuer.requests.load(SeqCst), 10_000);
    assert_eq!(pool.issuer.most_at_once.load(SeqCst), 64);
    let mut asked = pool.asked();
    asked.sort_unstable();
    asked.dedup();
    assert_eq!(asked.len(), 10_000, "one each");
    assert_eq!(pool.failures().await.len(), 1);
    assert!(pool.asked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn no_request_fails_when_ten_thousand_tokens_expire_in_the_same_second() {
    let pool = Pool::new(10_000);
    pool.warm_up().await;
    advance(2 * HOUR).await;
    let began = Instant::now();
    assert!(pool.failures().await.is_empty());
    assert_eq!(pool.asked().len(), 10_000);
    assert_eq!(pool.issuer.most_at_once.load(SeqCst), 64);
    assert!(began.elapsed() < 9 * SECOND, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_wrong_client_secret_is_tried_once_for_all_and_then_once_in_each_backoff() {
    let pool = Pool::new(10_000);
    pool.answer(|_| Err(refused("invalid_client")));
    let failures = pool.failures().await;
    assert_eq!((failures.len(), pool.asked().len()), (10_000, 1));
    assert!(failures.iter().all(|(_, error)| error.oauth_code() == Some("invalid_client")));
    advance(59 * SECOND).await;
    assert_eq!((pool.failures().await.len(), pool.asked().len()), (10_000, 0));
    advance(2 * SECOND).await;
    assert_eq!((pool.failures().await.len(), pool.asked().len()), (10_000, 1));
    advance(61 * SECOND).await;
    assert_eq!((pool.failures().await.len(), pool.asked().len()), (10_000, 0), "the wait is twice as long");
}

#[tokio::test(start_paused = true)]
async fn a_new_client_secret_ends_the_refusal_for_all_at_once() {
    let pool = Pool::new(1_000);
    pool.answer(|_| Err(refused("invalid_client")));
    assert_eq!((pool.failures().await.len(), pool.asked().len()), (1_000, 1));
    pool.answer(|_| Ok(()));
    pool.issuer.client.store(2, SeqCst);
    assert_eq!((pool.failures().await.len(), pool.asked().len()), (0, 1_000));
}

#[tokio::test(start_paused = true)]
async fn a_reset_of_one_identity_tries_a_refused_client_again_for_all() {
    let pool = Pool::new(1_000);
    pool.answer(|_| Err(refused("invalid_client")));
    assert_eq!(pool.failures().await.len(), 1_000);
    pool.answer(|_| Ok(()));
    pool.caches[7].reset();
    assert_eq!(pool.failures().await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_secret_that_is_revoked_costs_what_was_in_progress() {
    let pool = Pool::new(1_000);
    pool.warm_up().await;
    advance(2 * HOUR).await;
    pool.answer(|_| Err(refused("invalid_client")));
    assert_eq!(pool.failures().await.len(), 1_000);
    assert!(pool.asked().len() <= 64);
    advance(61 * SECOND).await;
    pool.answer(|_| Ok(()));
    assert_eq!(pool.failures().await.len(), 0, "64 refusals at once are one");
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_in_any_dress_delays_nobody_else() {
    let closed = || Error::request_failed(std::io::Error::from(std::io::ErrorKind::ConnectionReset)).of_credentials();
    let dresses: [fn() -> Error; 5] = [
        || refused("invalid_grant"),
        || refused("invalid_request"),
        closed,
        || Error::unexplained_status(StatusCode::BAD_REQUEST),
        || Error::terminal("a wrong password"),
    ];
    for dress in dresses {
        for warm in [false, true] {
            let pool = Pool::new(100);
            if warm {
                pool.warm_up().await;
                advance(2 * HOUR).await;
            }
            // The first ones are those that try the client.
            pool.answer(move |identity| if identity < 10 { Err(dress()) } else { Ok(()) });
            let began = Instant::now();
            assert_eq!(pool.failures().await.len(), 10, "{}", dress());
            assert_eq!(pool.asked().len(), 100, "{}", dress());
            assert!(began.elapsed() < SECOND / 2, "{:?}", began.elapsed());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_that_looks_like_an_outage_delays_nobody_else() {
    let pool = Pool::new(100);
    pool.warm_up().await;
    pool.answer(|identity| if identity == 3 { Err(busy()) } else { Ok(()) });
    for _ in 0..20 {
        pool.caches[3].reset();
        assert!(pool.caches[3].token().await.is_err());
        advance(MINUTE).await;
    }
    advance(HOUR).await;
    assert_eq!(pool.failures().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_ten_minutes_costs_probes_and_ends_for_all_within_30_seconds() {
    let pool = Pool::new(1_000);
    pool.warm_up().await;
    advance(2 * HOUR).await;
    pool.answer(|_| Err(busy()));
    let traffic = async |until: Instant| {
        let mut succeeded = 0;
        while Instant::now() < until && succeeded < 1_000 {
            succeeded = 1_000 - pool.failures().await.len();
            sleep(SECOND).await;
        }
        succeeded
    };
    assert_eq!(traffic(Instant::now() + 10 * MINUTE).await, 0);
    let probes = pool.asked().len();
    assert!(probes <= 4 * 64 + 120, "{probes}");
    pool.answer(|_| Ok(()));
    let began = Instant::now();
    assert_eq!(traffic(began + 32 * SECOND).await, 1_000);
    println!("{probes} requests in 10 minutes; recovered in {:?}", began.elapsed());
    assert_eq!(pool.asked().len(), 1_000);
}

#[tokio::test(start_paused = true)]
async fn during_an_outage_one_probe_goes_out_at_a_time_and_good_tokens_are_served() {
    let pool = Pool::new(1_000);
    // Half of them have a token.
    assert!(join_all(pool.caches[500..].iter().map(TokenCache::token)).await.iter().all(Result::is_ok));
    pool.answer(|_| Err(busy()));
    assert_eq!(pool.failures().await.len(), 500);
    advance(MINUTE).await;
    pool.takes(5 * SECOND);
    pool.asked();
    let (served, failed) = at_once(&pool).await;
    assert_eq!((served, failed), (500, 499));
    assert_eq!(pool.asked().len(), 1);
}

/// Makes a request for each identity, and returns how many succeed and fail at once.
async fn at_once(pool: &Pool) -> (usize, usize) {
    let mut all: Vec<_> = pool.caches.iter().map(|cache| Box::pin(cache.token())).collect();
    let (mut succeeded, mut failed) = (0, 0);
    for _ in 0..10 {
        all.retain_mut(|request| match request.as_mut().now_or_never() {
            Some(Ok(_)) => {
                succeeded += 1;
                false
            }
            Some(Err(_)) => {
                failed += 1;
                false
            }
            None => true,
        });
        settle().await;
    }
    (succeeded, failed)
}

/// Makes a request for each of these identities, and leaves them waiting.
async fn waiting<'a>(caches: &'a [TokenCache]) -> Vec<Pin<Box<dyn Future<Output = Result<AccessToken, Error>> + 'a>>> {
    let mut all: Vec<_> = Vec::new();
    for cache in caches {
        let mut request: Pin<Box<dyn Future<Output = _>>> = Box::pin(cache.token());
        assert!(request.as_mut().now_or_never().is_none());
        all.push(request);
    }
    settle().await;
    all
}

#[tokio::test(start_paused = true)]
async fn renewals_that_somebody_waits_for_come_before_those_in_the_background() {
    for promoted in [None, Some(50)] {
        let pool = Pool::new(264);
        assert!(join_all(pool.caches[..100].iter().map(TokenCache::token)).await.iter().all(Result::is_ok));
        advance(56 * MINUTE).await;
        pool.asked();
        pool.takes(SECOND);
        let busy = waiting(&pool.caches[100..164]).await;
        for stale in &pool.caches[..100] {
            assert!(stale.token().now_or_never().unwrap().is_ok());
        }
        settle().await;
        let mut expected: Vec<_> = (100..264).collect();
        let mut awaited = waiting(&pool.caches[164..]).await;
        assert_eq!(pool.asked(), expected.drain(..64).collect::<Vec<_>>());
        if let Some(promoted) = promoted {
            let cache = &pool.caches[promoted];
            assert!(cache.invalidate(&cache.token().await.unwrap()));
            awaited.extend(waiting(&pool.caches[promoted..=promoted]).await);
            expected.push(promoted);
        }
        join_all(busy.into_iter().chain(awaited)).await;
        sleep(10 * SECOND).await;
        expected.extend((0..100).filter(|identity| Some(*identity) != promoted));
        assert_eq!(pool.asked(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_in_the_queue_does_not_count_for_the_deadline() {
    let pool = Pool::with(13, 1);
    pool.takes(4 * SECOND);
    assert!(pool.failures().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_wait_in_the_queue_ends_after_a_minute_with_an_error_that_says_so() {
    let pool = Pool::with(20, 1);
    // Otherwise this is an outage, which is known after three of them.
    pool.issuer.client.store(0, SeqCst);
    pool.takes(HOUR);
    let began = Instant::now();
    let failures = pool.failures().await;
    assert_eq!(began.elapsed(), MINUTE);
    let queued: Vec<_> = failures.iter().filter(|(_, error)| error.is_queued()).collect();
    assert_eq!((failures.len(), pool.asked().len(), queued.len()), (20, 6, 14));
    let (identity, error) = queued[0];
    assert!(error.is_transient() && !error.is_timeout());
    assert!(error.to_string().contains("`max_renewals`"), "{error}");
    let status = pool.caches[*identity].status();
    assert!(status.failures == 0 && !status.renewing, "{status:?}");
}

#[tokio::test(start_paused = true)]
async fn sources_of_an_unknown_client_share_only_the_bound() {
    let pool = Pool::new(1_000);
    pool.issuer.client.store(0, SeqCst);
    pool.answer(|_| Err(refused("invalid_client")));
    assert_eq!((pool.failures().await.len(), pool.asked().len()), (1_000, 1_000));
    assert_eq!(pool.issuer.most_at_once.load(SeqCst), 64);
}

#[tokio::test(start_paused = true)]
async fn a_reset_of_a_renewal_in_the_queue_makes_one_request() {
    let pool = Pool::new(70);
    pool.caches[69].token().await.unwrap();
    pool.caches[69].reset();
    pool.asked();
    pool.takes(SECOND);
    let busy = waiting(&pool.caches[..64]).await;
    let queued = waiting(&pool.caches[64..]).await;
    assert!(pool.caches[64..].iter().all(|cache| cache.core.must_stay()), "they are in the queue");
    pool.caches[69].reset();
    pool.caches[64].reset();
    settle().await;
    assert!(join_all(busy.into_iter().chain(queued)).await.iter().all(Result::is_ok));
    let mut asked = pool.asked();
    asked.sort_unstable();
    assert_eq!(asked, (0..70).collect::<Vec<_>>());
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

/// Renewals of one runtime have all places and wait for more, and the runtime is left or dropped.
#[test]
fn renewals_of_a_runtime_that_stopped_do_not_keep_their_places() {
    for is_dropped in [true, false] {
        let pool = Pool::with(1_000, 4);
        let (stopped, other) = (runtime(), runtime());
        let (first, second) = pool.caches.split_at(900);
        let left = stopped.block_on(async {
            first[0].token().await.unwrap();
            waiting(&first[1..]).await
        });
        let stopped = (!is_dropped).then_some(stopped);
        other.block_on(async {
            let began = Instant::now();
            assert!(join_all(second.iter().map(TokenCache::token)).await.iter().all(Result::is_ok));
            let (took, alone) = (began.elapsed(), 25 * 50 * MILLI);
            assert!(took < alone + if is_dropped { Duration::ZERO } else { 3 * SECOND } + SECOND / 2, "{took:?}");
            // Also those that wait in the runtime that stopped. The first who waits may fail.
            let all = join_all(first.iter().map(TokenCache::token)).await;
            assert!(is_dropped || all.iter().filter(|token| token.is_err()).count() < 900);
            sleep(MINUTE).await;
            assert!(join_all(first.iter().map(TokenCache::token)).await.iter().all(Result::is_ok));
            assert!(began.elapsed() < 3 * MINUTE, "{:?}", began.elapsed());
        });
        drop((left, stopped));
    }
}

/// Nobody drives the runtime of the one that tries the client.
#[test]
fn a_try_of_the_client_in_a_runtime_that_stopped_is_taken_over() {
    for is_dropped in [true, false] {
        let pool = Pool::new(100);
        let (stopped, other) = (runtime(), runtime());
        let left = stopped.block_on(waiting(&pool.caches[..1]));
        let stopped = (!is_dropped).then_some(stopped);
        other.block_on(async {
            let all = join_all(pool.caches[1..].iter().map(TokenCache::token)).await;
            assert!(all.iter().all(Result::is_ok));
        });
        drop((left, stopped));
    }
}

/// A source that asks for the token of another identity first.
struct Chained {
    first: TokenCache,
    second: Source,
}

impl TokenSource for Chained {
    async fn obtain(&self, why: Reason) -> Result<AccessToken, Error> {
        self.first.token().await?;
        self.second.obtain(why).await
    }

    fn client(&self) -> Option<u64> {
        self.second.client()
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_needs_another_one_of_the_pool_does_not_wait_for_its_place() {
    let pool = Pool::with(3, 1);
    let chained = |first: &TokenCache, identity| {
        let second = Source { issuer: Arc::clone(&pool.issuer), identity };
        let source = Chained { first: first.clone(), second };
        TokenCache::from_core(TokenCache::builder(source).build_in(&pool.shared, None))
    };
    let (starts_it, finds_it_queued) = (chained(&pool.caches[0], 10), chained(&pool.caches[1], 11));
    let (found, began) = (finds_it_queued.clone(), Instant::now());
    let requests = [&starts_it, &found, &pool.caches[1], &pool.caches[2]].map(TokenCache::token);
    assert!(join_all(requests).await.iter().all(Result::is_ok));
    assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn only_the_token_of_an_identity_that_is_used_often_is_leased() {
    let pool = Pool::new(1);
    pool.warm_up().await;
    let cache = &pool.caches[0];
    let is_leased_by_a_use_after = async |wait| {
        advance(wait).await;
        cache.token().await.unwrap();
        cache.core.leased().is_some()
    };
    assert!(!is_leased_by_a_use_after(SECOND).await);
    assert!(!is_leased_by_a_use_after(100 * MILLI).await);
    assert!(is_leased_by_a_use_after(99 * MILLI).await);
    assert!(!is_leased_by_a_use_after(SECOND).await);
    assert!(pool.asked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_use_is_noted_once_and_a_success_for_good() {
    let pool = Pool::new(2);
    let core = &pool.caches[0].core;
    assert!(!core.take_use() && !core.family.take_use() && !core.family.has_succeeded());
    pool.warm_up().await;
    assert!(core.take_use() && core.family.take_use() && core.family.has_succeeded());
    assert!(!core.take_use() && !core.family.take_use() && core.family.has_succeeded());
}

#[test]
fn equal_settings_are_kept_once_and_a_few_different_ones() {
    let pool = Pool::new(0);
    let named = |n: usize| Settings { name: Some(n.to_string().into()), ..Settings::default() };
    let same = |n| Arc::ptr_eq(&pool.shared.settings(named(n)), &pool.shared.settings(named(n)));
    assert!((0..8).all(same) && !same(8));
    assert!(pool.shared.settings(named(3)).name.as_deref() == Some("3"));
}
