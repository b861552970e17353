//! Tests against real servers: glewlwyd with Apache's `mod_auth_openidc` and `mod_oauth2`, oidc-provider with express, and the
//! APIs and authorization servers of `docs/servers.md`.
//!
//! `tests/real/run.sh` installs the servers, starts them and sets their addresses. Without it, these tests are reported as
//! ignored:
//!
//! ```text
//! tests/real/run.sh cargo nextest run --all-features --test real --run-ignored only
//! ```

#[path = "real/api_tokens.rs"]
mod api_tokens;
#[path = "real/apis.rs"]
mod apis;
#[path = "real/etcd.rs"]
mod etcd;
#[path = "real/grants.rs"]
mod grants;
#[path = "real/issuers.rs"]
mod issuers;
#[path = "real/uploads.rs"]
mod uploads;

use std::{
    env,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::time::sleep;
use tower::{Layer, ServiceExt};
use tower_bearer::{
    AccessToken, BearerAuth, BearerAuthLayer, Error, FailureClass, Outcome, PasswordGrant, Reason, TokenCache,
    TokenSource,
    grant::{ClientAuth, HttpClient, PasswordGrantBuilder},
};

type Http = Client<HttpConnector, Full<Bytes>>;

fn var(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set; use tests/real/run.sh to run these tests"))
}

fn http() -> Http {
    Client::builder(TokioExecutor::new()).build_http()
}

/// An authorization server, and a resource server that accepts its tokens.
#[derive(Clone, Copy)]
struct Pair {
    token_url: &'static str,
    revoke_url: &'static str,
    scope: &'static str,
    api: &'static str,
    /// How the authorization server responds to a wrong password and to a wrong client secret.
    wrong_password: (FailureClass, u16, Option<&'static str>),
    wrong_client: (FailureClass, u16, Option<&'static str>),
}

const GLEWLWYD: Pair = Pair {
    token_url: "GLEWLWYD_TOKEN_URL",
    revoke_url: "GLEWLWYD_REVOKE_URL",
    scope: "GLEWLWYD_SCOPE",
    api: "APACHE_INTROSPECTION_URL",
    wrong_password: (FailureClass::Unexplained, 403, None),
    wrong_client: (FailureClass::Unexplained, 400, None),
};

const OIDC_PROVIDER: Pair = Pair {
    token_url: "OIDC_PROVIDER_TOKEN_URL",
    revoke_url: "OIDC_PROVIDER_REVOKE_URL",
    scope: "OIDC_PROVIDER_SCOPE",
    api: "EXPRESS_URL",
    wrong_password: (FailureClass::Terminal, 400, Some("invalid_grant")),
    wrong_client: (FailureClass::Terminal, 401, Some("invalid_client")),
};

impl Pair {
    fn grant(self) -> PasswordGrantBuilder {
        PasswordGrant::builder(var(self.token_url))
            .client_auth(ClientAuth::basic(var("REAL_CLIENT_ID"), var("REAL_CLIENT_SECRET")))
            .credentials(var("REAL_USERNAME"), var("REAL_PASSWORD"))
            .scope(var(self.scope))
    }

    fn patients(self) -> Uri {
        format!("{}/patients", var(self.api)).parse().unwrap()
    }

    /// Revokes the token as an operator would, without the crate (RFC 7009).
    fn revoke(self, token: &AccessToken) {
        let (id, secret) = (var("REAL_CLIENT_ID"), var("REAL_CLIENT_SECRET"));
        let status = Command::new("curl")
            .args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "-u", &format!("{id}:{secret}")])
            .args(["-d", &format!("token={}", token.secret()), &var(self.revoke_url)])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&status.stdout), "200", "the revocation endpoint");
    }
}

/// Counts the requests to its source.
struct Counted<T> {
    source: T,
    asked: Arc<AtomicUsize>,
}

impl<T: TokenSource> TokenSource for Counted<T> {
    fn obtain(&self, why: Reason) -> impl Future<Output = Result<AccessToken, Error>> + Send {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.source.obtain(why)
    }

    fn revoke(&self, token: &AccessToken) -> impl Future<Output = Result<(), Error>> + Send {
        self.source.revoke(token)
    }
}

struct Sdk {
    service: BearerAuth<Http>,
    cache: TokenCache,
    asked: Arc<AtomicUsize>,
    api: Uri,
}

impl Sdk {
    fn new(pair: Pair) -> Self {
        Self::with(pair.grant().build().unwrap(), pair.patients())
    }

    fn with(source: PasswordGrant<HttpClient>, api: Uri) -> Self {
        let asked = Arc::new(AtomicUsize::new(0));
        let cache = TokenCache::new(Counted { source, asked: Arc::clone(&asked) });
        Self { service: BearerAuthLayer::with_cache(cache.clone()).layer(http()), cache, asked, api }
    }

    async fn get(&self) -> Response<Incoming> {
        let request = Request::get(self.api.clone()).body(Full::default()).unwrap();
        self.service.clone().oneshot(request).await.unwrap()
    }

    async fn ok(&self) -> Option<Outcome> {
        let response = self.get().await;
        assert_eq!(response.status(), StatusCode::OK, "{:?}", response.headers());
        response.extensions().get().cloned()
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

async fn reused_and_renewed_in_the_background(pair: Pair) {
    let sdk = Sdk::new(pair);
    assert!(sdk.ok().await.is_some_and(|outcome| outcome.waited()));
    for _ in 0..20 {
        assert!(sdk.ok().await.is_none(), "a plain hit");
    }
    assert_eq!(sdk.asked(), 1);
    // Tokens of 8 s are stale after 6 s and expired after 7.2 s, so this covers two renewals by refresh token. Tokens
    // of 4 s would make it fail sometimes, because servers truncate `exp` to whole seconds, so those may live for only
    // 3 s.
    for _ in 0..140 {
        let outcome = sdk.ok().await;
        assert!(outcome.is_none(), "no request waits for a renewal: {outcome:?} {:?}", sdk.cache.status());
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(sdk.asked(), 3);
    assert_eq!(sdk.cache.status().failures, 0);
}

#[tokio::test]
#[ignore = "needs the servers of tests/real"]
async fn glewlwyd_tokens_are_reused_and_renewed_in_the_background() {
    reused_and_renewed_in_the_background(GLEWLWYD).await;
}

#[tokio::test]
#[ignore = "needs the servers of tests/real"]
async fn oidc_provider_tokens_are_reused_and_renewed_in_the_background() {
    reused_and_renewed_in_the_background(OIDC_PROVIDER).await;
}

async fn a_token_that_expired_while_idle_is_renewed_first(pair: Pair) {
    let sdk = Sdk::new(pair);
    sdk.ok().await;
    sleep(Duration::from_secs(var("REAL_TTL").parse().unwrap())).await;
    assert!(sdk.ok().await.is_some_and(|outcome| outcome.waited() && !outcome.retried()));
    assert_eq!(sdk.asked(), 2);
}

#[tokio::test]
#[ignore = "needs the servers of tests/real"]
async fn glewlwyd_tokens_that_expired_while_idle_are_renewed_first() {
    a_token_that_expired_while_idle_is_renewed_first(GLEWLWYD).await;
}

#[tokio::test]
#[ignore = "needs the servers of tests/real"]
async fn oidc_provider_tokens_that_expired_while_idle_are_renewed_first() {
    a_token_that_expired_while_idle_is_renewed_first(OIDC_PROVIDER).await;
}

#[tokio::test]
#[ignore = "needs the servers of tests/real"]
async fn a_revoked_token_costs_one_401_and_the_retry_succeeds() {
    let sdk = Sdk::new(GLEWLWYD);
    for generation in 1..=3 {
        sdk.ok().await;
        let token = sdk.cache.token().await.unwrap();
        assert_eq!(token.generation(), generation);
        GLEWLWYD.revoke(&token);
        let outcome = sdk.ok().await.expect("not a plain hit");
        assert!(outcome.retried(), "{outcome:?}");
    }
    assert_eq!(sdk.asked(), 4);
}

fn rotate_keys() {
    let rotated = Command::new(var("REAL_SERVERS")).arg("rotate-keys").status().unwrap();
    assert!(rotated.success(), "the servers have new keys");
}

/// oidc-provider gets new keys by a restart, which deletes its refresh tokens.
#[tokio::test]
#[ignore = "needs the servers of tests/real"]
async fn a_refresh_token_that_died_falls_back_to_the_password() {
    let sdk = Sdk::new(OIDC_PROVIDER);
    sdk.ok().await;
    let token = sdk.cache.token().await.unwrap();
    rotate_keys();
    assert!(sdk.cache.invalidate(&token));
    let next = sdk.cache.token().await.expect("a token by password, in the same renewal");
    assert_eq!((next.generation(), sdk.asked()), (2, 2));
}

/// Apache with `mod_oauth2` accepts tokens of the old key until it sees a token of the new key. Here another client
/// sends one.
#[tokio::test]
#[ignore = "needs the servers of tests/real"]
async fn the_retry_succeeds_after_a_new_signing_key_caused_a_401() {
    let api: Uri = format!("{}/patients", var("APACHE_OAUTH2_JWT_URL")).parse().unwrap();
    let (sdk, other) =
        (Sdk::with(GLEWLWYD.grant().build().unwrap(), api.clone()), Sdk::with(GLEWLWYD.grant().build().unwrap(), api));
    sdk.ok().await;
    rotate_keys();
    other.ok().await;
    sleep(Duration::from_millis(1200)).await;
    let outcome = sdk.ok().await;
    assert!(
        outcome.is_some_and(|outcome| outcome.retried()),
        "the old key's token was rejected, the new one's accepted"
    );
}

async fn refusals(pair: Pair) {
    let expect = |grant: PasswordGrantBuilder, (class, status, code): (FailureClass, u16, Option<&'static str>)| async move {
        let cache = TokenCache::new(grant.build().unwrap());
        let error = cache.token().await.unwrap_err();
        assert_eq!(
            (error.class(), error.status().map(|status| status.as_u16()), error.oauth_code()),
            (class, Some(status), code),
            "{error}"
        );
        let again = cache.token().await.unwrap_err();
        assert!(again.is_backing_off(), "the account is not hammered: {again}");
    };
    expect(pair.grant().credentials(var("REAL_USERNAME"), "not the password"), pair.wrong_password).await;
    let wrong = ClientAuth::basic(var("REAL_CLIENT_ID"), "not the secret");
    expect(pair.grant().client_auth(wrong), pair.wrong_client).await;
}

#[tokio::test]
#[ignore = "needs the servers of tests/real"]
async fn glewlwyd_refuses_without_a_reason_and_requests_back_off() {
    refusals(GLEWLWYD).await;
}

#[tokio::test]
#[ignore = "needs the servers of tests/real"]
async fn oidc_provider_refuses_with_a_reason_and_requests_back_off() {
    refusals(OIDC_PROVIDER).await;
}

/// Servers decode Basic credentials in different ways. The crate supports both ways, and keeps UTF-8 intact.
#[tokio::test]
#[ignore = "needs the servers of tests/real"]
async fn credentials_with_special_characters_arrive() {
    let (id, secret) = (var("REAL_WEIRD_CLIENT_ID"), var("REAL_WEIRD_CLIENT_SECRET"));
    let user = |pair: Pair| pair.grant().credentials(var("REAL_WEIRD_USERNAME"), var("REAL_WEIRD_PASSWORD"));
    for grant in [
        user(GLEWLWYD).client_auth(ClientAuth::basic_raw(id.clone(), secret.clone())),
        user(GLEWLWYD).client_auth(ClientAuth::post(id.clone(), secret.clone())),
        user(OIDC_PROVIDER).client_auth(ClientAuth::basic(id.clone(), secret.clone())),
    ] {
        grant.build().unwrap().obtain(Reason::First).await.unwrap();
    }
}

#[tokio::test]
#[ignore = "needs the servers of tests/real"]
async fn a_private_certificate_authority_is_trusted_when_configured() {
    let grant = || {
        PasswordGrant::builder(var("GLEWLWYD_TLS_TOKEN_URL"))
            .client_auth(ClientAuth::basic(var("REAL_CLIENT_ID"), var("REAL_CLIENT_SECRET")))
            .credentials(var("REAL_USERNAME"), var("REAL_PASSWORD"))
            .scope(var("GLEWLWYD_SCOPE"))
    };
    let error = grant().build().unwrap().obtain(Reason::First).await.unwrap_err();
    assert!(error.is_connect() && error.is_transient(), "{error}");
    let ca = std::fs::read(var("GLEWLWYD_CA_FILE")).unwrap();
    let http = HttpClient::builder().root_certificates(ca).build().unwrap();
    grant().build_with(http).unwrap().obtain(Reason::First).await.unwrap();
}

/// Apache responds to a missing scope with a 401 without a challenge, unless configured otherwise. This causes only a
/// limited number of renewals.
#[tokio::test]
#[ignore = "needs the servers of tests/real"]
async fn a_401_that_means_forbidden_does_not_renew_forever() {
    let sdk = Sdk::new(GLEWLWYD);
    sdk.ok().await;
    let seen = Mutex::new(Vec::new());
    for _ in 0..50 {
        let request = Request::get(format!("{}/admin", var(GLEWLWYD.api))).body(Full::default()).unwrap();
        let response = sdk.service.clone().oneshot(request).await.unwrap();
        seen.lock().unwrap().push(response.status().as_u16());
    }
    let seen = seen.into_inner().unwrap();
    assert!(seen.iter().all(|status| matches!(status, 401 | 403)), "{seen:?}");
    assert!(sdk.asked() <= 4, "{} token requests for 50 refusals", sdk.asked());
}
