//! User code that calls back into the crate: the `Drop` of an error, of a body or of a waker, and a body that is asked for its
//! size. None of it may run while a lock of the crate is held, or it waits for that lock forever.

use std::{
    fmt,
    panic::resume_unwind,
    pin::Pin,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
        mpsc::{RecvTimeoutError, channel},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
};

use bytes::Bytes;
use futures::FutureExt;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use tokio::{runtime::Builder, time::advance};
use tower::{BoxError, Layer, ServiceExt, service_fn};
use tower_bearer::{
    AccessToken, BearerAuthLayer, BoxTokenSource, Error, FixedToken, PasswordGrant, Reason, TokenCache, TokenSource,
    grant::ClientAuth,
    replay::{InPlace, KeptBody, Replay, ReplayBody, Tee},
    source::Narrowing,
    testing::{Issuer, RefreshTokens},
};

use crate::support::{MINUTE, token};

/// Runs a test in a thread of its own, and fails if it does not end.
fn ends(test: impl FnOnce() + Send + 'static) {
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
struct UserCode {
    act: Arc<dyn Fn() + Send + Sync>,
    calls: Arc<AtomicU32>,
}

impl UserCode {
    fn new(act: impl Fn() + Send + Sync + 'static) -> Self {
        Self { act: Arc::new(act), calls: Arc::default() }
    }

    fn run(&self) {
        self.calls.fetch_add(1, SeqCst);
        (self.act)();
    }

    fn calls(&self) -> u32 {
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
struct RunsOnDrop(UserCode);

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
    let cache = TokenCache::new(Scripted::new(move |n| match next {
        _ if n == 1 => Err(failure(RunsOnDrop(errors.clone()))),
        Next::Failure => Err(Error::terminal("a plain one")),
        Next::Token | Next::Reset => Ok(token(n.into())),
    }));
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

type Attempt = Pin<Box<ReplayBody<Scene>>>;

/// What user code has in its hands while a body is sent.
#[derive(Clone, Default)]
struct Stage(Arc<Props>);

#[derive(Default)]
struct Props {
    kept: Mutex<Option<KeptBody<Scene>>>,
    first: Mutex<Option<Attempt>>,
    second: Mutex<Option<Attempt>>,
}

impl Stage {
    /// Drops what is kept for the second attempt, as a cancelled request does.
    fn cancel(&self) {
        let kept = self.0.kept.lock().unwrap().take();
        drop(kept);
    }

    fn take_over(&self) {
        let kept = self.0.kept.lock().unwrap().take();
        let second = kept.map(|kept| Box::pin(Tee::in_place().replay(kept).unwrap()));
        *self.0.second.lock().unwrap() = second;
    }

    fn pause(&self) {
        Replay::<ReplayBody<Scene>>::pause(&Tee::in_place(), self.0.kept.lock().unwrap().as_mut().unwrap());
    }

    /// Does what takes the lock of both attempts, if they are not being polled.
    fn ask_both(&self) {
        for attempt in [&self.0.first, &self.0.second] {
            let taken = attempt.lock().unwrap().take();
            if let Some(body) = taken {
                let _ = (body.is_end_stream(), body.size_hint());
                *attempt.lock().unwrap() = Some(body);
            }
        }
    }

    fn poll_first(&self, waker: &Waker) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Self::poll(&self.0.first, waker)
    }

    fn poll_second(&self, waker: &Waker) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Self::poll(&self.0.second, waker)
    }

    fn poll(attempt: &Mutex<Option<Attempt>>, waker: &Waker) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let taken = attempt.lock().unwrap().take();
        let mut body = taken.unwrap();
        let polled = body.as_mut().poll_frame(&mut Context::from_waker(waker));
        *attempt.lock().unwrap() = Some(body);
        polled
    }
}

type Polled = Poll<Option<Result<Frame<Bytes>, BoxError>>>;

/// A body of the user.
struct Scene {
    poll: Box<dyn FnMut(&mut Context<'_>) -> Polled + Send>,
    asked: UserCode,
    _dropped: RunsOnDrop,
}

impl Body for Scene {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Polled {
        (self.poll)(task)
    }

    fn is_end_stream(&self) -> bool {
        self.asked.run();
        false
    }

    fn size_hint(&self) -> SizeHint {
        self.asked.run();
        SizeHint::default()
    }
}

fn idle() -> UserCode {
    UserCode::new(|| ())
}

/// Keeps a body that answers its polls by `poll`, runs `asked` when it is asked for its size or its end, and `dropped` when it
/// is dropped.
fn stage(
    stage: &Stage,
    poll: impl FnMut(&mut Context<'_>) -> Polled + Send + 'static,
    asked: &UserCode,
    dropped: &UserCode,
) {
    let scene = Scene { poll: Box::new(poll), asked: asked.clone(), _dropped: RunsOnDrop(dropped.clone()) };
    let (first, kept): (ReplayBody<Scene>, _) = Replay::keep(&Tee::<InPlace>::in_place(), ReplayBody::new(scene));
    *stage.0.first.lock().unwrap() = Some(Box::pin(first));
    *stage.0.kept.lock().unwrap() = kept;
}

fn noop() -> &'static Waker {
    Waker::noop()
}

fn data(bytes: &'static [u8]) -> Polled {
    Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(bytes)))))
}

#[test]
fn a_body_that_is_asked_for_its_size_may_cancel_its_request() {
    for is_end in [false, true] {
        ends(move || {
            let set = Stage::default();
            let of_user = set.clone();
            let is_kept = Arc::new(AtomicU32::new(0));
            let armed = Arc::clone(&is_kept);
            let asked = UserCode::new(move || {
                if armed.load(SeqCst) == 1 {
                    of_user.cancel();
                }
            });
            stage(&set, |_| data(b"x"), &asked, &idle());
            is_kept.store(1, SeqCst);
            let first = set.0.first.lock().unwrap().take().unwrap();
            if is_end {
                assert!(!first.is_end_stream());
            } else {
                assert_eq!(first.size_hint().upper(), None);
            }
            assert!(set.0.kept.lock().unwrap().is_none(), "it was cancelled");
        });
    }
}

#[test]
fn a_paused_body_that_is_asked_for_its_end_may_cancel_its_request() {
    ends(|| {
        let set = Stage::default();
        let of_user = set.clone();
        let is_kept = Arc::new(AtomicU32::new(0));
        let armed = Arc::clone(&is_kept);
        let asked = UserCode::new(move || {
            if armed.load(SeqCst) == 1 {
                of_user.cancel();
            }
        });
        stage(&set, |_| data(b"x"), &asked, &idle());
        set.pause();
        is_kept.store(1, SeqCst);
        let polled = set.poll_first(noop());
        assert!(matches!(polled, Poll::Ready(Some(Ok(_)))), "it is the first attempt's turn again: {polled:?}");
    });
}

#[test]
fn a_body_that_the_second_attempt_asks_for_its_end_may_ask_the_first() {
    ends(|| {
        let set = Stage::default();
        let of_user = set.clone();
        let asked = UserCode::new(move || of_user.ask_both());
        stage(&set, |_| data(b"x"), &asked, &idle());
        set.take_over();
        let second = set.0.second.lock().unwrap().take().unwrap();
        let before = asked.calls();
        assert!(!second.is_end_stream());
        assert_eq!(asked.calls(), before + 1);
    });
}

/// A waker whose clones run user code when they are made or dropped.
struct UserWaker {
    dropped: UserCode,
}

impl Wake for UserWaker {
    fn wake(self: Arc<Self>) {}
}

impl Drop for UserWaker {
    fn drop(&mut self) {
        self.dropped.run();
    }
}

fn user_waker(dropped: &UserCode) -> Waker {
    Arc::new(UserWaker { dropped: dropped.clone() }).into()
}

#[test]
fn a_waker_that_another_one_replaces_may_cancel_its_request() {
    for is_paused in [false, true] {
        ends(move || {
            let set = Stage::default();
            let of_user = set.clone();
            let dropped = UserCode::new(move || of_user.cancel());
            stage(&set, |_| Poll::Pending, &idle(), &idle());
            if is_paused {
                set.pause();
            }
            assert!(set.poll_first(&user_waker(&dropped)).is_pending());
            assert_eq!(dropped.calls(), 0, "the waker is kept");
            assert!(set.poll_first(noop()).is_pending());
            assert_eq!(dropped.calls(), 1, "the waker is replaced");
        });
    }
}

/// The second attempt waits while another thread polls the body. The waker's drop waits for that thread.
#[test]
fn a_waker_of_the_second_attempt_that_another_one_replaces_may_wait_for_the_first() {
    ends(|| {
        let set = Stage::default();
        let (is_polled, polled) = channel();
        let (go_on, may_go_on) = channel();
        let poll = move |_: &mut Context<'_>| {
            is_polled.send(()).unwrap();
            may_go_on.recv().unwrap();
            data(b"x")
        };
        stage(&set, poll, &idle(), &idle());
        let of_thread = set.clone();
        let first = thread::spawn(move || of_thread.poll_first(noop()));
        polled.recv().unwrap();
        set.take_over();
        let joined = Mutex::new(Some(first));
        let dropped = UserCode::new(move || {
            go_on.send(()).unwrap();
            let first = joined.lock().unwrap().take().unwrap();
            assert!(matches!(first.join().unwrap(), Poll::Ready(Some(Err(_)))), "it was superseded");
        });
        assert!(set.poll_second(&user_waker(&dropped)).is_pending());
        assert_eq!(dropped.calls(), 0, "the waker is kept");
        let polled = set.poll_second(noop());
        assert_eq!(dropped.calls(), 1, "the waker is replaced");
        let polled = if polled.is_pending() { set.poll_second(noop()) } else { polled };
        assert!(matches!(polled, Poll::Ready(Some(Ok(_)))));
    });
}

/// How the poll ends in which the first attempt loses its turn.
#[derive(Clone, Copy, Debug)]
enum Last {
    SmallChunk,
    End,
    Error,
}

fn of_user(dropped: &UserCode) -> Bytes {
    Bytes::from_owner(RunsOnDrop(dropped.clone()))
}

#[test]
fn what_a_superseded_poll_brought_may_ask_the_second_attempt_when_it_is_dropped() {
    for last in [Last::SmallChunk, Last::End, Last::Error] {
        ends(move || {
            let set = Stage::default();
            let asking = set.clone();
            let dropped = UserCode::new(move || asking.ask_both());
            let (of_body, of_chunk, mut polls) = (set.clone(), dropped.clone(), 0);
            let poll = move |_: &mut Context<'_>| {
                polls += 1;
                if polls == 1 {
                    return data(b"x");
                }
                of_body.take_over();
                Poll::Ready(match last {
                    Last::SmallChunk => Some(Ok(Frame::data(of_user(&of_chunk)))),
                    Last::End => None,
                    Last::Error => Some(Err("broken".into())),
                })
            };
            let of_scene = if matches!(last, Last::SmallChunk) { idle() } else { dropped.clone() };
            stage(&set, poll, &idle(), &of_scene);
            assert!(matches!(set.poll_first(noop()), Poll::Ready(Some(Ok(_)))));
            assert!(matches!(set.poll_first(noop()), Poll::Ready(Some(Err(_)))), "it was superseded");
            assert_eq!(dropped.calls(), 1, "{last:?}: it is not needed any more");
        });
    }
}

#[test]
fn trailers_that_come_twice_are_sent_twice_in_both_attempts_and_may_cancel_the_request_when_they_are_dropped() {
    ends(|| {
        let set = Stage::default();
        let cancelling = set.clone();
        let dropped = UserCode::new(move || cancelling.cancel());
        let of_trailers = dropped.clone();
        let poll = move |_: &mut Context<'_>| {
            let value = HeaderValue::from_maybe_shared(of_user(&of_trailers)).unwrap();
            Poll::Ready(Some(Ok(Frame::trailers(HeaderMap::from_iter([("x-sum".parse().unwrap(), value)])))))
        };
        stage(&set, poll, &idle(), &idle());
        for _ in 0..2 {
            assert!(matches!(set.poll_first(noop()), Poll::Ready(Some(Ok(_)))));
        }
        assert_eq!(dropped.calls(), 0, "all are kept");
        set.take_over();
        for _ in 0..2 {
            let Poll::Ready(Some(Ok(frame))) = set.poll_second(noop()) else { panic!("expected trailers") };
            assert!(frame.is_trailers());
        }
    });
}
