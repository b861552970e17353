//! User code that calls back into the crate while the crate runs it: the `Drop` of an error, or a strategy that is cloned. No lock
//! of the crate may be held then, or that code waits for it forever. Bodies are in `user_code_and_bodies.rs`.

use std::{
    fmt,
    panic::resume_unwind,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
        mpsc::{RecvTimeoutError, channel},
    },
    thread,
};

use bytes::Bytes;
use futures::FutureExt;
use http::{Request, Response};
use http_body_util::Full;
use tokio::{runtime::Builder, time::advance};
use tower::{BoxError, Layer, ServiceExt, service_fn};
use tower_bearer::{
    AccessToken, BearerAuthLayer, BoxTokenSource, Error, FixedToken, PasswordGrant, Reason, TokenCache, TokenSource,
    grant::ClientAuth,
    replay::Replay,
    source::Narrowing,
    testing::{Issuer, RefreshTokens},
};

use crate::support::{MINUTE, token};

/// Runs a test in a thread of its own, and fails if it does not end.
pub(crate) fn ends(test: impl FnOnce() + Send + 'static) {
    let (done, ended) = channel();
    let thread = thread::spawn(move || {
        test();
        done.send(()).unwrap();
    });
    match ended.recv_timeout(MINUTE / 4) {
        Ok(()) => {}
        Err(RecvTimeoutError::Disconnected) => resume_unwind(thread.join().unwrap_err()),
        Err(RecvTimeoutError::Timeout) => panic!("user code waits for a lock that its own thread holds"),
    }
}

fn ends_in_a_runtime<F: Future>(test: impl FnOnce() -> F + Send + 'static) {
    ends(|| {
        let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(test());
    });
}

/// What user code does when it is called, and how often it was called.
#[derive(Clone)]
pub(crate) struct UserCode {
    act: Arc<dyn Fn() + Send + Sync>,
    calls: Arc<AtomicU32>,
}

impl UserCode {
    pub(crate) fn new(act: impl Fn() + Send + Sync + 'static) -> Self {
        Self { act: Arc::new(act), calls: Arc::default() }
    }

    pub(crate) fn run(&self) {
        self.calls.fetch_add(1, SeqCst);
        (self.act)();
    }

    pub(crate) fn calls(&self) -> u32 {
        self.calls.load(SeqCst)
    }
}

impl fmt::Debug for UserCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserCode")
    }
}

/// Runs user code when it is dropped. It is an error, and bytes.
#[derive(Debug)]
pub(crate) struct RunsOnDrop(pub(crate) UserCode);

impl Drop for RunsOnDrop {
    fn drop(&mut self) {
        self.0.run();
    }
}

impl fmt::Display for RunsOnDrop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no")
    }
}

impl std::error::Error for RunsOnDrop {}

impl AsRef<[u8]> for RunsOnDrop {
    fn as_ref(&self) -> &[u8] {
        b"bytes of the user"
    }
}

/// The caches that user code calls into. They are set after the sources that hold it.
type Caches = Arc<OnceLock<Vec<TokenCache>>>;

/// Does what takes each lock of a cache.
fn calls_into(caches: &Caches) -> UserCode {
    let caches = Arc::clone(caches);
    UserCode::new(move || {
        for cache in caches.get().into_iter().flatten() {
            let _ = cache.status();
            drop(cache.token().now_or_never());
        }
    })
}

/// A source with a script, which is shared by all its narrowed sources.
#[derive(Clone)]
struct Scripted {
    asked: Arc<AtomicU32>,
    answer: Arc<dyn Fn(u32) -> Result<AccessToken, Error> + Send + Sync>,
}

impl Scripted {
    fn new(answer: impl Fn(u32) -> Result<AccessToken, Error> + Send + Sync + 'static) -> Self {
        Self { asked: Arc::default(), answer: Arc::new(answer) }
    }
}

impl TokenSource for Scripted {
    async fn obtain(&self, _: Reason) -> Result<AccessToken, Error> {
        (self.answer)(self.asked.fetch_add(1, SeqCst) + 1)
    }

    fn narrowed(&self, _: &Narrowing) -> Option<BoxTokenSource> {
        Some(self.clone().boxed())
    }
}

/// What takes the place of a failure in a cache.
#[derive(Clone, Copy, Debug)]
enum Next {
    Token,
    Failure,
    Reset,
}

/// The first failure of a source is an error that calls into the cache when it is dropped.
async fn replaces_an_error(next: Next, failure: fn(RunsOnDrop) -> Error) {
    let caches = Caches::default();
    let user_code = calls_into(&caches);
    let errors = user_code.clone();
    let source = Scripted::new(move |n| match next {
        _ if n == 1 => Err(failure(RunsOnDrop(errors.clone()))),
        Next::Failure => Err(Error::terminal("a plain one")),
        Next::Token | Next::Reset => Ok(token(n.into())),
    });
    let cache = TokenCache::builder(source).renewal_retries(0).build();
    let narrowed = cache.narrowed(&Narrowing::new().with_scope("less").unwrap()).unwrap();
    assert!(caches.set(vec![cache.clone(), narrowed]).is_ok());
    drop(cache.token().await.unwrap_err());
    tokio::task::yield_now().await;
    assert_eq!(user_code.calls(), 0, "the cache keeps the error");
    advance(MINUTE).await;
    match next {
        Next::Token => drop(cache.token().await.unwrap()),
        Next::Failure => drop(cache.token().await.unwrap_err()),
        Next::Reset => cache.reset(),
    }
    tokio::task::yield_now().await;
    assert_eq!(user_code.calls(), 1, "it was dropped");
}

macro_rules! replaced_errors {
    ($($name:ident: $next:ident, $failure:ident;)*) => {$(
        #[test]
        fn $name() {
            ends_in_a_runtime(|| replaces_an_error(Next::$next, |error| Error::$failure(error)));
        }
    )*};
}

replaced_errors! {
    an_error_that_a_new_token_replaces_may_call_the_cache: Token, transient;
    an_error_that_the_next_failure_replaces_may_call_the_cache: Failure, transient;
    an_error_that_a_reset_forgets_may_call_the_cache: Reset, transient;
    a_shared_refusal_that_a_new_token_replaces_may_call_the_caches: Token, terminal;
    a_shared_refusal_that_the_next_one_replaces_may_call_the_caches: Failure, terminal;
    a_shared_refusal_that_a_reset_forgets_may_call_the_caches: Reset, terminal;
}

/// The cache that was refused has had another failure since. So the last clone of the refusal is what the caches share, and
/// it is dropped in the renewal of another cache.
#[test]
fn a_refusal_that_ends_in_the_renewal_of_another_cache_may_call_that_cache() {
    for is_reset in [false, true] {
        ends_in_a_runtime(move || async move {
            let caches = Caches::default();
            let user_code = calls_into(&caches);
            let errors = user_code.clone();
            let cache = TokenCache::new(Scripted::new(move |n| match n {
                1 => Err(Error::terminal(RunsOnDrop(errors.clone()))),
                2 => Err(Error::transient("a plain one")),
                _ => Ok(token(n.into())),
            }));
            let [refused, other] = ["refused", "other"].map(|scope| Narrowing::new().with_scope(scope).unwrap());
            let [refused, other] = [&refused, &other].map(|to| cache.narrowed(to).unwrap());
            assert!(caches.set(vec![other.clone(), refused.clone(), cache]).is_ok());
            for _ in 0..2 {
                drop(refused.token().await.unwrap_err());
                tokio::task::yield_now().await;
                advance(MINUTE).await;
            }
            assert_eq!(user_code.calls(), 0, "the caches share the refusal");
            if is_reset {
                other.reset();
            } else {
                drop(other.token().await.unwrap());
            }
            tokio::task::yield_now().await;
            assert_eq!(user_code.calls(), 1, "it is over");
        });
    }
}

/// A grant keeps the error of a failed revocation, for those who wait for the same revocation.
#[test]
fn an_error_of_a_revocation_that_the_next_one_replaces_may_revoke_again() {
    ends_in_a_runtime(|| async {
        let caches = Arc::new(OnceLock::<TokenCache>::new());
        let (revoking, is_revoking) = (Arc::clone(&caches), AtomicBool::new(false));
        let user_code = UserCode::new(move || {
            if !is_revoking.swap(true, SeqCst) {
                drop(revoking.get().unwrap().revoke().now_or_never());
                is_revoking.store(false, SeqCst);
            }
        });
        let issuer = Issuer::builder().refresh_tokens(RefreshTokens::Kept).build();
        let errors = user_code.clone();
        let http = service_fn(move |request: Request<Full<Bytes>>| {
            let (errors, issuer) = (errors.clone(), issuer.service());
            async move {
                if request.uri().path() == "/revoke" {
                    return Err(BoxError::from(RunsOnDrop(errors)));
                }
                issuer.oneshot(request).await.map_err(BoxError::from)
            }
        });
        let grant = PasswordGrant::builder("https://issuer.test/token")
            .client_auth(ClientAuth::basic("client1", "client-secret"))
            .credentials("user1", "user-password")
            .revocation_url("https://issuer.test/revoke");
        let cache = TokenCache::new(grant.build_with(http).unwrap());
        assert!(caches.set(cache.clone()).is_ok());
        drop(cache.token().await.unwrap());
        for _ in 0..3 {
            drop(cache.revoke().await.unwrap_err());
        }
        assert!(user_code.calls() > 1);
    });
}

/// A strategy of the user, whose clone uses the layer that clones it.
struct UsesItsLayer(Arc<OnceLock<BearerAuthLayer<UsesItsLayer>>>, UserCode);

impl Clone for UsesItsLayer {
    fn clone(&self) -> Self {
        self.1.run();
        Self(Arc::clone(&self.0), UserCode::new(|| ()))
    }
}

impl Replay<Full<Bytes>> for UsesItsLayer {
    type Kept = ();

    fn keep(&self, body: Full<Bytes>) -> (Full<Bytes>, Option<()>) {
        (body, None)
    }

    fn replay(&self, (): ()) -> Option<Full<Bytes>> {
        None
    }
}

#[test]
fn a_strategy_that_is_cloned_for_a_service_may_use_its_layer() {
    ends(|| {
        let layer = Arc::new(OnceLock::new());
        let inner = Arc::clone(&layer);
        let is_first = AtomicBool::new(true);
        let api =
            || service_fn(async |_: Request<Full<Bytes>>| Ok::<_, BoxError>(Response::new(Full::<Bytes>::default())));
        let strategy = UserCode::new(move || {
            if is_first.swap(false, SeqCst) {
                drop(inner.get().map(|layer: &BearerAuthLayer<UsesItsLayer>| layer.layer(api())));
            }
        });
        let strategy = UsesItsLayer(Arc::clone(&layer), strategy);
        let made = BearerAuthLayer::new(FixedToken::new("t").unwrap()).replay(strategy);
        assert!(layer.set(made).is_ok());
        drop(layer.get().unwrap().layer(api()));
    });
}
