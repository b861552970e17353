//! What identities of a pool share when their issuer fails: for all, or for some of them alone.

use std::{future::pending, time::Duration};

use futures::future::join_all;
use tokio::time::{Instant, advance, sleep, timeout};
use tower_bearer::{
    PasswordGrant, SecretString, TokenCache, TokenPool,
    grant::{ClientAuth, ClientCredentials, Secret},
};

use crate::{
    support::{HOUR, MINUTE, SECOND},
    token_server::{Form, Reply, TokenServer, bare, issued, refused},
};

const URL: &str = "https://issuer.test/token";

/// Whether the identity is one that fails alone, and its number.
type Key = (bool, usize);

fn grant(key: &Key, password: Secret, server: &TokenServer) -> Result<PasswordGrant<TokenServer>, tower_bearer::Error> {
    let user = format!("{}{}", if key.0 { "bad" } else { "good" }, key.1);
    let grant = PasswordGrant::builder(URL).client_auth(ClientAuth::basic("client1", "s3cret"));
    grant.credentials(user, password).build_with(server.clone())
}

fn users(server: &TokenServer) -> TokenPool<Key> {
    let server = server.clone();
    TokenPool::new(move |key: &Key| grant(key, "password".into(), &server))
}

fn is_bad(form: &Form) -> bool {
    form["username"].starts_with("bad")
}

/// Makes a request of each of these each second, and forgets what becomes of it.
fn keep_asking(pool: &TokenPool<Key>, bad: usize) -> Vec<tokio::task::JoinHandle<()>> {
    let ask = |key| {
        let pool = pool.clone();
        tokio::spawn(async move {
            loop {
                let _ = pool.cache(&(true, key)).unwrap().token().await;
                sleep(SECOND).await;
            }
        })
    };
    (0..bad).map(ask).collect()
}

/// Makes a request of a good user from time to time, and returns how many fail and the longest that one took.
async fn requests_of_good_users(pool: &TokenPool<Key>, users: usize, pause: Duration) -> (usize, Duration) {
    let (began, mut failed, mut longest) = (Instant::now(), 0, Duration::ZERO);
    for n in 0.. {
        if began.elapsed() > 5 * MINUTE {
            break;
        }
        let asked = Instant::now();
        failed += usize::from(pool.cache(&(false, n % users)).unwrap().token().await.is_err());
        longest = longest.max(asked.elapsed());
        sleep(pause).await;
    }
    (failed, longest)
}

/// Some servers say of a locked account that they are busy, or do not answer.
#[tokio::test(start_paused = true)]
async fn accounts_that_are_locked_delay_nobody_else() {
    let locked: [fn() -> Reply; 3] = [|| bare(429), || bare(503), || Reply::Hang];
    for (kind, locked) in locked.into_iter().enumerate() {
        for bad in [3, 20] {
            let server = TokenServer::new(move |form| if is_bad(form) { locked() } else { issued(20) });
            let pool = users(&server);
            for user in 0..5 {
                pool.cache(&(false, user)).unwrap().token().await.unwrap();
            }
            let asking = keep_asking(&pool, bad);
            let (failed, longest) = requests_of_good_users(&pool, 5, 7 * SECOND).await;
            asking.iter().for_each(tokio::task::JoinHandle::abort);
            assert_eq!(failed, 0, "{bad} of kind {kind}");
            assert!(longest < SECOND, "{bad} of kind {kind}: {longest:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn locked_accounts_are_asked_for_as_often_in_company_as_alone() {
    let mut asked = Vec::new();
    for bad in [1, 20] {
        let server = TokenServer::new(|form| if is_bad(form) { bare(429) } else { issued(600) });
        let pool = users(&server);
        for user in 0..100 {
            pool.cache(&(false, user)).unwrap().token().await.unwrap();
        }
        let asking = keep_asking(&pool, bad);
        assert_eq!(requests_of_good_users(&pool, 100, SECOND / 2).await.0, 0);
        asking.iter().for_each(tokio::task::JoinHandle::abort);
        asked.push(server.take().iter().filter(|form| is_bad(form)).count() / bad);
    }
    assert!(asked[1] <= asked[0] + asked[0] / 4, "{asked:?}");
}

/// Each of them is another identity, which has never had a token.
#[tokio::test(start_paused = true)]
async fn made_up_identities_that_break_the_issuer_are_not_an_outage() {
    let server = TokenServer::new(|form| if is_bad(form) { bare(500) } else { issued(3600) });
    let pool = users(&server);
    pool.cache(&(false, 0)).unwrap().token().await.unwrap();
    for round in 1..60 {
        for n in 0..25 {
            let cache = pool.cache(&(true, 25 * round + n)).unwrap();
            tokio::spawn(async move { cache.token().await.is_ok() });
        }
        sleep(SECOND / 2).await;
        assert!(pool.cache(&(false, round)).unwrap().token().await.is_ok(), "{round}");
    }
}

/// Nothing is sent, so it says nothing of the issuer and the client.
#[tokio::test(start_paused = true)]
async fn a_secret_that_hangs_or_is_missing_delays_nobody_else() {
    let hangs = || Secret::from_fn(pending::<Result<SecretString, tower_bearer::BoxError>>);
    let secrets: [fn() -> Secret; 2] = [hangs, || Secret::file("/nonexistent/password")];
    for (kind, secret) in secrets.into_iter().enumerate() {
        for (bad, is_warm) in [(1, false), (20, false), (20, true)] {
            let server = TokenServer::new(|_| issued(20));
            let made = server.clone();
            let pool =
                TokenPool::new(move |key: &Key| grant(key, if key.0 { secret() } else { "password".into() }, &made));
            if is_warm {
                pool.cache(&(false, 99)).unwrap().token().await.unwrap();
            }
            let asking = keep_asking(&pool, bad);
            sleep(SECOND / 1000).await;
            let (failed, longest) = requests_of_good_users(&pool, 5, 7 * SECOND).await;
            asking.iter().for_each(tokio::task::JoinHandle::abort);
            assert_eq!(failed, 0, "{bad} of kind {kind}");
            assert!(longest < SECOND / 10, "{bad} of kind {kind}, warm: {is_warm}: {longest:?}");
        }
    }
}

/// A pool of clients at these servers. The key says at which one.
fn clients(servers: Vec<(&'static str, TokenServer)>, each_has_its_own: bool) -> TokenPool<(usize, usize)> {
    TokenPool::new(move |(at, tenant): &(usize, usize)| {
        let id = if each_has_its_own { format!("client{tenant}") } else { "client".into() };
        let (url, server) = &servers[*at];
        let grant = ClientCredentials::builder(*url).client_auth(ClientAuth::basic(id, "s3cret"));
        grant.scope(format!("tenant{tenant}")).build_with(server.clone())
    })
}

fn all_of(pool: &TokenPool<(usize, usize)>, at: usize, tenants: usize) -> Vec<TokenCache> {
    (0..tenants).map(|tenant| pool.cache(&(at, tenant)).unwrap()).collect()
}

/// Makes a request for each, and returns how many fail.
async fn failures(caches: &[TokenCache]) -> usize {
    join_all(caches.iter().map(TokenCache::token)).await.iter().filter(|token| token.is_err()).count()
}

#[tokio::test(start_paused = true)]
async fn an_outage_belongs_to_the_issuer_whether_its_tenants_share_a_client_or_not() {
    for each_has_its_own in [false, true] {
        let server = TokenServer::good();
        let pool = clients(vec![(URL, server.clone())], each_has_its_own);
        let caches = all_of(&pool, 0, 100);
        assert_eq!(failures(&caches).await, 0);
        advance(2 * HOUR).await;
        server.answers(|_| bare(503));
        server.take();
        let began = Instant::now();
        while began.elapsed() < 5 * MINUTE {
            assert_eq!(failures(&caches).await, 100);
            sleep(SECOND).await;
        }
        let requests = server.take().len();
        assert!(requests < 320, "{requests}");
        server.answers(|_| issued(3600));
        let began = Instant::now();
        while failures(&caches).await > 0 {
            assert!(began.elapsed() < 32 * SECOND);
            sleep(SECOND).await;
        }
    }
}

/// A token came a moment ago, so nobody has waited for the issuer yet.
#[tokio::test(start_paused = true)]
async fn an_outage_is_known_at_once_where_good_identities_fail() {
    let server = TokenServer::good();
    let pool = clients(vec![(URL, server.clone())], false);
    let caches = all_of(&pool, 0, 210);
    assert_eq!(failures(&caches[..200]).await, 0);
    advance(2 * HOUR).await;
    assert_eq!(failures(&caches[200..]).await, 0);
    server.answers(|_| bare(503));
    server.take();
    assert_eq!(failures(&caches[..200]).await, 200);
    assert!(server.take().len() <= 4 * 64 + 2);
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_hangs_leaves_places_for_the_tenants_of_another() {
    let (hung, good) = (TokenServer::new(|_| Reply::Hang), TokenServer::good());
    let pool = clients(vec![("https://hung.test/token", hung.clone()), (URL, good)], true);
    let (waiting, others) = (all_of(&pool, 0, 500), all_of(&pool, 1, 50));
    let waiting = tokio::spawn(async move { failures(&waiting).await });
    sleep(SECOND / 10).await;
    let began = Instant::now();
    assert_eq!(failures(&others).await, 0);
    assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
    assert_eq!(waiting.await.unwrap(), 500);
}

/// The grant presents nothing but the client, so the client is refused.
#[tokio::test(start_paused = true)]
async fn a_client_that_is_refused_without_a_code_is_tried_once_for_all_its_identities() {
    for body in ["", "<html>no</html>", r#"{"error":"unauthorized"}"#] {
        let server = TokenServer::new(move |_| Reply::Say(401, body.to_owned()));
        let pool = clients(vec![(URL, server.clone())], false);
        let caches = all_of(&pool, 0, 300);
        for _ in 0..3 {
            assert_eq!(failures(&caches).await, 300);
        }
        assert_eq!(server.take().len(), 1, "{body:?}");
    }
    // A refused scope says nothing of the client.
    let server =
        TokenServer::new(|form| if form["scope"] == "tenant7" { refused(401, "invalid_scope") } else { issued(60) });
    let caches = all_of(&clients(vec![(URL, server)], false), 0, 300);
    assert_eq!(failures(&caches).await, 1);
}

#[tokio::test(start_paused = true)]
async fn renewals_that_nobody_awaits_any_more_are_behind_the_others() {
    let server = TokenServer::good();
    let pool = users(&server);
    pool.cache(&(false, 0)).unwrap().token().await.unwrap();
    server.takes(5 * SECOND);
    for left in 1..2_000 {
        let cache = pool.cache(&(false, left)).unwrap();
        assert!(timeout(SECOND / 1000, cache.token()).await.is_err());
    }
    let began = Instant::now();
    pool.cache(&(true, 0)).unwrap().token().await.unwrap();
    assert!(began.elapsed() <= 10 * SECOND, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn no_request_fails_in_the_queue_while_a_slow_issuer_answers() {
    let server = TokenServer::good();
    server.takes(SECOND);
    let made = server.clone();
    let pool = TokenPool::builder(move |key: &Key| grant(key, "password".into(), &made)).max_renewals(4).build();
    let caches: Vec<_> = (0..400).map(|user| pool.cache(&(false, user)).unwrap()).collect();
    let began = Instant::now();
    assert_eq!(failures(&caches).await, 0);
    assert!(began.elapsed() > 90 * SECOND);
    assert_eq!(server.take().len(), 400);
}
