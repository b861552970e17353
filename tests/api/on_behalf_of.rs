//! Tokens for users, each in exchange for the token of a request (RFC 8693, RFC 7523, ID-JAG).

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use futures::future::join_all;
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode, header::AUTHORIZATION};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_bearer::{
    AccessToken, BearerAuthLayer, BoxError, Claims, Error, TokenCache,
    grant::{
        ClientAuth, ClientCredentials, JwtBearer, OnBehalfOf, Secret, Subject, TokenExchange, TokenExchangeBuilder,
        token_type,
    },
    pool::UserPool,
    source::Narrowing,
    store::{MemoryStore, SealingKey, SealingKeys, SharedStore, Stored},
    testing::{Failure, Issuer, RefreshTokens, TokenRequest, TokenStatus},
};

use crate::{
    pool::logged,
    support::{Answer, Ask, MINUTE, accepted, ask, get, is_ok, issuer, obtain, values},
};

const URL: &str = "https://issuer.test/token";

fn basic() -> ClientAuth {
    ClientAuth::basic("client1", "client-secret")
}

/// Returns an issuer with two users, whose tokens are JWTs.
fn two_users() -> Issuer {
    Issuer::builder().user("ada", "1").user("bob", "2").build()
}

/// Returns the token that a user brings to the gateway.
async fn signed_in(issuer: &Issuer, user: &str) -> String {
    let password = if user == "ada" { "1" } else { "2" };
    let request = Request::post(URL)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("authorization", "Basic Y2xpZW50MTpjbGllbnQtc2VjcmV0")
        .body(Full::<Bytes>::from(format!("grant_type=password&username={user}&password={password}")))
        .unwrap();
    let answer = issuer.service().oneshot(request).await.unwrap();
    let answer: Value = serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap();
    answer["access_token"].as_str().unwrap().to_owned()
}

fn exchange() -> TokenExchangeBuilder {
    TokenExchange::builder(URL).client_auth(basic())
}

fn users_of(issuer: &Issuer) -> OnBehalfOf {
    exchange().for_users_with(issuer.service()).unwrap()
}

/// Returns the token requests that exchanged something.
fn exchanges(issuer: &Issuer) -> Vec<TokenRequest> {
    let is_exchange = |request: &TokenRequest| request.grant_type().is_some_and(|grant| grant.ends_with("exchange"));
    issuer.requests().into_iter().filter(is_exchange).collect()
}

/// Returns for whom the token was issued.
fn user_of(issuer: &Issuer, token: &AccessToken) -> String {
    match issuer.check(&HeaderMap::from_iter([(AUTHORIZATION, token.header_value())])) {
        TokenStatus::Accepted { subject, .. } => subject,
        other => panic!("{other:?}"),
    }
}

/// Gets the token of a user from the pool.
async fn token_of(pool: &UserPool, subject: &Subject) -> Result<AccessToken, Error> {
    pool.cache(subject).token().await
}

/// Returns a request of a user. Each of the tokens is in an `Authorization` header.
fn ask_as(path: &str, authorization: &[&str]) -> Request<Full<Bytes>> {
    let mut request = ask(path);
    for value in authorization {
        request.headers_mut().append(AUTHORIZATION, value.parse().unwrap());
    }
    request
}

/// Returns an API that answers with the `Authorization` that it got, for requests with a token of the issuer and for those
/// to `/open`.
fn echo(issuer: &Issuer) -> impl Service<Ask, Response = Answer, Error = BoxError, Future: Send> + Clone {
    let issuer = issuer.clone();
    service_fn(move |request: Ask| {
        let is_open = request.uri().path() == "/open" || issuer.check(request.headers()).is_accepted();
        let status = if is_open { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
        let got =
            request.headers().get(AUTHORIZATION).map_or(Bytes::new(), |got| Bytes::copy_from_slice(got.as_bytes()));
        async move { Ok(Response::builder().status(status).body(Full::from(got)).unwrap()) }
    })
}

async fn body(answer: Answer) -> String {
    String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// Returns a layer for the users of this issuer, and its pool.
fn gateway(issuer: &Issuer) -> (BearerAuthLayer, UserPool) {
    let pool = UserPool::new(users_of(issuer));
    (BearerAuthLayer::on_behalf_of(pool.clone(), |head| head.bearer_token().map(Subject::new)), pool)
}

#[tokio::test]
async fn a_request_carries_the_token_of_its_user_and_not_the_users_own() {
    let issuer = two_users();
    let (layer, pool) = gateway(&issuer);
    let api = layer.layer(echo(&issuer));
    let mut seen = Vec::new();
    for user in ["ada", "bob"] {
        let token = signed_in(&issuer, user).await;
        for scheme in ["Bearer", "bearer", "BEARER "] {
            let answer = api.clone().oneshot(ask_as("/a", &[&format!("{scheme} {token}")])).await.unwrap();
            assert!(is_ok(&answer));
            let got = body(answer).await;
            let sent = got.strip_prefix("Bearer ").unwrap().to_owned();
            assert_ne!(sent, token);
            assert_eq!(user_of(&issuer, &AccessToken::new(sent.as_str()).unwrap()), user);
            seen.push(sent);
        }
    }
    seen.dedup();
    assert_eq!((seen.len(), exchanges(&issuer).len(), pool.identities().status().identities), (2, 2, 2));
}

#[tokio::test]
async fn a_request_without_a_users_token_is_not_sent() {
    let issuer = two_users();
    let ada = signed_in(&issuer, "ada").await;
    let (layer, pool) = gateway(&issuer);
    let api = layer.layer(service_fn(async |_: Ask| -> Result<Answer, BoxError> { panic!("it was sent") }));
    let bearer = format!("Bearer {ada}");
    for authorization in [&[][..], &["Basic YTpi"], &["Bearer"], &["Bearer "], &["Bearer a b"], &[&bearer, "Bearer x"]]
    {
        let error = api.clone().oneshot(ask_as("/a", authorization)).await.unwrap_err();
        assert!(error.downcast_ref::<Error>().unwrap().is_no_identity(), "{error}");
    }
    let expired = "Bearer eyJhbGciOiJub25lIn0.eyJleHAiOjE3MDAwMDAwMDB9.";
    let error = api.clone().oneshot(ask_as("/a", &[expired])).await.unwrap_err();
    assert!(error.downcast_ref::<Error>().unwrap().is_subject_expired(), "{error}");
    assert_eq!((exchanges(&issuer).len(), pool.identities().status().failing), (0, 1));
}

#[tokio::test]
async fn a_users_own_token_is_passed_on_in_no_case() {
    let issuer = two_users();
    let ada = signed_in(&issuer, "ada").await;
    let bearer = format!("Bearer {ada}");
    let at_origin = |layer: BearerAuthLayer| layer.origins(["https://other.test"]).unwrap();
    let in_header = |layer: BearerAuthLayer| layer.header(HeaderName::from_static("x-auth-token"));
    for (change, method) in [
        (&at_origin as &dyn Fn(BearerAuthLayer) -> BearerAuthLayer, Method::GET),
        (&in_header, Method::GET),
        (&|layer| layer, Method::TRACE),
    ] {
        let api = change(gateway(&issuer).0).layer(echo(&issuer));
        let mut request = ask_as("/open", &[&bearer]);
        *request.method_mut() = method;
        assert_eq!(body(api.oneshot(request).await.unwrap()).await, "");
    }
    let api = gateway(&issuer).0.keep_existing(true).layer(echo(&issuer));
    let got = body(api.oneshot(ask_as("/open", &[&bearer])).await.unwrap()).await;
    assert!(got.starts_with("Bearer ") && got != bearer);
}

#[tokio::test]
async fn a_revoked_token_of_one_user_is_exchanged_again_and_the_request_sent_once_more() {
    let issuer = two_users();
    let (ada, bob) = (signed_in(&issuer, "ada").await, signed_in(&issuer, "bob").await);
    let (layer, _) = gateway(&issuer);
    let api = layer.layer(echo(&issuer));
    let ask = async |token: &str| {
        let answer = api.clone().oneshot(ask_as("/a", &[&format!("Bearer {token}")])).await.unwrap();
        assert!(is_ok(&answer));
        body(answer).await
    };
    let (of_ada, of_bob) = (ask(&ada).await, ask(&bob).await);
    issuer.revoke_current();
    assert_ne!(ask(&bob).await, of_bob);
    assert_eq!(ask(&ada).await, of_ada);
    let sent: Vec<_> = exchanges(&issuer).iter().map(|sent| sent.param("subject_token").unwrap().to_owned()).collect();
    assert_eq!(sent, [ada, bob.clone(), bob]);
}

#[tokio::test]
async fn the_settings_of_the_pool_and_of_its_caches_apply() {
    let issuer = two_users();
    let pool = UserPool::builder(users_of(&issuer))
        .pool(|pool| pool.max_identities(2))
        .cache(|cache| cache.default_lifetime(MINUTE).renewal_deadline(MINUTE))
        .build();
    let subject = Subject::new(signed_in(&issuer, "ada").await);
    token_of(&pool, &subject).await.unwrap();
    assert!(pool.identities().get(&users_of(&issuer).key(&subject)).is_none());
    let (key, cache) = pool.identities().iter().next().unwrap();
    assert!(cache.status().is_ready() && pool.identities().get(&key).is_some());
    pool.identities().get(&key).unwrap().reset();
    drop(cache);
    let error = UserPool::new(users_of(&issuer)).identities().cache(&key).unwrap_err();
    assert!(error.is_config() && error.to_string().contains("UserPool::cache"), "{error}");
}

#[tokio::test]
async fn the_pool_of_users_keeps_as_many_as_it_is_set_to() {
    let pool = UserPool::builder(users_of(&issuer())).pool(|pool| pool.max_identities(2)).build();
    for n in 0..10 {
        drop(pool.cache(&Subject::new(n.to_string())));
    }
    assert_eq!(pool.identities().status().identities, 2);
}

#[tokio::test]
async fn two_pools_of_users_share_their_tokens_and_refusals_by_a_store() {
    let issuer = two_users();
    let (ada, bob) = (signed_in(&issuer, "ada").await, signed_in(&issuer, "bob").await);
    let records = MemoryStore::new();
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let store = SharedStore::new(records.clone(), SealingKeys::new(SealingKey::new(&[1; 32])));
        let pool = UserPool::builder(users_of(&issuer)).source(move |user| Stored::new(user, &store)).build();
        for user in [&ada, &bob] {
            tokens.push(token_of(&pool, &Subject::new(user.as_str())).await.unwrap());
        }
        let error = token_of(&pool, &Subject::new("made-up")).await.unwrap_err();
        assert!(error.is_terminal() && error.oauth_code().is_some(), "{error}");
    }
    assert_eq!(tokens[0].secret(), tokens[2].secret());
    assert_eq!(tokens[1].secret(), tokens[3].secret());
    assert_ne!(tokens[0].secret(), tokens[1].secret());
    assert_eq!(exchanges(&issuer).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_of_a_users_token_is_retried_as_often_as_the_caches_are_set_to() {
    let issuer = two_users();
    let ada = Subject::new(signed_in(&issuer, "ada").await);
    issuer.fail_until_cleared(Failure::Status(503));
    for retries in [0, 1] {
        let pool = UserPool::builder(users_of(&issuer)).cache(move |cache| cache.renewal_retries(retries)).build();
        let before = exchanges(&issuer).len();
        assert!(token_of(&pool, &ada).await.unwrap_err().is_transient());
        assert_eq!(exchanges(&issuer).len() - before, 1 + retries);
    }
}

#[tokio::test]
async fn each_user_gets_a_token_of_their_own_and_one_exchange() {
    let issuer = two_users();
    let (ada, bob) = (signed_in(&issuer, "ada").await, signed_in(&issuer, "bob").await);
    let pool = UserPool::new(users_of(&issuer));
    for _ in 0..3 {
        for (user, token) in [("ada", &ada), ("bob", &bob)] {
            let got = token_of(&pool, &Subject::new(token.as_str())).await.unwrap();
            assert_eq!(user_of(&issuer, &got), user);
            assert_ne!(got.secret(), token);
        }
    }
    let sent = exchanges(&issuer);
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[0].param("subject_token"), Some(&*ada));
    assert_eq!(sent[0].param("subject_token_type"), Some(token_type::ACCESS_TOKEN));
    assert_eq!((sent[0].param("actor_token"), sent[0].param("actor_token_type")), (None, None));
    assert_eq!(sent[1].param("subject_token"), Some(&*bob));
}

#[tokio::test(start_paused = true)]
async fn ten_requests_of_one_user_at_once_make_one_exchange() {
    let issuer = two_users();
    let ada = signed_in(&issuer, "ada").await;
    let pool = UserPool::new(users_of(&issuer));
    let gate = issuer.hold();
    let release = async {
        gate.waiting(1).await;
        gate.release();
    };
    let subject = Subject::new(ada);
    let (tokens, ()) = tokio::join!(join_all((0..10).map(|_| token_of(&pool, &subject))), release);
    assert!(tokens.into_iter().all(|token| user_of(&issuer, &token.unwrap()) == "ada"));
    assert_eq!(exchanges(&issuer).len(), 1);
}

#[tokio::test]
async fn another_actor_audience_or_scope_is_another_key() {
    let issuer = issuer();
    let build = |builder: TokenExchangeBuilder| builder.for_users_with(issuer.service()).unwrap();
    let grants = [
        build(exchange()),
        build(exchange()),
        build(exchange().audience("https://a.test")),
        build(exchange().resource("https://a.test")),
        build(exchange().scope("user/Patient.rs")),
        build(exchange().actor_token("actor", token_type::JWT)),
        build(TokenExchange::builder("https://other.test/token").client_auth(basic())),
        build(TokenExchange::builder(URL).client_auth(ClientAuth::none("client2"))),
    ];
    let subjects = [Subject::new("ab").with_actor("c"), Subject::new("a").with_actor("bc"), Subject::new("abc")];
    let keys: Vec<_> = grants.iter().flat_map(|users| subjects.iter().map(|subject| users.key(subject))).collect();
    for (at, key) in keys.iter().enumerate() {
        assert!(!keys[..at].contains(key), "{at}");
    }
    assert!(grants[0].key(&subjects[0]) == grants[0].clone().key(&subjects[0].clone()));
}

/// RFC 8693 §2.1.
#[tokio::test]
async fn the_actor_is_the_services_own_token_or_that_of_a_request() {
    let issuer = two_users();
    let own = ClientCredentials::builder(URL).client_auth(basic()).build_with(issuer.service()).unwrap();
    let own = TokenCache::new(own);
    let service = own.clone();
    let actor = Secret::from_fn(move || {
        let service = service.clone();
        async move { Ok(service.token().await?.secret().into()) }
    });
    let builder = exchange().actor_token(actor, token_type::ACCESS_TOKEN);
    let users = builder.for_users_with(issuer.service()).unwrap();
    let (ada, bob) = (signed_in(&issuer, "ada").await, signed_in(&issuer, "bob").await);

    obtain(&users.source(Subject::new(ada.as_str()))).await.unwrap();
    let sent = issuer.last_request().unwrap();
    assert_eq!(sent.param("actor_token"), Some(own.token().await.unwrap().secret()));
    assert_eq!(sent.param("actor_token_type"), Some(token_type::ACCESS_TOKEN));

    obtain(&users.source(Subject::new(ada.as_str()).with_actor(bob.as_str()))).await.unwrap();
    assert_eq!(issuer.last_request().unwrap().param("actor_token"), Some(&*bob));
    assert_eq!(issuer.counts().client_credentials, 1);
}

#[tokio::test]
async fn the_types_of_the_users_tokens_are_sent() {
    let issuer = issuer();
    let builder = exchange().subject_token_type(token_type::ID_TOKEN).actor_token_type(token_type::JWT);
    let users = builder.for_users_with(issuer.service()).unwrap();
    obtain(&users.source(Subject::new("a").with_actor("b"))).await.unwrap_err();
    let sent = issuer.last_request().unwrap();
    assert_eq!(sent.param("subject_token_type"), Some(token_type::ID_TOKEN));
    assert_eq!(sent.param("actor_token_type"), Some(token_type::JWT));
}

#[tokio::test]
async fn a_narrowed_token_is_for_the_same_user() {
    let issuer = two_users();
    let ada = signed_in(&issuer, "ada").await;
    let cache = TokenCache::new(users_of(&issuer).source(Subject::new(ada.as_str())));
    let narrowing = Narrowing::new().with_scope("user/Patient.rs").unwrap().with_resource("https://a.test").unwrap();
    let narrowed = cache.narrowed(&narrowing).unwrap().token().await.unwrap();
    assert_eq!(user_of(&issuer, &narrowed), "ada");
    assert_eq!(narrowed.scope(), Some("user/Patient.rs"));
    let sent = issuer.last_request().unwrap();
    assert_eq!((sent.param("subject_token"), values(&sent, "resource")), (Some(&*ada), vec!["https://a.test"]));
}

/// Its issuer's tokens live for ten minutes.
async fn ada_for_ten_minutes() -> (Issuer, TokenCache) {
    let issuer = Issuer::builder().user("ada", "1").lifetime(10 * MINUTE).build();
    let ada = signed_in(&issuer, "ada").await;
    let cache = TokenCache::new(users_of(&issuer).source(Subject::new(ada)));
    (issuer, cache)
}

#[tokio::test(start_paused = true)]
async fn a_users_token_ends_together_with_the_token_that_it_was_exchanged_for() {
    let (issuer, cache) = ada_for_ten_minutes().await;
    tokio::time::advance(5 * MINUTE).await;
    let first = cache.token().await.unwrap();
    let left = tower_bearer::Lifetime::For(5 * MINUTE);
    assert!(first.lifetime().or_shorter(left) == first.lifetime(), "{:?}", first.lifetime());
    // The issuer gave it ten minutes, and the cache does not renew it ahead: the next one would end at the same time.
    tokio::time::advance(4 * MINUTE).await;
    assert_eq!(cache.token().await.unwrap().secret(), first.secret());
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(exchanges(&issuer).len(), 1);
    assert!(accepted(&issuer, &first));
    tokio::time::advance(MINUTE).await;

    let error = cache.token().await.unwrap_err();
    assert!(error.is_subject_expired() && error.is_terminal(), "{error}");
    let again = cache.token().await.unwrap_err();
    assert!(again.is_subject_expired() && again.is_backing_off());
    assert_eq!(again.to_string(), error.to_string());
    assert!(error.to_string().contains("answer 401"), "{error}");
    assert_eq!(exchanges(&issuer).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_ends_with_the_users_token_is_used_to_its_end() {
    let issuer = Issuer::builder().user("ada", "1").lifetime(Duration::from_secs(100)).build();
    let ada = signed_in(&issuer, "ada").await;
    let cache = TokenCache::new(users_of(&issuer).source(Subject::new(ada)));
    let first = cache.token().await.unwrap();
    for _ in 0..95 {
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(cache.token().await.unwrap().secret(), first.secret());
    }
    assert_eq!(exchanges(&issuer).len(), 1);
    tokio::time::advance(Duration::from_secs(5)).await;
    assert!(cache.token().await.unwrap_err().is_subject_expired());
    assert_eq!(exchanges(&issuer).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_comes_after_the_users_token_has_ended_is_not_used() {
    let (issuer, cache) = ada_for_ten_minutes().await;
    tokio::time::advance(9 * MINUTE + Duration::from_secs(59)).await;
    issuer.delay(Duration::from_secs(5));
    assert!(cache.token().await.unwrap_err().is_subject_expired());
    assert_eq!(exchanges(&issuer).len(), 1);
}

#[test]
fn an_expired_token_is_logged_for_debugging_only_and_counts_as_failing() {
    let logs = logged(async {
        let claims = BASE64_URL_SAFE_NO_PAD.encode(r#"{"exp":1000}"#);
        let pool = UserPool::new(users_of(&issuer()));
        let error = pool.cache(&Subject::new(format!("e30.{claims}."))).token().await.unwrap_err();
        assert!(error.is_subject_expired(), "{error}");
        assert_eq!(pool.identities().status().failing, 1);
    });
    assert!(logs.contains("no token requested") && !logs.contains("WARN"), "{logs}");
}

#[tokio::test]
async fn an_expired_token_is_not_exchanged_and_one_without_an_end_is() {
    let jwt = |claims: Value| format!("e30.{}.", BASE64_URL_SAFE_NO_PAD.encode(claims.to_string()));
    let issuer = issuer();
    let users = users_of(&issuer);
    for claims in [
        json!({ "exp": 1_700_000_000 }),
        json!({ "iat": 1_600_000_000, "exp": 1_700_000_000 }),
        json!({ "exp": 0 }),
        json!({ "exp": -5.5 }),
    ] {
        let error = obtain(&users.source(Subject::new(jwt(claims)))).await.unwrap_err();
        assert!(error.is_subject_expired(), "{error}");
    }
    assert_eq!(issuer.counts().token_requests, 0);
    for token in ["opaque".to_owned(), jwt(json!({})), jwt(json!({ "exp": "soon" })), jwt(json!({ "exp": 9e12 }))] {
        let error = obtain(&users.source(Subject::new(token))).await.unwrap_err();
        assert_eq!(error.oauth_code(), Some("invalid_request"));
    }
    assert_eq!(issuer.counts().token_requests, 4);
}

/// RFC 8693 §2.2.2, RFC 6749 §5.2.
#[tokio::test(start_paused = true)]
async fn a_refused_user_is_asked_for_once_and_delays_no_other() {
    let issuer = two_users();
    let pool = UserPool::new(users_of(&issuer));
    let (ada, made_up) = (Subject::new(signed_in(&issuer, "ada").await), Subject::new("made-up"));
    issuer.fail_next(1, Failure::OAuth(400, "invalid_grant"));
    for _ in 0..10 {
        let error = token_of(&pool, &made_up).await.unwrap_err();
        assert_eq!(error.oauth_code(), Some("invalid_grant"));
        assert!(error.is_terminal());
        assert_eq!(user_of(&issuer, &token_of(&pool, &ada).await.unwrap()), "ada");
    }
    assert_eq!(exchanges(&issuer).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_user_who_is_forgotten_is_exchanged_again_and_no_other_one() {
    let issuer = two_users();
    let pool = UserPool::new(users_of(&issuer));
    let (ada, bob) = (signed_in(&issuer, "ada").await, signed_in(&issuer, "bob").await);
    let (ada, bob) = (Subject::new(ada), Subject::new(bob));
    token_of(&pool, &bob).await.unwrap();
    issuer.fail_next(1, Failure::OAuth(400, "invalid_grant"));
    token_of(&pool, &ada).await.unwrap_err();
    assert_eq!(pool.get(&ada).unwrap().status().failures, 1);
    assert!(pool.forget(&ada) && !pool.forget(&ada) && pool.get(&ada).is_none());
    assert_eq!(user_of(&issuer, &token_of(&pool, &ada).await.unwrap()), "ada");
    token_of(&pool, &bob).await.unwrap();
    assert_eq!(exchanges(&issuer).len(), 3);
}

#[tokio::test]
async fn a_401_of_the_api_causes_one_exchange_and_one_retry() {
    let issuer = two_users();
    let ada = signed_in(&issuer, "ada").await;
    let cache = TokenCache::new(users_of(&issuer).source(Subject::new(ada.as_str())));
    let api = BearerAuthLayer::with_cache(cache).layer(issuer.api());
    assert!(is_ok(&get(&api, "/a").await));
    issuer.revoke_current();
    assert!(is_ok(&get(&api, "/b").await));
    let sent = exchanges(&issuer);
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[1].param("subject_token"), Some(&*ada));
}

/// It would outlive the user's token.
#[tokio::test]
async fn a_refresh_token_beside_a_users_token_is_not_used() {
    let issuer = Issuer::builder().user("ada", "1").refresh_tokens(RefreshTokens::Kept).build();
    let ada = signed_in(&issuer, "ada").await;
    let source = users_of(&issuer).source(Subject::new(ada));
    for _ in 0..2 {
        obtain(&source).await.unwrap();
    }
    assert_eq!((issuer.counts().refresh_token, exchanges(&issuer).len()), (0, 2));
}

#[tokio::test]
async fn a_users_token_is_revoked_at_the_issuer() {
    let issuer = two_users();
    let ada = signed_in(&issuer, "ada").await;
    let builder = exchange().revocation_url("https://issuer.test/revoke");
    let cache = TokenCache::new(builder.for_users_with(issuer.service()).unwrap().source(Subject::new(ada)));
    let token = cache.token().await.unwrap();
    cache.revoke().await.unwrap();
    assert!(!accepted(&issuer, &token));
}

#[tokio::test]
async fn the_user_is_left_out_of_the_settings() {
    let issuer = issuer();
    let exchange = exchange().subject_token("hidden", token_type::JWT).for_users_with(issuer.service()).unwrap_err();
    assert!(exchange.is_config() && exchange.to_string().contains("`subject_token` is set"), "{exchange}");
    let bearer = || JwtBearer::builder(URL).client_auth(basic());
    let assertion = bearer().assertion("hidden").for_users_with(issuer.service()).unwrap_err();
    assert!(assertion.is_config() && assertion.to_string().contains("leave it out"), "{assertion}");
    let users = bearer().for_users_with(issuer.service()).unwrap();
    let actor = obtain(&users.source(Subject::new("a").with_actor("b"))).await.unwrap_err();
    assert!(actor.is_config() && actor.to_string().contains("no actor"), "{actor}");
    assert_eq!(issuer.counts().token_requests, 0);
}

/// RFC 7523 §2.1.
#[tokio::test]
async fn the_jwt_bearer_grant_sends_each_users_assertion() {
    let issuer = issuer();
    let builder = JwtBearer::builder(URL).client_auth(basic()).scope("user/Patient.rs");
    let users = builder.for_users_with(issuer.service()).unwrap();
    for assertion in ["a", "b"] {
        let error = obtain(&users.source(Subject::new(assertion))).await.unwrap_err();
        assert_eq!(error.oauth_code(), Some("invalid_grant"));
        let sent = issuer.last_request().unwrap();
        assert_eq!((sent.param("assertion"), sent.param("scope")), (Some(assertion), Some("user/Patient.rs")));
    }
}

/// The user's identity provider, and the authorization server of the API, which trusts it.
struct TwoServers {
    provider: Issuer,
    server: Issuer,
    users: OnBehalfOf,
}

const SERVER: &str = "https://auth.api.test";

fn two_servers() -> TwoServers {
    let provider = two_users();
    let server = Issuer::builder().user("ada", "-").user("bob", "-").trusts(&provider).build();
    let id_jag = exchange()
        .subject_token_type(token_type::ID_TOKEN)
        .requested_token_type(token_type::ID_JAG)
        .audience(SERVER)
        .for_users_with(provider.service())
        .unwrap();
    let users = JwtBearer::builder(format!("{SERVER}/token"))
        .client_auth(basic())
        .scope("user/Patient.rs")
        .assertion_from(id_jag)
        .for_users_with(server.service())
        .unwrap();
    TwoServers { provider, server, users }
}

/// draft-ietf-oauth-identity-assertion-authz-grant.
#[tokio::test]
async fn an_id_jag_of_the_users_provider_gets_a_token_of_the_apis_server() {
    let TwoServers { provider, server, users } = two_servers();
    let pool = UserPool::new(users);
    for user in ["ada", "bob"] {
        let token = signed_in(&provider, user).await;
        let cache = pool.cache(&Subject::new(token.as_str()));
        let api = BearerAuthLayer::with_cache(cache.clone()).layer(server.api());
        assert!(is_ok(&get(&api, "/a").await));
        assert_eq!(user_of(&server, &cache.token().await.unwrap()), user);

        let asked = provider.last_request().unwrap();
        assert_eq!(asked.param("requested_token_type"), Some(token_type::ID_JAG));
        assert_eq!((asked.param("audience"), asked.param("subject_token")), (Some(SERVER), Some(&*token)));
        assert_eq!(asked.param("subject_token_type"), Some(token_type::ID_TOKEN));
        let sent = server.last_request().unwrap();
        assert_eq!(sent.grant_type(), Some("urn:ietf:params:oauth:grant-type:jwt-bearer"));
        assert_eq!(sent.param("scope"), Some("user/Patient.rs"));
        let claims: Claims = AccessToken::new(sent.param("assertion").unwrap()).unwrap().claims().unwrap();
        assert_eq!((claims.sub.as_deref(), &claims.aud[..]), (Some(user), &[SERVER.to_owned()][..]));
        assert_eq!(sent.param("subject_token"), None);
    }
    assert_eq!((exchanges(&provider).len(), server.counts().token_requests), (2, 2));
}

#[tokio::test]
async fn each_id_jag_is_used_once() {
    let TwoServers { provider, server, users } = two_servers();
    let ada = signed_in(&provider, "ada").await;
    let cache = TokenCache::new(users.source(Subject::new(ada)));
    let api = BearerAuthLayer::with_cache(cache).layer(server.api());
    assert!(is_ok(&get(&api, "/a").await));
    server.revoke_current();
    // The server accepts no assertion twice.
    assert!(is_ok(&get(&api, "/b").await));
    let sent: Vec<_> = server.requests().iter().map(|request| request.param("assertion").unwrap().to_owned()).collect();
    assert_eq!((sent.len(), exchanges(&provider).len()), (2, 2));
    assert_ne!(sent[0], sent[1]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_either_server_is_remembered_for_the_user() {
    let TwoServers { provider, server, users } = two_servers();
    let pool = UserPool::new(users);
    let (ada, bob) = (signed_in(&provider, "ada").await, signed_in(&provider, "bob").await);
    provider.fail_next(1, Failure::OAuth(400, "invalid_grant"));
    server.fail_next(1, Failure::OAuth(400, "invalid_grant"));
    let (ada, bob) = (Subject::new(ada), Subject::new(bob));
    for _ in 0..5 {
        for subject in [&ada, &bob] {
            assert_eq!(token_of(&pool, subject).await.unwrap_err().oauth_code(), Some("invalid_grant"));
        }
    }
    assert_eq!((exchanges(&provider).len(), server.counts().token_requests), (2, 1));
}

/// RFC 8693 §2.2.1: another token in its place is not an assertion.
#[tokio::test]
async fn an_answer_of_another_type_is_not_sent_to_the_apis_server() {
    let TwoServers { provider, server, users } = two_servers();
    let ada = signed_in(&provider, "ada").await;
    provider.amend_next(json!({ "issued_token_type": token_type::ACCESS_TOKEN }));
    let error = obtain(&users.source(Subject::new(ada))).await.unwrap_err();
    assert!(error.is_unusable() && error.to_string().contains("issued_token_type"), "{error}");
    assert_eq!(server.counts().token_requests, 0);
}

#[tokio::test]
async fn an_id_jag_is_not_sent_to_an_api() {
    let provider = two_users();
    let ada = signed_in(&provider, "ada").await;
    let builder = exchange().requested_token_type(token_type::ID_JAG).audience(SERVER);
    let users = builder.for_users_with(provider.service()).unwrap();
    let error = obtain(&users.source(Subject::new(ada))).await.unwrap_err();
    assert!(error.is_unusable() && error.to_string().contains("N_A"), "{error}");
}

/// A corrected secret ends the wait after a refusal, also that of the provider's client.
#[tokio::test(start_paused = true)]
async fn a_new_secret_of_the_providers_client_is_tried_at_once() {
    let provider = two_users();
    let server = Issuer::builder().user("ada", "-").trusts(&provider).build();
    let ada = signed_in(&provider, "ada").await;
    let secret = Arc::new(Mutex::new((1_u64, "wrong")));
    let (read, version) = (Arc::clone(&secret), Arc::clone(&secret));
    let secret_of_client = Secret::from_fn(move || {
        let text = read.lock().unwrap().1;
        async move { Ok(text.into()) }
    })
    .with_version(move || version.lock().unwrap().0);
    let id_jag = TokenExchange::builder(URL)
        .client_auth(ClientAuth::basic("client1", secret_of_client))
        .requested_token_type(token_type::ID_JAG)
        .audience(SERVER)
        .for_users_with(provider.service())
        .unwrap();
    let builder = JwtBearer::builder(format!("{SERVER}/token")).client_auth(basic()).assertion_from(id_jag);
    let cache = TokenCache::new(builder.for_users_with(server.service()).unwrap().source(Subject::new(ada)));
    for _ in 0..5 {
        assert_eq!(cache.token().await.unwrap_err().oauth_code(), Some("invalid_client"));
    }
    assert_eq!(exchanges(&provider).len(), 1);
    *secret.lock().unwrap() = (2, "client-secret");
    assert_eq!(user_of(&server, &cache.token().await.unwrap()), "ada");
}

/// Its server may issue its own access token.
#[tokio::test]
async fn an_exchange_whose_answer_may_be_for_its_own_server_gives_no_assertion() {
    let issuer = issuer();
    let build = |exchange: TokenExchangeBuilder| {
        let exchange = exchange.for_users_with(issuer.service()).unwrap();
        JwtBearer::builder(URL).client_auth(basic()).assertion_from(exchange).for_users_with(issuer.service())
    };
    let error = build(exchange()).unwrap_err();
    assert!(error.is_config() && error.to_string().contains("call `requested_token_type` or `audience`"), "{error}");
    assert!(build(exchange().requested_token_type(token_type::JWT)).is_ok());
    assert!(build(exchange().audience("https://other.test")).is_ok());
    assert!(build(exchange().resource("https://other.test")).is_ok());
}

#[tokio::test]
async fn a_request_that_skips_the_layer_does_not_pass_on_the_users_token() {
    let issuer = two_users();
    for keeps in [false, true] {
        let api = gateway(&issuer).0.keep_existing(keeps).layer(echo(&issuer));
        let mut request = ask_as("/open", &["Bearer users-own"]);
        request.extensions_mut().insert(tower_bearer::SkipBearerAuth);
        assert_eq!(body(api.oneshot(request).await.unwrap()).await, "");
    }
    assert_eq!(issuer.counts().token_requests, 0);
}

/// The secret changes while it is read, after the cache has asked for the version of the credentials.
#[tokio::test(start_paused = true)]
async fn a_refusal_counts_for_the_secret_of_the_providers_client_that_was_sent() {
    let provider = two_users();
    let server = Issuer::builder().user("ada", "-").trusts(&provider).build();
    let ada = signed_in(&provider, "ada").await;
    let version = Arc::new(AtomicU64::new(1));
    let (newest, current) = (Arc::clone(&version), version);
    let secret = Secret::from_fn(move || {
        newest.store(2, SeqCst);
        async { Ok("client-secret".into()) }
    });
    let id_jag = TokenExchange::builder(URL)
        .client_auth(ClientAuth::basic("client1", secret.with_version(move || current.load(SeqCst))))
        .requested_token_type(token_type::ID_JAG)
        .audience(SERVER)
        .for_users_with(provider.service())
        .unwrap();
    let builder = JwtBearer::builder(format!("{SERVER}/token")).client_auth(basic()).assertion_from(id_jag);
    let cache = TokenCache::new(builder.for_users_with(server.service()).unwrap().source(Subject::new(ada)));
    server.fail_next(1, Failure::OAuth(400, "invalid_grant"));
    for _ in 0..3 {
        assert_eq!(cache.token().await.unwrap_err().oauth_code(), Some("invalid_grant"));
    }
    assert_eq!(server.counts().token_requests, 1);
}
