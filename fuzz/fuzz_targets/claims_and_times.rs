//! The times in a token and in the answers of its issuer. The lines are: the claims of a JWT, `expires_in`, `refresh_in`,
//! `Date`, `Retry-After`, and the status of a failure.
#![no_main]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tokio::time::{Instant, advance};
use tower_bearer::{
    AccessToken, Claims, Lifetime, TokenCache,
    grant::{ClientAuth, ClientCredentials},
};
use tower_bearer_fuzz::{answer, debugged, run, server, shown};

const DAY: Duration = Duration::from_secs(24 * 3600);
const TEN_YEARS: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

fuzz_target!(|text: &str| {
    let mut lines = text.split('\n');
    let [claims, expires_in, refresh_in, date, retry_after, status] =
        std::array::from_fn(|_| lines.next().unwrap_or_default());
    let jwt = format!(
        "{}.{}.c2ln",
        BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#),
        BASE64_URL_SAFE_NO_PAD.encode(claims)
    );
    let token = AccessToken::new(jwt.clone()).expect("base64 is ASCII");
    check_claims(&token, claims);
    check_lifetime(&token);
    run(async {
        let stored = AccessToken::stored(jwt.clone()).unwrap();
        check_lifetime(&stored);
        check_lifetime(
            &stored.with_issue_time(
                token.claims::<Claims>().and_then(|claims| claims.nbf).unwrap_or(SystemTime::UNIX_EPOCH),
            ),
        );
    });

    let member = |name: &str, json: &str| if json.is_empty() { String::new() } else { format!(",\"{name}\":{json}") };
    let members = member("expires_in", expires_in) + &member("refresh_in", refresh_in);
    let granted = format!("200\ndate: {date}\n\n{{\"access_token\":\"{jwt}\"{members}}}");
    run(serve(granted.into_bytes()));
    let failed = format!("{status}\ndate: {date}\nretry-after: {retry_after}\n\n{{\"error\":\"slow_down\"}}");
    run(fail(failed.into_bytes()));
});

fn cache(answered: Vec<u8>) -> (TokenCache, Arc<AtomicU64>) {
    let requests: Arc<AtomicU64> = Arc::default();
    let counted = Arc::clone(&requests);
    let grant = ClientCredentials::builder("https://auth.test/token")
        .client_auth(ClientAuth::none("client-1"))
        .build_with(server(move |_| {
            counted.fetch_add(1, Relaxed);
            answer(&answered)
        }));
    (TokenCache::builder(grant.unwrap()).stale_jitter(0.0).build(), requests)
}

/// A token is served as long as it lives, and not after its end.
async fn serve(granted: Vec<u8>) {
    let (cache, requests) = cache(granted);
    let Ok(token) = cache.token().await else { return };
    check_lifetime(&token);
    let (lifetime, served) = (token.lifetime(), requests.load(Relaxed));
    assert_eq!(served, 1);
    let _ = (cache.token().await, debugged(&cache.status()));
    let asked_again = requests.load(Relaxed) > 1;
    match lifetime {
        Lifetime::AlreadyExpired => assert!(asked_again),
        Lifetime::For(time) => {
            let is_early = token.refresh_in().is_some_and(|age| age < Duration::from_secs(60));
            assert!(!asked_again || is_early || time < Duration::from_secs(60), "{lifetime:?}");
            let before = requests.load(Relaxed);
            advance(time + Duration::from_secs(1)).await;
            let _ = (cache.token().await, debugged(&cache.status()));
            assert!(requests.load(Relaxed) > before, "a token was served after its end: {lifetime:?}");
        }
        _ => assert!(!asked_again || token.refresh_in().is_some()),
    }
}

/// After a failure, the issuer is not asked at once, and not never.
async fn fail(failed: Vec<u8>) {
    let (cache, requests) = cache(failed);
    let Err(error) = cache.token().await else { return };
    let (before, began) = (requests.load(Relaxed), Instant::now());
    assert!((1..=4).contains(&before), "{before}");
    if let Err(again) = cache.token().await {
        let asked = requests.load(Relaxed) > before;
        assert!(asked || again.is_backing_off() || error.is_config(), "{}", shown(&again));
        assert!(again.retry_in().is_none_or(|wait| wait <= DAY) || !again.is_backing_off(), "{}", shown(&again));
    }
    let _ = debugged(&cache.status());
    assert!(began.elapsed() < Duration::from_secs(60));
    let before = requests.load(Relaxed);
    advance(DAY).await;
    let _ = cache.token().await;
    assert!(requests.load(Relaxed) > before, "the issuer is not asked again");
}

fn check_lifetime(token: &AccessToken) {
    if let Lifetime::For(time) = token.lifetime() {
        assert!(!time.is_zero() && time <= TEN_YEARS, "{time:?}");
    }
    assert!(token.issued_at() <= Instant::now());
}

/// Each claim is read for itself, and `Debug` does not show whom the token is about.
fn check_claims(token: &AccessToken, json: &str) {
    let value: Option<Value> = serde_json::from_str(json).ok().filter(Value::is_object);
    let claims = token.claims::<Claims>();
    assert_eq!(claims.is_some(), value.is_some());
    let (Some(claims), Some(value)) = (claims, value) else { return };
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    assert_eq!((&claims.iss, &claims.sub, &claims.patient), (&text("iss"), &text("sub"), &text("patient")));
    assert_eq!(claims.fhir_user, text("fhirUser"));
    let seconds = value.get("exp").and_then(Value::as_f64);
    assert!(claims.exp.is_none() || seconds.is_some());
    if let Some(seconds) = seconds.filter(|seconds| (0.0..1e11).contains(seconds)) {
        assert_eq!(claims.exp, Some(SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds)));
    }
    let public = [&claims.iss, &claims.client_id, &claims.jti].map(|claim| claim.clone().unwrap_or_default()).concat()
        + &claims.aud.concat()
        + &claims.scopes.as_ref().map(ToString::to_string).unwrap_or_default();
    assert!(!debugged(&claims).contains("S3cr3t") || public.contains("S3cr3t"));
}
