//! A server that is killed, that hangs, or that refuses the login.

use std::{io, time::Duration};

use tokio::{
    net::TcpListener,
    time::{Instant, timeout},
};
use tower_bearer::store::TokenStore;
use tower_bearer_redis::RedisStore;

use crate::{
    proxy::Proxy,
    server::{Server, Version, query},
    support::{SLACK, commit, given, key, owner, record, recovered},
};

const LIMIT: Duration = Duration::from_millis(250);

#[tokio::test]
async fn a_server_that_was_killed_and_started_again_is_used_at_once() {
    let Some(mut server) = Server::start(Version::Redis7, &[]) else { return };
    let store = RedisStore::new(&server.url()).unwrap();
    let lease = given(&store, key(), owner()).await;
    server.kill();
    for _ in 0..20 {
        let error = store.load(key()).await.unwrap_err();
        let expected = "the connection to the Redis server failed: connection refused";
        assert!(error.to_string().ends_with(expected), "{error}");
    }
    assert!(!store.status().connected);
    assert!(store.status().last_error.is_some());
    server.restart();
    store.load(key()).await.expect("the first call after the restart");
    assert!(store.status().connected && store.status().last_error.is_none() && store.status().reconnects > 0);
    assert!(given(&store, key(), owner()).await.fence > lease.fence);
}

#[tokio::test]
async fn a_connection_that_was_cut_is_not_noticed() {
    let Some(server) = Server::start(Version::Redis7, &[]) else { return };
    let store = RedisStore::new(&server.url()).unwrap();
    for _ in 0..5 {
        store.load(key()).await.expect("load");
        server.run("CLIENT KILL TYPE normal SKIPME yes");
        given(&store, key(), owner()).await;
    }
    assert!(store.status().reconnects > 0);
}

#[tokio::test]
async fn each_call_to_a_server_that_hangs_ends_and_it_is_used_again_when_it_goes_on() {
    let Some(server) = Server::start(Version::Redis7, &[]) else { return };
    let store = RedisStore::new(&server.url()).unwrap();
    let (mine, me) = (key(), owner());
    store.load(mine).await.unwrap();
    server.signal("-STOP");
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(2) {
        let call = Instant::now();
        let error = store.lease(mine, me, Duration::from_secs(60)).await.unwrap_err();
        assert!(error.to_string().ends_with("the Redis server did not answer within 250ms"), "{error}");
        assert!(call.elapsed() < LIMIT + SLACK, "{:?}", call.elapsed());
    }
    assert!(!store.status().connected);
    server.signal("-CONT");
    let took = recovered(&store).await;
    println!("recovered in {took:?}");
    assert!(took < Duration::from_secs(1) + SLACK, "{took:?}");
    // The attempts to get the lease may have run: it is this owner's in any case.
    given(&store, mine, me).await;
}

#[tokio::test]
async fn many_calls_that_wait_for_a_connection_end_within_the_limit() {
    // It accepts, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let store = RedisStore::new(&format!("redis://:password@{}", silent.local_addr().unwrap())).unwrap();
    let start = Instant::now();
    let calls = (0..200).map(|_| store.load(key()));
    for result in futures_util::future::join_all(calls).await {
        assert!(result.is_err());
    }
    assert!(start.elapsed() < LIMIT + SLACK, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_connection_that_went_deaf_is_replaced_also_if_the_caller_waits_less() {
    let Some(server) = Server::start(Version::Redis7, &[]) else { return };
    let proxy = Proxy::start(server.port).await;
    let store = RedisStore::new(&proxy.url()).unwrap();
    store.load(key()).await.unwrap();
    proxy.deafen();
    let start = Instant::now();
    let mut waited = 0;
    while timeout(LIMIT / 2, store.load(key())).await.is_err() {
        waited += 1;
        assert!(start.elapsed() < Duration::from_secs(20), "the connection was not replaced: {:?}", store.status());
    }
    assert!(waited > 0, "the proxy is not deaf");
}

#[tokio::test]
async fn a_password_that_was_changed_and_put_back_is_accepted_again() {
    let Some(server) = Server::start(Version::Redis7, &["--requirepass", "first"]) else { return };
    let mut admin =
        redis::Client::open(format!("redis://:first@127.0.0.1:{}", server.port)).unwrap().get_connection().unwrap();
    let store = RedisStore::builder(&server.url()).password("first").build().unwrap();
    store.load(key()).await.unwrap();

    query(&mut admin, "CONFIG SET requirepass second");
    query(&mut admin, "CLIENT KILL TYPE normal SKIPME yes");
    for _ in 0..3 {
        let error = store.load(key()).await.unwrap_err().to_string();
        assert!(error.ends_with("the Redis server refused the user or the password: check both"), "{error}");
        assert!(store.status().last_error.unwrap().is_login());
    }
    query(&mut admin, "CONFIG SET requirepass first");
    store.load(key()).await.expect("the first call with the right password");
}

#[tokio::test]
async fn a_password_from_a_function_is_read_for_each_connection() {
    let Some(server) = Server::start(Version::Redis7, &["--requirepass", "first"]) else { return };
    let mut admin =
        redis::Client::open(format!("redis://:first@127.0.0.1:{}", server.port)).unwrap().get_connection().unwrap();
    let (set, now) = tokio::sync::watch::channel(Ok("first"));
    let store = RedisStore::builder(&server.url()).password_from(move || {
        let now: Result<&str, &str> = *now.borrow();
        async move { Ok(now.map_err(io::Error::other)?.into()) }
    });
    let store = store.build().unwrap();
    store.load(key()).await.unwrap();

    query(&mut admin, "CONFIG SET requirepass second");
    query(&mut admin, "CLIENT KILL TYPE normal SKIPME yes");
    assert!(store.load(key()).await.is_err());
    set.send(Err("the vault is closed")).unwrap();
    let error = store.load(key()).await.unwrap_err().to_string();
    assert!(error.ends_with("the password of the Redis store could not be read: the vault is closed"), "{error}");
    set.send(Ok("second")).unwrap();
    store.load(key()).await.unwrap();
}

#[tokio::test]
async fn a_missing_password_is_told_from_an_outage() {
    let Some(server) = Server::start(Version::Redis7, &["--requirepass", "first"]) else { return };
    for url in [server.url(), format!("redis://:wrong@127.0.0.1:{}", server.port)] {
        let store = RedisStore::new(&url).unwrap();
        let error = store.load(key()).await.unwrap_err().to_string();
        assert!(error.ends_with("the Redis server refused the user or the password: check both"), "{error}");
    }
}

#[tokio::test]
async fn the_scripts_are_sent_again_when_the_server_forgot_them() {
    for version in [Version::Redis7, Version::Redis62, Version::Valkey9] {
        let Some(server) = Server::start(version, &[]) else { continue };
        let store = RedisStore::new(&server.url()).unwrap();
        let key = key();
        for turn in 0..3u8 {
            server.run("SCRIPT FLUSH");
            let lease = given(&store, key, owner()).await;
            server.run("SCRIPT FLUSH");
            assert!(commit(&store, key, lease, &[turn]).await.unwrap());
            server.run("SCRIPT FLUSH");
            assert_eq!(record(&store, key).await, Some(vec![turn]));
            server.run("SCRIPT FLUSH");
            store.release(key, lease).await.unwrap();
        }
        assert_eq!(store.status().reconnects, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_outlives_the_runtime_that_connected_it() {
    let Some(server) = Server::start(Version::Redis7, &[]) else { return };
    let store = RedisStore::new(&server.url()).unwrap();
    let used = store.clone();
    let other = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(used.load(key())).unwrap();
        drop(used.news());
        // It is neither run nor dropped: its connection stays open and does nothing.
        runtime
    });
    let runtime = other.join().unwrap();
    recovered(&store).await;
    runtime.shutdown_background();
    store.load(key()).await.unwrap();
}

#[test]
fn without_a_runtime_a_call_fails() {
    let store = RedisStore::new("redis://127.0.0.1:1").unwrap();
    drop(store.news());
    let error = futures_util::FutureExt::now_or_never(store.load(key())).unwrap().unwrap_err();
    assert!(error.to_string().ends_with("the Redis store needs a Tokio runtime: call it inside of one"), "{error}");
}
