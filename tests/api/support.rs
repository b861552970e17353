//! Items that several topics share.

use std::{
    fmt::Debug,
    path::{Path, PathBuf},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Context,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures::task::noop_waker;
use http::{HeaderMap, Request, Response, StatusCode, header::AUTHORIZATION};
use http_body_util::Full;
use tokio::{runtime::Builder, sync::Semaphore, task::yield_now, time::Instant};
use tokio_test::task::Spawn;
use tower::{BoxError, Service, ServiceExt, service_fn};
use tower_bearer::{
    AccessToken, Error, NotRetried, Outcome, PasswordGrant, Reason, TokenCache, TokenSource,
    grant::{ClientAuth, HttpService},
    source::from_fn,
    testing::{Issuer, TokenFormat, TokenRequest},
};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

pub(crate) type Ask = Request<Full<Bytes>>;
pub(crate) type Answer = Response<Full<Bytes>>;

/// Returns an issuer of opaque tokens, which are faster to issue than JWTs. They live for an hour.
pub(crate) fn issuer() -> Issuer {
    Issuer::builder().token_format(TokenFormat::Opaque).build()
}

/// Returns the password grant for an issuer with default settings, over any client.
pub(crate) fn grant<C: HttpService>(http: C) -> PasswordGrant<C> {
    PasswordGrant::builder("https://issuer.test/token")
        .client_auth(ClientAuth::basic("client1", "client-secret"))
        .credentials("user1", "user-password")
        .build_with(http)
        .unwrap()
}

/// Returns the errors that a grant makes of these answers: a status and a body. It runs outside of any runtime.
pub(crate) fn errors_of<const N: usize>(answers: [(u16, &'static str); N]) -> [Error; N] {
    answers.map(|(status, body)| {
        let http = service_fn(move |_: Ask| async move {
            let answer = Response::builder().status(status).header("content-type", "application/json");
            Ok::<_, BoxError>(answer.body(Full::<Bytes>::from(body))?)
        });
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(obtain(&grant(http))).unwrap_err()
    })
}

/// Obtains one token from a source, without a cache.
pub(crate) async fn obtain(source: &impl TokenSource) -> Result<AccessToken, Error> {
    source.obtain(Reason::First).await
}

/// Returns whether the issuer accepts the token.
pub(crate) fn accepted(issuer: &Issuer, token: &AccessToken) -> bool {
    issuer.check(&HeaderMap::from_iter([(AUTHORIZATION, token.header_value())])).is_accepted()
}

/// Returns all values of a parameter.
pub(crate) fn values<'a>(request: &'a TokenRequest, name: &str) -> Vec<&'a str> {
    request.params().iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
}

pub(crate) fn ask(path: &str) -> Ask {
    Request::get(format!("https://api.test{path}")).body(Full::default()).unwrap()
}

/// Sends one GET request with a clone of the service, and returns the response.
pub(crate) async fn get<S>(service: &S, path: &str) -> Answer
where
    S: Service<Ask, Response = Answer, Error: Debug> + Clone,
{
    service.clone().oneshot(ask(path)).await.unwrap()
}

pub(crate) fn is_ok(answer: &Answer) -> bool {
    answer.status() == StatusCode::OK
}

/// Returns the outcome of a request that was not a plain hit.
pub(crate) fn outcome(answer: &Answer) -> Option<&Outcome> {
    answer.extensions().get()
}

/// Returns why a rejected request was not sent again.
pub(crate) fn not_retried(answer: &Answer) -> Option<&NotRetried> {
    outcome(answer).and_then(Outcome::not_retried)
}

/// Counts the requests to a source.
#[derive(Clone, Default)]
pub(crate) struct Asked(Arc<AtomicU64>);

impl Asked {
    pub(crate) fn times(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Returns a source whose nth result, from 1 on, is `answer(n)`, and the counter of its requests.
pub(crate) fn scripted<F, Fut>(answer: F) -> (impl TokenSource, Asked)
where
    F: Fn(u64) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<AccessToken, Error>> + Send + 'static,
{
    let asked = Asked::default();
    let count = Arc::clone(&asked.0);
    (from_fn(move |_| answer(count.fetch_add(1, Ordering::Relaxed) + 1)), asked)
}

/// Returns the nth token, with a lifetime of an hour.
pub(crate) fn token(n: u64) -> AccessToken {
    AccessToken::new(format!("t{n}")).unwrap().with_expires_in(HOUR)
}

/// Returns a cache whose source waits for a permit before each token.
pub(crate) fn gated() -> (TokenCache, Asked, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let passage = Arc::clone(&gate);
    let (source, asked) = scripted(move |n| {
        let passage = Arc::clone(&passage);
        async move {
            passage.acquire().await.unwrap().forget();
            Ok(token(n))
        }
    });
    (TokenCache::new(source), asked, gate)
}

/// Polls a future so often, each time after other tasks ran, and drops it. Returns whether it ended.
pub(crate) async fn polled<F: Future>(times: u32, future: F) -> bool {
    let (mut future, mut ended) = (pin!(future), false);
    for _ in 0..times {
        yield_now().await;
        ended = future.as_mut().poll(&mut Context::from_waker(&noop_waker())).is_ready();
    }
    ended
}

/// Starts `n` calls. Each was polled and is pending.
pub(crate) fn waiting<F: Future>(n: usize, call: impl Fn() -> F) -> Vec<Spawn<F>> {
    let mut calls: Vec<_> = (0..n).map(|_| tokio_test::task::spawn(call())).collect();
    for call in &mut calls {
        assert!(call.poll().is_pending());
    }
    calls
}

/// Waits until a renewal in the background has completed.
pub(crate) async fn settled(cache: &TokenCache) {
    while cache.status().renewing {
        yield_now().await;
    }
}

/// Returns a path for a file that only this test uses.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{:x}", std::process::id(), fastrand::u64(..)));
    std::fs::create_dir_all(&folder).unwrap();
    folder.join(name)
}

/// Returns a wall clock that does not move until it is told to.
pub(crate) fn wall() -> (Arc<AtomicU64>, impl Fn() -> SystemTime + Send + Sync + 'static) {
    let seconds = Arc::new(AtomicU64::new(1_000_000_000));
    let read = Arc::clone(&seconds);
    (seconds, move || SystemTime::UNIX_EPOCH + Duration::from_secs(read.load(Ordering::Relaxed)))
}

/// Makes one `call` in each of the next `seconds`. Returns in which of them `count` increased, so that there was an
/// attempt.
pub(crate) async fn attempts_at(seconds: u64, count: impl Fn() -> u64, call: impl AsyncFn()) -> Vec<u64> {
    let (start, mut attempts) = (Instant::now(), Vec::new());
    while start.elapsed() < Duration::from_secs(seconds) {
        let before = count();
        call().await;
        yield_now().await;
        attempts.extend((before..count()).map(|_| start.elapsed().as_secs()));
        tokio::time::advance(SECOND).await;
    }
    attempts
}
