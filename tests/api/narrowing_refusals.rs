//! What the refusal of one narrowed token means for the others.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use bytes::Bytes;
use futures::FutureExt;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::time::{Instant, advance, sleep};
use tower::service_fn;
use tower_bearer::{
    AccessToken, BoxTokenSource, Error, PasswordGrant, Reason, TokenCache, TokenSource,
    cache::Backoff,
    grant::{ClientAuth, ClientCredentials},
    source::Narrowing,
    testing::{Issuer, RefreshTokens, TokenFormat},
};

use crate::support::{HOUR, SECOND};

fn cache(issuer: &Issuer, password: &str) -> TokenCache {
    let grant = PasswordGrant::builder("https://issuer.test/token")
        .client_auth(ClientAuth::basic("client1", "client-secret"))
        .credentials("user1", password);
    TokenCache::new(grant.build_with(issuer.service()).unwrap())
}

fn scope(n: usize) -> Narrowing {
    Narrowing::new().with_scope(format!("s{n}")).unwrap()
}

fn tries_of_the_password(issuer: &Issuer) -> usize {
    issuer.requests().iter().filter(|request| request.grant_type() == Some("password")).count()
}

#[tokio::test(start_paused = true)]
async fn ten_scopes_at_once_try_a_wrong_password_once() {
    let issuer = Issuer::builder().token_format(TokenFormat::Opaque).build();
    issuer.delay(SECOND / 20);
    let cache = cache(&issuer, "wrong");
    let all = (0..10).map(|n| {
        let cache = cache.narrowed(&scope(n)).unwrap();
        async move { cache.token().await }
    });
    for result in futures::future::join_all(all).await {
        assert_eq!(result.unwrap_err().oauth_code(), Some("invalid_grant"));
    }
    assert_eq!(tries_of_the_password(&issuer), 1);
}

/// A source of any scope.
#[derive(Clone)]
struct Scripted {
    asked: Arc<AtomicU64>,
    obtain: Arc<dyn Fn(u64) -> Result<AccessToken, Error> + Send + Sync>,
    takes: std::time::Duration,
}

impl TokenSource for Scripted {
    async fn obtain(&self, _: Reason) -> Result<AccessToken, Error> {
        let n = self.asked.fetch_add(1, SeqCst) + 1;
        sleep(self.takes).await;
        (self.obtain)(n)
    }

    fn narrowed(&self, _: &Narrowing) -> Option<BoxTokenSource> {
        Some(self.clone().boxed())
    }
}

fn scripted(obtain: impl Fn(u64) -> Result<AccessToken, Error> + Send + Sync + 'static) -> (Scripted, Arc<AtomicU64>) {
    let asked = Arc::new(AtomicU64::new(0));
    (Scripted { asked: Arc::clone(&asked), obtain: Arc::new(obtain), takes: SECOND / 20 }, asked)
}

/// Returns the number of tries in an hour of one request a second for each of `scopes`.
async fn tries_in_an_hour(scopes: usize, error: fn(&'static str) -> Error) -> u64 {
    let (source, asked) = scripted(move |_| Err(error("no")));
    let cache = TokenCache::new(Scripted { takes: std::time::Duration::ZERO, ..source });
    let (end, mut random) = (Instant::now() + HOUR, fastrand::Rng::with_seed(7));
    while Instant::now() < end {
        let first = random.usize(..scopes);
        for n in 0..scopes {
            let _ = cache.narrowed(&scope((first + n) % scopes)).unwrap().token().await;
        }
        advance(SECOND).await;
    }
    asked.load(SeqCst)
}

#[tokio::test(start_paused = true)]
async fn sixty_scopes_cost_what_one_does() {
    for error in [Error::terminal, Error::unexplained] {
        let (one, many) = (tries_in_an_hour(1, error).await, tries_in_an_hour(60, error).await);
        assert!(many <= one + 1, "{one} for one scope, {many} for sixty");
    }
}

#[tokio::test(start_paused = true)]
async fn ten_scopes_at_once_with_good_credentials_wait_for_the_first_and_no_more() {
    let (source, asked) = scripted(|n| Ok(AccessToken::new(format!("t{n}"))?.with_expires_in(HOUR)));
    let cache = TokenCache::new(source);
    let start = Instant::now();
    let all = (0..10).map(|n| {
        let cache = cache.narrowed(&scope(n)).unwrap();
        async move { cache.token().await.unwrap() }
    });
    futures::future::join_all(all).await;
    assert_eq!(asked.load(SeqCst), 10);
    assert!(start.elapsed() < SECOND / 5, "{:?}", start.elapsed());
}

/// A source whose first credentials are accepted, but refused in the end, and whose next ones are refused at once.
#[derive(Clone)]
struct Changing {
    version: Arc<AtomicU64>,
    asked: Arc<AtomicU64>,
    late: fn() -> Result<AccessToken, Error>,
}

impl TokenSource for Changing {
    async fn obtain(&self, _: Reason) -> Result<AccessToken, Error> {
        match (self.version.load(SeqCst), self.asked.fetch_add(1, SeqCst)) {
            (0, 0) => Ok(AccessToken::new("t")?.with_expires_in(HOUR)),
            (0, _) => {
                sleep(2 * SECOND).await;
                (self.late)()
            }
            _ => Err(Error::terminal("a wrong password")),
        }
    }

    fn credentials_version(&self) -> u64 {
        self.version.load(SeqCst)
    }

    fn narrowed(&self, _: &Narrowing) -> Option<BoxTokenSource> {
        Some(self.clone().boxed())
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_about_earlier_credentials_does_not_cause_another_try_of_the_new_ones() {
    for late in [|| Err(Error::terminal("the account has another password")), || AccessToken::new("late")] {
        let source = Changing { version: Arc::default(), asked: Arc::default(), late };
        let cache = TokenCache::new(source.clone());
        cache.token().await.unwrap();
        let [first, second, third] = [0, 1, 2].map(|n| cache.narrowed(&scope(n)).unwrap());
        let (_, refused) = futures::join!(first.token(), async {
            sleep(SECOND).await;
            source.version.store(1, SeqCst);
            second.token().await
        });
        assert!(refused.unwrap_err().is_terminal());
        assert!(third.token().await.unwrap_err().is_backing_off());
        assert_eq!(source.asked.load(SeqCst), 3);
    }
}

/// A renewal whose first attempt met an outage is tried again a moment later.
#[tokio::test(start_paused = true)]
async fn credentials_that_are_refused_for_one_cache_are_not_tried_again_by_another() {
    let (source, asked) = scripted(|n| match n {
        1 => Ok(AccessToken::new("t")?.with_expires_in(HOUR)),
        2 => Err(Error::transient("down")),
        _ => Err(Error::terminal("a wrong password")),
    });
    let cache = TokenCache::new(source);
    cache.token().await.unwrap();
    let (first, second) = (cache.narrowed(&scope(0)).unwrap(), cache.narrowed(&scope(1)).unwrap());
    let (first, second) = futures::join!(first.token(), second.token());
    assert!(first.unwrap_err().is_transient() && second.unwrap_err().is_terminal());
    assert_eq!(asked.load(SeqCst), 3);
}

/// After the reset, another cache tries the credentials, and the others wait for that outcome.
#[tokio::test(start_paused = true)]
async fn a_first_try_of_the_credentials_from_before_a_reset_is_not_repeated() {
    let (source, asked) = scripted(|n| match n {
        1 => Err(Error::transient("down")),
        _ => Err(Error::terminal("a wrong password")),
    });
    let cache = TokenCache::new(Scripted { takes: 3 * SECOND, ..source });
    let [first, second, third] = [0, 1, 2].map(|n| cache.narrowed(&scope(n)).unwrap());
    let (first, second, ()) = futures::join!(first.token(), second.token(), async {
        sleep(SECOND).await;
        third.reset();
    });
    assert!(first.unwrap_err().is_transient() && second.unwrap_err().is_terminal());
    assert_eq!(asked.load(SeqCst), 2);
}

/// Its runtime is not driven any more.
#[test]
fn a_try_of_the_credentials_that_nobody_drives_does_not_hold_back_the_others() {
    let runtime =
        |paused| tokio::runtime::Builder::new_current_thread().enable_all().start_paused(paused).build().unwrap();
    let (source, asked) = scripted(|n| Ok(AccessToken::new(format!("t{n}"))?.with_expires_in(HOUR)));
    let cache = TokenCache::new(source);
    let (idle, driven) = (runtime(false), runtime(true));
    idle.block_on(async {
        assert!(cache.narrowed(&scope(0)).unwrap().token().now_or_never().is_none());
        tokio::task::yield_now().await;
    });
    assert_eq!(asked.load(SeqCst), 1);
    driven.block_on(cache.narrowed(&scope(1)).unwrap().token()).unwrap();
    driven.block_on(cache.token()).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_cache_with_a_good_refresh_token_is_not_locked_out_by_anothers_wrong_password() {
    let issuer = Issuer::builder()
        .token_format(TokenFormat::Opaque)
        .lifetime(10 * SECOND)
        .scope("s0 s1")
        .refresh_tokens(RefreshTokens::Rotating)
        .build();
    let cache = cache(&issuer, "user-password");
    let with_refresh_token = cache.narrowed(&scope(0)).unwrap();
    with_refresh_token.token().await.unwrap();
    issuer.set_password("user1", "another");
    for second in 0..600 {
        advance(SECOND).await;
        let _ = cache.narrowed(&scope(1)).unwrap().token().await;
        with_refresh_token.token().await.unwrap_or_else(|error| panic!("{error} after {second} s"));
    }
    assert_eq!(tries_of_the_password(&issuer), 1 + 4, "at 1, 61, 181 and 421 seconds");
}

/// Servers say it in many ways, also with `invalid_grant`.
#[tokio::test(start_paused = true)]
async fn a_refused_scope_does_not_hold_back_a_token_that_works() {
    for (status, refusal) in [
        (400, r#"{"error":"invalid_grant"}"#),
        (400, r#"{"error":"invalid_resource"}"#),
        (403, r#"{"error":"access_denied"}"#),
        (403, ""),
    ] {
        let http = service_fn(move |request: Request<Full<Bytes>>| async move {
            let form = request.into_body().collect().await.unwrap().to_bytes();
            let is_bad = String::from_utf8_lossy(&form).contains("scope=bad");
            let body = if is_bad { refusal } else { r#"{"access_token":"t","token_type":"Bearer","expires_in":60}"# };
            let answer = Response::builder().status(if is_bad { status } else { 200 });
            let answer = answer.header("content-type", "application/json");
            Ok::<_, Infallible>(answer.body(Full::<Bytes>::from(body)).unwrap())
        });
        let grant = ClientCredentials::builder("https://issuer.test/token").client_auth(ClientAuth::basic("c", "s"));
        let cache = TokenCache::new(grant.build_with(http).unwrap());
        cache.token().await.unwrap();
        let bad = Narrowing::new().with_scope("bad").unwrap();
        for _ in 0..3600 {
            advance(SECOND).await;
            assert!(cache.narrowed(&bad).unwrap().token().await.is_err());
            assert!(cache.token().await.is_ok(), "{status} {refusal}");
        }
    }
}

/// One more than there are places.
#[tokio::test(start_paused = true)]
async fn a_failing_cache_does_not_make_room_for_another_one() {
    let (source, asked) = scripted(|_| Err(Error::transient("down")));
    let source = Scripted { takes: std::time::Duration::ZERO, ..source };
    let steady = Backoff::new(30 * SECOND, 30 * SECOND);
    let cache = TokenCache::builder(source).max_narrowed(8).transient_backoff(steady).renewal_retries(0).build();
    for _ in 0..600 {
        for n in 0..9 {
            let _ = cache.narrowed(&scope(n)).unwrap().token().await;
        }
        advance(SECOND).await;
    }
    assert_eq!(asked.load(SeqCst), 9 * 20, "each scope twice a minute");
}

#[tokio::test(start_paused = true)]
async fn a_cache_whose_tokens_are_rejected_does_not_make_room_for_another_one() {
    let (source, asked) = scripted(|n| Ok(AccessToken::new(format!("t{n}"))?.with_expires_in(48 * HOUR)));
    let source = Scripted { takes: std::time::Duration::ZERO, ..source };
    let cache = TokenCache::builder(source).max_narrowed(8).build();
    for _ in 0..600 {
        for n in 0..9 {
            let narrowed = cache.narrowed(&scope(n)).unwrap();
            narrowed.invalidate(&narrowed.token().await.unwrap());
        }
        advance(SECOND).await;
    }
    assert!(asked.load(SeqCst) <= 9 * 16, "{}", asked.load(SeqCst));
}
