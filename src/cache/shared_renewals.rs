//! Tests of many identities that share a client, an issuer and the bound on renewals in progress.

use std::{
    sync::{
        Arc, Mutex,
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
        family::{Family, Shared},
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
    /// How long the tokens live.
    lifetime: Duration,
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
        Ok(AccessToken::new(format!("{}-{n}", self.identity))?.with_expires_in(issuer.lifetime))
    }

    fn client(&self) -> Option<u64> {
        Some(self.issuer.client.load(SeqCst)).filter(|number| *number != 0)
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
        Self::with(identities, 64, HOUR)
    }

    fn with(identities: usize, max_renewals: usize, lifetime: Duration) -> Self {
        let issuer = Arc::new(Issuer {
            requests: AtomicUsize::new(0),
            at_once: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
            order: Mutex::default(),
            answer: Mutex::new(Arc::new(|_| Ok(()))),
            takes: Mutex::new(50 * MILLI),
            client: AtomicU64::new(1),
            lifetime,
        });
        let shared = Shared::new(max_renewals);
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
    let settings = Settings { stale_jitter: 0.0, ..Settings::default() };
    TokenCache::with_settings(source.boxed(), settings, Family::new(Some(Arc::clone(shared))))
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
    let began = Instant::now();
    let all = join_all((0..10).flat_map(|_| &pool.caches).map(TokenCache::token)).await;
    let failed = all.iter().filter(|answer| answer.is_err()).count();
    assert_eq!(failed, 10, "the ten requests of the one with the wrong password");
    assert_eq!(pool.issuer.requests.load(SeqCst), 10_000);
    assert_eq!(pool.issuer.most_at_once.load(SeqCst), 64);
    assert!(began.elapsed() < 9 * SECOND, "{:?}", began.elapsed());
    let mut asked = pool.asked();
    asked.sort_unstable();
    asked.dedup();
    assert_eq!(asked.len(), 10_000, "one each");
    assert_eq!(pool.failures().await.len(), 1);
    assert!(pool.asked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn no_request_fails_when_ten_thousand_tokens_expire_in_the_same_second() {
    let pool = Pool::with(10_000, 64, HOUR);
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
    for error in [busy(), Error::connect("refused")] {
        let pool = Pool::new(1_000);
        pool.warm_up().await;
        advance(2 * HOUR).await;
        pool.answer(move |_| Err(error.clone()));
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
        assert_eq!(traffic(began + 31 * SECOND).await, 1_000);
        println!("{probes} requests in 10 minutes; recovered in {:?}", began.elapsed());
        assert_eq!(pool.asked().len(), 1_000);
    }
}

#[tokio::test(start_paused = true)]
async fn during_an_outage_one_probe_goes_out_at_a_time_and_good_tokens_are_served() {
    let pool = Pool::with(1_000, 64, HOUR);
    // Half of them have a token.
    assert!(join_all(pool.caches[500..].iter().map(TokenCache::token)).await.iter().all(Result::is_ok));
    pool.answer(|_| Err(busy()));
    assert_eq!(pool.failures().await.len(), 500);
    advance(MINUTE).await;
    pool.takes(5 * SECOND);
    pool.asked();
    let began = Instant::now();
    let mut all: Vec<_> = pool.caches[..500].iter().map(|cache| Box::pin(cache.token())).collect();
    let at_once = async {
        settle().await;
        all.iter_mut().filter_map(FutureExt::now_or_never).filter(Result::is_err).count()
    };
    assert!(all_polled(&pool).await >= 500);
    let _ = at_once;
    assert_eq!(pool.asked().len(), 1);
    assert!(began.elapsed() < SECOND);
}

/// Makes a request for each identity, and returns how many end at once.
async fn all_polled(pool: &Pool) -> usize {
    let mut all: Vec<_> = pool.caches.iter().map(|cache| Box::pin(cache.token())).collect();
    let mut ended = 0;
    for _ in 0..20 {
        let mut waiting = Vec::new();
        for mut request in all {
            match request.as_mut().now_or_never() {
                Some(_) => ended += 1,
                None => waiting.push(request),
            }
        }
        all = waiting;
        tokio::task::yield_now().await;
    }
    ended
}
