//! The ages of a token: fresh, stale and expired.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as B64};
use serde_json::{Value, json};
use tower::{Layer, ServiceExt};
use tower_bearer::{
    AccessToken, BearerAuthLayer, Error, Lifetime, Reason, TokenCache, TokenSource, cache::Age, source::from_fn,
    testing::Issuer,
};

use crate::support::{HOUR, MINUTE, SECOND, ask, get, grant, is_ok, issuer, outcome, scripted, token, wall};

const TEN_YEARS: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

#[tokio::test(start_paused = true)]
async fn a_stale_token_serves_without_waiting_while_one_renewal_runs() {
    let issuer = issuer();
    let layer = BearerAuthLayer::new(grant(issuer.service()));
    let client = layer.layer(issuer.api());
    get(&client, "/").await;
    tokio::time::advance(56 * MINUTE).await;
    let gate = issuer.hold();
    for _ in 0..1000 {
        let answer = get(&client, "/").await;
        assert!(is_ok(&answer) && outcome(&answer).is_none());
    }
    gate.waiting(1).await;
    assert_eq!((layer.cache().status().age, issuer.counts().token_requests), (Age::Stale, 2));
    gate.release();
    tokio::task::yield_now().await;
    assert!(is_ok(&get(&client, "/").await));
    assert_eq!((layer.cache().status().generation, layer.cache().status().age), (2, Age::Fresh));
    assert_eq!((issuer.counts().token_requests, issuer.counts().api_rejected), (2, 0));
}

/// For each form of `expires_in`: the token's lifetime, how long it is served, and whether the next call finds it.
#[tokio::test(start_paused = true)]
async fn each_expires_in_has_its_outcome() {
    let hour = Lifetime::For(HOUR);
    let served = 59 * MINUTE;
    for (expires_in, lifetime, serves) in [
        (json!(3600), hour, served),
        (json!("3600"), hour, served),
        (json!(3600.5), Lifetime::For(HOUR + SECOND / 2), served + SECOND / 2),
        (json!(0), Lifetime::AlreadyExpired, Duration::ZERO),
        (json!(-1), Lifetime::AlreadyExpired, Duration::ZERO),
        (json!(null), Lifetime::Unknown, served),
        (json!("soon"), Lifetime::Unknown, served),
        (json!([3600]), Lifetime::Unknown, served),
        (json!(10_u64.pow(18)), Lifetime::For(TEN_YEARS), TEN_YEARS.saturating_sub(MINUTE)),
        (json!("1e400"), Lifetime::For(TEN_YEARS), TEN_YEARS.saturating_sub(MINUTE)),
    ] {
        given(json!({ "access_token": "t", "token_type": "Bearer", "expires_in": expires_in }), lifetime, serves).await;
    }
    given(json!({ "access_token": "t", "token_type": "Bearer" }), Lifetime::Unknown, served).await;
}

async fn given(answer: Value, lifetime: Lifetime, serves: Duration) {
    let issuer = issuer();
    let cache = TokenCache::builder(grant(issuer.service())).wall_clock(wall().1).build();
    issuer.answer_next(answer.clone());
    assert_eq!(cache.token().await.unwrap().lifetime(), lifetime, "{answer}");
    assert_eq!(cache.status().expires_in, Some(serves), "{answer}");
    cache.token().await.unwrap();
    assert_eq!(issuer.counts().token_requests, if serves.is_zero() { 2 } else { 1 }, "{answer}");
}

#[tokio::test(start_paused = true)]
async fn all_waiters_use_an_already_expired_token_once() {
    let (source, asked) = scripted(async |n| Ok(token(n).with_expires_in(Duration::ZERO)));
    let cache = TokenCache::new(source);
    for caller in crate::support::waiting(100, || cache.token()) {
        assert_eq!(caller.await.unwrap().secret(), "t1");
    }
    assert_eq!(cache.token().await.unwrap().secret(), "t2");
    assert_eq!(asked.times(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_clock_an_hour_wrong_either_way_changes_nothing_for_jwts() {
    for skew in [-3600, 0, 3600] {
        let issuer = Issuer::new();
        issuer.set_clock_skew(skew);
        let cache = TokenCache::builder(grant(issuer.service())).stale_jitter(0.0).build();
        let client = BearerAuthLayer::with_cache(cache).layer(issuer.api());
        for _ in 0..600 {
            assert!(is_ok(&get(&client, "/").await));
            tokio::time::advance(MINUTE).await;
        }
        // One at first. Then one every 55 min: the token is served stale, and the next request gets the new one.
        assert_eq!((issuer.counts().token_requests, issuer.counts().api_rejected), (11, 0), "{skew}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_exp_without_iat_is_measured_by_the_issuers_clock() {
    for skew in [-3600, 0, 3600] {
        let issuer = issuer();
        issuer.set_clock_skew(skew);
        let cache = TokenCache::new(grant(issuer.service()));
        let jwt = jwt(&json!({ "exp": issuer_time(&issuer).await + 3600 }));
        issuer.answer_next(json!({ "access_token": jwt, "token_type": "Bearer" }));
        let Lifetime::For(lifetime) = cache.token().await.unwrap().lifetime() else { panic!("{skew}") };
        assert!(lifetime.abs_diff(HOUR) <= SECOND, "{lifetime:?} with {skew}");
    }
}

async fn issuer_time(issuer: &Issuer) -> u64 {
    let answer = issuer.service().oneshot(ask("/jwks")).await.unwrap();
    let date = httpdate::parse_http_date(answer.headers()["date"].to_str().unwrap()).unwrap();
    date.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

fn jwt(claims: &Value) -> String {
    format!("{}.{}.c2ln", B64.encode(r#"{"alg":"none"}"#), B64.encode(claims.to_string()))
}

#[tokio::test(start_paused = true)]
async fn a_hundred_rotations_under_load_neither_fail_nor_delay_a_request() {
    let issuer = issuer();
    issuer.delay(2 * SECOND);
    let cache = TokenCache::new(grant(issuer.service()));
    cache.token().await.unwrap();
    let layer = BearerAuthLayer::with_cache(cache);
    let client = layer.layer(issuer.api());
    while issuer.counts().issued <= 100 {
        let answer = get(&client, "/").await;
        assert!(is_ok(&answer) && outcome(&answer).is_none());
        tokio::time::advance(SECOND).await;
    }
    let counts = issuer.counts();
    assert_eq!((counts.token_requests, counts.api_rejected), (101, 0));
    assert!(counts.api_requests > 330_000, "{}", counts.api_requests);
}

/// With a short-lived token, and requests without a pause.
#[tokio::test(start_paused = true)]
async fn tokens_of_a_few_seconds_rotate_without_a_wait_too() {
    let issuer = issuer();
    let (api, lifetime) = (issuer.api(), Duration::from_secs(4));
    let source = {
        let grant = Arc::new(grant(issuer.service()));
        from_fn(move |why| {
            let grant = Arc::clone(&grant);
            async move { Ok(grant.obtain(why).await?.with_expires_in(lifetime)) }
        })
    };
    let client = BearerAuthLayer::new(source).layer(api);
    get(&client, "/").await;
    while issuer.counts().issued <= 100 {
        let answer = get(&client, "/").await;
        assert!(is_ok(&answer) && outcome(&answer).is_none());
        tokio::time::advance(SECOND / 10).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_jumps_two_days_ends_the_token() {
    let (seconds, clock) = wall();
    let (source, asked) = scripted(async |n| Ok(token(n)));
    let cache = TokenCache::builder(source).wall_clock(clock).build();
    cache.token().await.unwrap();
    seconds.fetch_add(2 * 86_400, Ordering::Relaxed);
    assert_eq!((cache.status().age, cache.status().expires_in), (Age::Expired, Some(Duration::ZERO)));
    for _ in 0..100 {
        assert_eq!(cache.token().await.unwrap().secret(), "t2");
    }
    assert_eq!(asked.times(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_jumps_back_does_not_extend_a_token() {
    let (seconds, clock) = wall();
    let (source, asked) = scripted(async |n| Ok(token(n)));
    let cache = TokenCache::builder(source).wall_clock(clock).build();
    cache.token().await.unwrap();
    seconds.fetch_sub(2 * 86_400, Ordering::Relaxed);
    tokio::time::advance(59 * MINUTE).await;
    assert_eq!(cache.status().age, Age::Expired);
    assert_eq!(cache.token().await.unwrap().secret(), "t2");
    assert_eq!(asked.times(), 2);
}

/// The source returns a token that it made much earlier.
#[tokio::test(start_paused = true)]
async fn a_token_ages_from_when_it_was_made_not_from_when_it_was_given() {
    let made: AccessToken = token(1);
    let (source, asked) = scripted(move |_| std::future::ready(Ok(made.clone())));
    let cache = TokenCache::builder(source).wall_clock(wall().1).build();
    tokio::time::advance(30 * MINUTE).await;
    cache.token().await.unwrap();
    assert_eq!((cache.status().expires_in, asked.times()), (Some(29 * MINUTE), 1));
}

/// A source that counts how often it is asked for its version.
#[derive(Clone, Default)]
struct Versioned(Arc<AtomicU64>);

impl TokenSource for Versioned {
    async fn obtain(&self, _why: Reason) -> Result<AccessToken, Error> {
        Ok(token(1))
    }

    fn credentials_version(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// A source can read files to answer.
#[tokio::test(start_paused = true)]
async fn a_source_is_not_called_while_its_token_is_fresh() {
    let source = Versioned::default();
    let cache = TokenCache::new(source.clone());
    cache.token().await.unwrap();
    let asked = source.0.load(Ordering::Relaxed);
    for _ in 0..100 {
        tokio::time::advance(SECOND).await;
        cache.token().await.unwrap();
    }
    assert_eq!(source.0.load(Ordering::Relaxed), asked);
}

/// What a JWT's times, `expires_in` and the answer's `Date` say together, and how long the token lives. All times are
/// relative to the issuer's clock.
#[tokio::test(start_paused = true)]
async fn a_jwt_with_odd_times_lives_as_long_as_the_rest_says_and_starts_no_loop() {
    let issuer = issuer();
    let now = i64::try_from(issuer_time(&issuer).await).unwrap();
    for (name, claims, expires_in, lifetime) in [
        ("as it should be", json!({ "iat": now, "exp": now + 900 }), Some(1800), 900),
        ("exp before iat", json!({ "iat": now + 4000, "exp": now + 1800 }), Some(1800), 1800),
        ("iat in milliseconds", json!({ "iat": now * 1000, "exp": now + 1800 }), Some(1800), 1800),
        ("iat in milliseconds, nothing else", json!({ "iat": now * 1000, "exp": now + 1800 }), None, 1800),
        ("iat is a text", json!({ "iat": "today", "exp": now + 1200 }), Some(1800), 1200),
        ("iat ahead", json!({ "iat": now + 1790, "exp": now + 1800 }), Some(1800), 1800),
        ("exp is 0", json!({ "iat": now, "exp": 0 }), Some(1800), 1800),
        ("expired long ago", json!({ "iat": now - 9000, "exp": now - 7200 }), Some(1800), 1800),
        ("the same JWT again", json!({ "iat": now - 1700, "exp": now + 100 }), Some(1800), 100),
        ("iat of the first login", json!({ "iat": now - 90_000, "exp": now + 100 }), Some(1800), 100),
        ("exp alone", json!({ "exp": now + 50 }), Some(86_400), 50),
    ] {
        let token = jwt(&claims);
        let answer = json!({ "access_token": token, "token_type": "Bearer", "expires_in": expires_in });
        let cache = TokenCache::new(grant(issuer.service()));
        let before = issuer.counts().token_requests;
        issuer.answer_next(answer);
        let Lifetime::For(lives) = cache.token().await.unwrap().lifetime() else { panic!("{name}") };
        assert!(lives.abs_diff(Duration::from_secs(lifetime)) <= 2 * SECOND, "{name}: {lives:?}");
        for _ in 0..100 {
            cache.token().await.unwrap();
        }
        assert_eq!(issuer.counts().token_requests - before, 1, "{name}");
    }
}

/// Without `Date`, the local clock of a new token says nothing if there is an `iat`.
#[tokio::test(start_paused = true)]
async fn without_a_date_the_lifetime_is_from_iat_to_exp_whatever_the_local_clock_says() {
    let token = AccessToken::new(jwt(&json!({ "iat": 1_000_000_000, "exp": 1_000_000_900 }))).unwrap();
    assert_eq!(token.lifetime(), Lifetime::For(15 * MINUTE));
}

/// A sidecar writes a token into a file, which was not new when the program started.
#[tokio::test(start_paused = true)]
async fn a_stored_token_is_served_for_what_is_left_of_it() {
    let now = issuer_time(&issuer()).await;
    let stored = |age: u64| jwt(&json!({ "iat": now - age, "exp": now - age + 3600 }));
    for (age, left) in [(0, 3540), (1800, 1740), (3500, 40), (3570, 0), (7200, 0)] {
        let text = stored(age);
        let (source, asked) = scripted(move |_| std::future::ready(AccessToken::stored(text.clone())));
        let cache = TokenCache::new(source);
        cache.token().await.unwrap();
        let served = cache.status().expires_in.unwrap().as_secs();
        assert!(served.abs_diff(left) <= 2, "{age}: {served}");
        cache.token().await.unwrap();
        assert_eq!(asked.times(), if left == 0 { 2 } else { 1 }, "{age}");
    }
}
