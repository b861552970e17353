//! What the users of a pool share when a server fails, and what a user's own token has to do with it.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use futures::future::join_all;
use serde_json::json;
use tokio::time::{Instant, sleep};
use tower_bearer::{
    TokenCache,
    grant::{ClientAuth, JwtBearer, Subject, TokenExchange, token_type},
    pool::UserPool,
};

use crate::{
    support::{MINUTE, SECOND},
    token_server::{Form, Reply, TokenServer, bare, issued, refused},
};

/// Returns a token that has expired.
fn expired(n: usize) -> Subject {
    let claims = json!({ "exp": 1_700_000_000, "n": n }).to_string();
    Subject::new(format!("e30.{}.", BASE64_URL_SAFE_NO_PAD.encode(claims)))
}

fn users_of(server: &TokenServer) -> UserPool {
    let grant = TokenExchange::builder("https://issuer.test/token").client_auth(ClientAuth::basic("gateway", "s3cret"));
    UserPool::new(grant.for_users_with(server.clone()).unwrap())
}

async fn is_served(pool: &UserPool, user: &str) -> bool {
    pool.cache(&Subject::new(user)).token().await.is_ok()
}

/// Makes a request for each of so many users, and returns how many fail.
async fn failures(pool: &UserPool, users: usize) -> usize {
    let caches: Vec<_> = (0..users).map(|user| pool.cache(&Subject::new(format!("user{user}")))).collect();
    join_all(caches.iter().map(TokenCache::token)).await.iter().filter(|token| token.is_err()).count()
}

#[tokio::test(start_paused = true)]
async fn expired_tokens_of_users_are_no_tries_of_the_client() {
    let server = TokenServer::new(|_| refused(401, "invalid_client"));
    let pool = users_of(&server);
    for n in 0..10 {
        let error = pool.cache(&expired(n)).token().await.unwrap_err();
        assert!(error.is_subject_expired(), "{error}");
    }
    assert_eq!(failures(&pool, 300).await, 300);
    assert_eq!(server.take().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn expired_tokens_of_users_are_no_probes_of_an_outage() {
    let server = TokenServer::new(|_| bare(503));
    let pool = users_of(&server);
    for n in 0..120 {
        assert!(!is_served(&pool, &format!("early{n}")).await);
        sleep(SECOND / 2).await;
    }
    server.answers(|_| issued(3600));
    let began = Instant::now();
    for n in 0.. {
        for m in 0..10 {
            assert!(pool.cache(&expired(10 * n + m)).token().await.is_err());
            sleep(SECOND / 10).await;
        }
        if is_served(&pool, &format!("late{n}")).await {
            break;
        }
    }
    assert!(began.elapsed() < 35 * SECOND, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_token_that_has_expired_needs_no_place() {
    let server = TokenServer::new(|_| Reply::Hang);
    let pool = users_of(&server);
    let waiting: Vec<_> = (0..200).map(|user| pool.cache(&Subject::new(format!("user{user}")))).collect();
    let waiting = tokio::spawn(async move { join_all(waiting.iter().map(TokenCache::token)).await.len() });
    sleep(SECOND).await;
    let began = Instant::now();
    assert!(pool.cache(&expired(0)).token().await.unwrap_err().is_subject_expired());
    assert_eq!(began.elapsed().as_secs(), 0);
    waiting.abort();
}

/// A user's identity provider and the API's authorization server, each with its own client.
struct TwoServers {
    provider: TokenServer,
    server: TokenServer,
    pool: UserPool,
}

fn id_jag(form: &Form) -> Reply {
    if form["subject_token"].starts_with("bad") {
        return refused(400, "invalid_grant");
    }
    let kind = token_type::ID_JAG;
    let body = json!({ "access_token": "jag", "token_type": "N_A", "issued_token_type": kind, "expires_in": 300 });
    Reply::Say(200, body.to_string())
}

fn two_servers() -> TwoServers {
    let (provider, server) = (TokenServer::new(id_jag), TokenServer::good());
    let exchange = TokenExchange::builder("https://provider.test/token")
        .client_auth(ClientAuth::basic("at-provider", "1"))
        .requested_token_type(token_type::ID_JAG)
        .audience("https://server.test")
        .for_users_with(provider.clone())
        .unwrap();
    let users = JwtBearer::builder("https://server.test/token")
        .client_auth(ClientAuth::basic("at-server", "2"))
        .assertion_from(exchange)
        .for_users_with(server.clone())
        .unwrap();
    TwoServers { provider, server, pool: UserPool::new(users) }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_secret_at_the_second_server_is_tried_once_whatever_the_first_one_says() {
    for refused_before in [false, true] {
        let TwoServers { provider, server, pool } = two_servers();
        server.answers(|_| refused(401, "invalid_client"));
        if refused_before {
            assert!(!is_served(&pool, "bad").await);
        }
        assert_eq!(failures(&pool, 500).await, 500);
        assert_eq!(server.take().len(), 1);
        // Those that were in progress have their assertions.
        assert!(provider.take().len() <= 65);
        assert_eq!(failures(&pool, 500).await, 500);
        assert_eq!((server.take().len(), provider.take().len()), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_secret_at_the_first_server_is_tried_once() {
    let TwoServers { provider, server, pool } = two_servers();
    provider.answers(|_| refused(401, "invalid_client"));
    for _ in 0..3 {
        assert_eq!(failures(&pool, 500).await, 500);
    }
    assert_eq!((provider.take().len(), server.take().len()), (1, 0));
    sleep(61 * SECOND).await;
    provider.answers(id_jag);
    assert_eq!(failures(&pool, 500).await, 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_the_first_server_does_not_end_an_outage_of_the_second() {
    for with_refused in [false, true] {
        let TwoServers { provider, server, pool } = two_servers();
        for user in 0..5 {
            assert!(is_served(&pool, &format!("before{user}")).await);
        }
        sleep(MINUTE).await;
        server.answers(|_| bare(503));
        provider.take();
        server.take();
        let began = Instant::now();
        for n in 0.. {
            if began.elapsed() > 2 * MINUTE {
                break;
            }
            if with_refused {
                assert!(!is_served(&pool, &format!("bad{n}")).await);
            }
            assert_eq!(failures(&pool, 100).await, 100);
            sleep(SECOND).await;
        }
        let (asked, bad) = (server.take().len(), if with_refused { 120 } else { 0 });
        assert!(asked < 330, "{asked}");
        assert!(provider.take().len() < 330 + bad);
        server.answers(|_| issued(3600));
        let began = Instant::now();
        while failures(&pool, 100).await > 0 {
            assert!(began.elapsed() < 35 * SECOND);
            sleep(SECOND).await;
        }
    }
}
