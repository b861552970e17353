//! The contract of all stores.

use tower_bearer::conformance;
use tower_bearer_redis::RedisStore;

use crate::{
    server::{Server, Version},
    support::patient,
};

async fn check(version: Version) {
    let Some(server) = Server::start(version, &[]) else { return };
    conformance::check_store(patient(&server.url()).unwrap()).await;
}

#[tokio::test]
async fn redis_7_keeps_the_contract() {
    check(Version::Redis7).await;
}

#[tokio::test]
async fn redis_6_2_keeps_the_contract() {
    check(Version::Redis62).await;
}

#[tokio::test]
async fn valkey_9_keeps_the_contract() {
    check(Version::Valkey9).await;
}

#[tokio::test]
async fn a_unix_socket_is_a_server_as_well() {
    let socket = std::env::temp_dir().join(format!("tower-bearer-{}.sock", fastrand::u64(..)));
    let Some(_server) = Server::start(Version::Redis7, &["--unixsocket", &socket.display().to_string()]) else {
        return;
    };
    let store = patient(&format!("unix://{}", socket.display())).unwrap();
    crate::support::given(&store, crate::support::key(), crate::support::owner()).await;
}

#[tokio::test]
async fn databases_and_prefixes_are_kept_apart() {
    let Some(server) = Server::start(Version::Redis7, &[]) else { return };
    let one = RedisStore::builder(&server.url()).prefix("one").build().unwrap();
    let other = RedisStore::builder(&server.url()).prefix("other").build().unwrap();
    let database = RedisStore::builder(&format!("{}/3", server.url())).prefix("one").build().unwrap();
    let key = crate::support::key();
    for store in [&one, &other, &database] {
        crate::support::given(store, key, crate::support::owner()).await;
    }
    let redis::Value::Array(keys) = server.run("KEYS one:*") else { panic!() };
    assert_eq!(keys.len(), 1);
}
