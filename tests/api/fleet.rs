//! Processes that share tokens by a store: each has its own cache, and all have one issuer.

#[path = "fleet/faults.rs"]
mod faults;
#[path = "fleet/model.rs"]
mod model;
#[path = "fleet/processes.rs"]
mod processes;
#[path = "fleet/refresh_tokens.rs"]
mod refresh_tokens;
#[path = "fleet/revocation.rs"]
mod revocation;
#[path = "fleet/secrecy.rs"]
mod secrecy;

use std::{collections::BTreeSet, time::Duration};

use futures::future::join_all;
use serde_json::json;
use tokio::time::{Instant, sleep};
use tower_bearer::{
    AccessToken, BoxTokenSource, Error, Reason, TokenCache, TokenPool, TokenSource,
    grant::{ClientAuth, ClientCredentials, JwtBearer, PasswordGrant, Secret, TokenExchange},
    source::{Narrowing, from_fn},
    store::{SealingKey, SealingKeys, SharedStore, Stored},
    testing::{Failure, Issuer, IssuerService, TokenFormat},
};

use self::processes::{Fleet, keys};
use crate::support::{MINUTE, SECOND, grant, issuer, obtain, scratch};

/// Returns the tokens of all caches, each asked by ten requests at once.
async fn tokens(caches: &[TokenCache]) -> Vec<Result<AccessToken, Error>> {
    join_all(caches.iter().flat_map(|cache| (0..10).map(|_| cache.token()))).await
}

/// Returns an issuer whose tokens live for 100 seconds.
fn short_lived() -> Issuer {
    Issuer::builder().token_format(TokenFormat::Opaque).lifetime(100 * SECOND).build()
}

fn different(tokens: &[Result<AccessToken, Error>]) -> BTreeSet<&str> {
    tokens.iter().map(|token| token.as_ref().unwrap().secret()).collect()
}

#[tokio::test(start_paused = true)]
async fn sixteen_cold_processes_send_one_token_request() {
    let fleet = Fleet::new(short_lived());
    fleet.issuer.delay(SECOND);
    let caches: Vec<_> = (0..16).map(|_| fleet.cache()).collect();
    assert_eq!(different(&tokens(&caches).await).len(), 1);
    assert_eq!(fleet.issuer.counts().token_requests, 1);
    // And so at each renewal.
    for renewals in 2..5 {
        // A few of them renew it, which others then read.
        sleep(80 * SECOND).await;
        tokens(&caches).await;
        sleep(5 * SECOND).await;
        assert_eq!(different(&tokens(&caches).await).len(), 1);
        assert_eq!(fleet.issuer.counts().token_requests, renewals);
    }
}

#[tokio::test(start_paused = true)]
async fn a_warm_process_has_the_token_with_its_age_and_all_that_came_with_it() {
    let fleet = Fleet::new(issuer());
    let first = fleet.cache().token().await.unwrap();
    sleep(10 * MINUTE).await;
    let (process, began) = (fleet.process(), Instant::now());
    let second = fleet.cache_of(&process).token().await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!((second.secret(), second.scope()), (first.secret(), first.scope()));
    assert_eq!(second.issued_at().elapsed(), first.issued_at().elapsed());
    assert_eq!(second.lifetime(), first.lifetime());
    assert_eq!(fleet.issuer.counts().token_requests, 1);
    let status = process.status();
    assert_eq!((status.hits, status.exchanges, status.is_available), (1, 0, true));
}

#[tokio::test(start_paused = true)]
async fn another_process_takes_over_from_one_that_died_in_its_renewal() {
    let fleet = Fleet::new(issuer());
    let gate = fleet.issuer.hold();
    let dying = fleet.stored(&fleet.process());
    let dying = tokio::spawn(async move { obtain(&dying).await });
    sleep(SECOND).await;
    let (process, began) = (fleet.process(), Instant::now());
    let caches: Vec<_> = (0..8).map(|_| fleet.cache_of(&process)).collect();
    let waiting = tokio::spawn(async move { tokens(&caches).await });
    sleep(SECOND).await;
    dying.abort();
    gate.release();
    assert_eq!(different(&waiting.await.unwrap()).len(), 1);
    assert!(began.elapsed() < 6 * SECOND, "the lease is 5 s: {:?}", began.elapsed());
    assert_eq!(fleet.issuer.counts().token_requests, 2);
    let status = process.status();
    assert_eq!((status.takeovers, status.exchanges), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_is_slower_than_three_leases_is_asked_once() {
    let fleet = Fleet::new(issuer());
    fleet.issuer.delay(Duration::from_millis(3500));
    let caches: Vec<_> = (0..8)
        .map(|_| {
            let process =
                SharedStore::builder(fleet.store.clone(), keys()).lease(SECOND).wall_clock(fleet.clock()).build();
            fleet.cache_of(&process)
        })
        .collect();
    assert_eq!(different(&tokens(&caches).await).len(), 1);
    assert_eq!(fleet.issuer.counts().token_requests, 1);
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_fail_before_their_own_deadline_ends() {
    let fleet = Fleet::new(issuer());
    fleet.issuer.fail_until_cleared(Failure::Hang);
    let holder = fleet.stored(&fleet.process());
    let holder = tokio::spawn(async move { obtain(&holder).await });
    sleep(SECOND).await;
    let began = Instant::now();
    let error = obtain(&fleet.stored(&fleet.process())).await.unwrap_err();
    assert!(error.is_transient() && began.elapsed() >= 8 * SECOND && began.elapsed() < 9 * SECOND, "{error}");
    holder.abort();
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_is_sent_once_by_the_whole_fleet() {
    let fleet = Fleet::new(issuer());
    fleet.issuer.set_password("user1", "changed");
    let caches: Vec<_> = (0..16).map(|_| fleet.cache()).collect();
    let failed = tokens(&caches).await;
    assert_eq!(fleet.issuer.counts().token_requests, 1);
    let errors: Vec<_> = failed.into_iter().map(Result::unwrap_err).collect();
    for error in &errors {
        assert!(error.is_terminal() && error.oauth_code() == Some("invalid_grant"), "{error}");
    }
    let of_others = errors.iter().filter(|error| error.is_elsewhere()).count();
    assert_eq!(of_others, 150, "the others did not ask");
    assert!(errors.iter().any(|error| error.to_string().contains("another process of the fleet")));
    // Nor does a process that starts later.
    sleep(50 * SECOND).await;
    assert!(fleet.cache().token().await.unwrap_err().is_elsewhere());
    assert_eq!(fleet.issuer.counts().token_requests, 1);

    // Another password is another attempt, at once.
    let corrected = PasswordGrant::builder("https://issuer.test/token")
        .client_auth(ClientAuth::basic("client1", "client-secret"))
        .credentials("user1", "changed")
        .build_with(fleet.issuer.service())
        .unwrap();
    obtain(&Stored::new(corrected, &fleet.process())).await.unwrap();
    // The tokens of a user are those of all who know one of the passwords.
    obtain(&fleet.stored(&fleet.process())).await.unwrap();
    assert_eq!(fleet.issuer.counts().token_requests, 2);
}

#[tokio::test(start_paused = true)]
async fn each_of_two_wrong_passwords_is_sent_once_by_the_whole_fleet() {
    let fleet = Fleet::new(issuer());
    let source = |password: &str| {
        let grant = PasswordGrant::builder("https://issuer.test/token")
            .client_auth(ClientAuth::basic("client1", "client-secret"))
            .credentials("user1", password)
            .build_with(fleet.issuer.service())
            .unwrap();
        Stored::new(grant, &fleet.process())
    };
    for _ in 0..8 {
        for wrong in ["one", "other"] {
            assert_eq!(obtain(&source(wrong)).await.unwrap_err().oauth_code(), Some("invalid_grant"));
        }
    }
    assert_eq!(fleet.issuer.counts().token_requests, 2);
}

#[tokio::test(start_paused = true)]
async fn after_a_refusal_one_process_at_a_time_tries_again() {
    let fleet = Fleet::new(issuer());
    fleet.issuer.set_password("user1", "changed");
    let processes: Vec<_> = (0..16).map(|_| fleet.stored(&fleet.process())).collect();
    let mut asked_at = Vec::new();
    for second in 0..200 {
        let before = fleet.issuer.counts().token_requests;
        assert!(join_all(processes.iter().map(obtain)).await.iter().all(Result::is_err));
        asked_at.extend((before..fleet.issuer.counts().token_requests).map(|_| second));
        sleep(SECOND).await;
    }
    assert_eq!(asked_at, [0, 60, 180]);
}

/// An operator has unlocked the account.
#[tokio::test(start_paused = true)]
async fn a_reset_of_one_cache_ends_a_refusal_for_all() {
    let fleet = Fleet::new(issuer());
    fleet.issuer.fail_next(1, Failure::OAuth(400, "invalid_grant"));
    let (one, other) = (fleet.cache(), fleet.cache());
    one.token().await.unwrap_err();
    assert!(other.token().await.unwrap_err().is_elsewhere());
    one.reset();
    let token = one.token().await.unwrap();
    assert_eq!(fleet.cache().token().await.unwrap().secret(), token.secret());
    assert_eq!(fleet.issuer.counts().token_requests, 2);
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_the_holder_is_that_of_those_who_wait() {
    let fleet = Fleet::new(issuer());
    fleet.issuer.delay(SECOND);
    fleet.issuer.fail_next(1, Failure::Status(503));
    let processes: Vec<_> = (0..16).map(|_| fleet.stored(&fleet.process())).collect();
    let failed = join_all(processes.iter().map(obtain)).await;
    assert_eq!(fleet.issuer.counts().token_requests, 1);
    for error in failed.into_iter().map(Result::unwrap_err) {
        assert!(error.is_transient() && error.status().is_some_and(|status| status == 503), "{error}");
    }
    // It holds back nobody who comes later.
    obtain(&processes[0]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn nobody_gets_anothers_token() {
    let fleet = Fleet::new(issuer());
    let source = |user: &str, client: &str, scope: &str, server: &str| {
        let grant = PasswordGrant::builder(server)
            .client_auth(ClientAuth::post(client, "s"))
            .credentials(user, "p")
            .scope(scope)
            .build_with(fleet.issuer.service())
            .unwrap();
        Stored::new(grant, &fleet.process())
    };
    for n in 1..=10 {
        fleet
            .issuer
            .answer_next(json!({ "access_token": format!("t{n}"), "token_type": "Bearer", "expires_in": 3600 }));
    }
    let mut seen = BTreeSet::new();
    for (user, client, scope, server) in [
        ("u", "c", "a", "https://one.test/token"),
        ("u2", "c", "a", "https://one.test/token"),
        ("u", "c2", "a", "https://one.test/token"),
        ("u", "c", "a b", "https://one.test/token"),
        ("u", "c", "a", "https://two.test/token"),
    ] {
        let token = obtain(&source(user, client, scope, server)).await.unwrap();
        assert!(seen.insert(token.secret().to_owned()));
        assert_eq!(obtain(&source(user, client, scope, server)).await.unwrap().secret(), token.secret());
    }
    let cache = TokenCache::new(source("u", "c", "a b", "https://one.test/token"));
    let narrowed = cache.narrowed(&Narrowing::new().with_scope("a").unwrap()).unwrap();
    assert_eq!(narrowed.token().await.unwrap().secret(), "t1", "it is the token of those who ask for this scope");
    assert_eq!(cache.token().await.unwrap().secret(), "t4");
}

/// A change of what is asked for is another token. A change of a secret is not, nor is one of where a secret is kept.
#[tokio::test(start_paused = true)]
async fn the_identity_of_a_grant_is_all_that_shapes_its_token() {
    const URL: &str = "https://issuer.test/token";
    let fleet = Fleet::new(issuer());
    let service = || fleet.issuer.service();
    let client = |secret: &str| ClientCredentials::builder(URL).client_auth(ClientAuth::basic("client1", secret));
    let exchange = |subject: Secret, kind: &str| {
        TokenExchange::builder(URL)
            .client_auth(ClientAuth::none("c"))
            .subject_token(subject, kind)
            .build_with(service())
            .unwrap()
    };
    let bearer = |assertion: &str| {
        JwtBearer::builder(URL).client_auth(ClientAuth::none("c")).assertion(assertion).build_with(service()).unwrap()
    };
    let changing = || Secret::from_fn(|| async { Ok("s1".into()) });
    let file = scratch("secret");
    std::fs::write(&file, "s1").unwrap();
    let same: [[BoxTokenSource; 2]; 3] = [
        [client("one").build_with(service()).unwrap().boxed(), client("other").build_with(service()).unwrap().boxed()],
        [bearer("a1").boxed(), bearer("a1").boxed()],
        [exchange("s1".into(), "jwt").boxed(), exchange(Secret::file(&file), "jwt").boxed()],
    ];
    let others: [BoxTokenSource; 6] = [
        client("one").scope("a").build_with(service()).unwrap().boxed(),
        client("one").resource("https://a.test").build_with(service()).unwrap().boxed(),
        client("one").param("tenant", "t").build_with(service()).unwrap().boxed(),
        bearer("a2").boxed(),
        exchange("s2".into(), "jwt").boxed(),
        exchange("s1".into(), "saml").boxed(),
    ];
    let mut keys = BTreeSet::new();
    let mut key_of = async |source: &BoxTokenSource| {
        let before = fleet.store.records().len();
        fleet.issuer.answer_next(json!({ "access_token": "t", "token_type": "Bearer", "issued_token_type": "x" }));
        obtain(&Stored::new(source.clone(), &fleet.process())).await.unwrap();
        fleet.issuer.clear_failures();
        let records = fleet.store.records();
        keys.extend(records.iter().map(|(key, _)| key.to_string()));
        records.len() - before
    };
    for [one, other] in &same {
        assert_eq!((key_of(one).await, key_of(other).await), (1, 0), "{one:?} {other:?}");
    }
    for other in &others {
        assert_eq!(key_of(other).await, 1, "{other:?}");
    }
    assert_eq!(keys.len(), 9);
    let error = obtain(&Stored::new(exchange(changing(), "jwt"), &fleet.process())).await.unwrap_err();
    assert!(error.is_config(), "a function may return another user's token: {error}");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_does_not_say_whose_tokens_it_gets_needs_a_name() {
    let fleet = Fleet::new(issuer());
    let source =
        |token: &'static str| Stored::new(from_fn(move |_| async move { AccessToken::new(token) }), &fleet.process());
    let error = obtain(&source("a")).await.unwrap_err();
    assert!(error.is_config() && error.to_string().contains("call `named`"), "{error}");
    assert_eq!(obtain(&source("a").named("one")).await.unwrap().secret(), "a");
    assert_eq!(obtain(&source("b").named("one")).await.unwrap().secret(), "a");
    assert_eq!(obtain(&source("b").named("other")).await.unwrap().secret(), "b");
}

#[tokio::test(start_paused = true)]
async fn keys_rotate_without_a_token_request() {
    let fleet = Fleet::new(issuer());
    let (old, new) = (SealingKey::new(&[1; 32]), SealingKey::new(&[2; 32]));
    let with = |keys: SealingKeys| {
        let process = SharedStore::builder(fleet.store.clone(), keys).wall_clock(fleet.clock()).build();
        (Stored::new(grant(fleet.issuer.service()), &process), process)
    };
    let before = with(SealingKeys::new(old.clone()));
    let prepared = with(SealingKeys::new(old.clone()).opens_with(new.clone()));
    let rotated = with(SealingKeys::new(new.clone()).opens_with(old.clone()).names_with(old.clone()));
    let after = with(SealingKeys::new(new.clone()).names_with(old));
    for (source, process) in [&before, &prepared, &rotated] {
        obtain(source).await.unwrap();
        assert_eq!(process.status().unreadable, 0);
    }
    assert_eq!(fleet.issuer.counts().token_requests, 1);
    rotated.0.obtain(Reason::Ageing).await.unwrap();
    obtain(&after.0).await.unwrap();
    assert_eq!(fleet.issuer.counts().token_requests, 2);
    // A process without the key gets its own, and so does not stop.
    obtain(&before.0).await.unwrap();
    assert_eq!(before.1.status().unreadable, 2, "at both readings");
    assert_eq!(fleet.issuer.counts().token_requests, 3);
}

#[tokio::test(start_paused = true)]
async fn a_pool_shares_the_token_of_each_identity() {
    let fleet = Fleet::new(issuer());
    let pool = || {
        let (process, service) = (fleet.process(), fleet.issuer.service());
        TokenPool::new(move |user: &String| {
            let grant: PasswordGrant<IssuerService> = PasswordGrant::builder("https://issuer.test/token")
                .client_auth(ClientAuth::basic("client1", "client-secret"))
                .credentials(user, "user-password")
                .build_with(service.clone())?;
            Ok(Stored::new(grant, &process))
        })
    };
    fleet.issuer.set_password("user2", "user-password");
    let (one, other) = (pool(), pool());
    for user in ["user1", "user2"].map(str::to_owned) {
        let tokens =
            [one.cache(&user).unwrap().token().await.unwrap(), other.cache(&user).unwrap().token().await.unwrap()];
        assert_eq!(tokens[0].secret(), tokens[1].secret());
    }
    assert_eq!(fleet.issuer.counts().token_requests, 2);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_lives_for_a_second_is_shared_too() {
    let fleet = Fleet::new(issuer());
    fleet.issuer.amend_next(json!({ "expires_in": 1 }));
    obtain(&fleet.stored(&fleet.process())).await.unwrap();
    obtain(&fleet.stored(&fleet.process())).await.unwrap();
    assert_eq!(fleet.issuer.counts().token_requests, 1);
    sleep(SECOND).await;
    obtain(&fleet.stored(&fleet.process())).await.unwrap();
    assert_eq!(fleet.issuer.counts().token_requests, 2);
}
