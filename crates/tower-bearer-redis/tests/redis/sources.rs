//! A whole source on a server with a fault: a cache, what shares its tokens, and the store. No request fails, and each fault is counted.

use std::time::Duration;

use redis::Value;
use tokio::time::{Instant, sleep};
use tower_bearer::{
    PasswordGrant, TokenCache,
    grant::ClientAuth,
    store::{Sealing, SealingKey, SealingKeys, SharedStore, StoreError, Stored},
    testing::Issuer,
};
use tower_bearer_redis::RedisStore;

use crate::{
    server::{Server, Version, eventually, query},
    support::{SLACK, patient},
};

/// A process of a fleet, all in this one.
struct Process {
    cache: TokenCache,
    shared: SharedStore,
}

impl Process {
    /// One that takes a slow machine for no outage.
    fn new(issuer: &Issuer, server: &Server) -> Self {
        Self::sealed(issuer, server, keys(7))
    }

    fn sealed(issuer: &Issuer, server: &Server, sealing: impl Sealing) -> Self {
        let store = patient(&server.url()).unwrap();
        let shared = SharedStore::builder(store, sealing).deadline(Duration::from_secs(5)).build();
        Self::sharing(issuer, shared)
    }

    fn sharing(issuer: &Issuer, shared: SharedStore) -> Self {
        let grant = PasswordGrant::builder("https://issuer.test/token")
            .client_auth(ClientAuth::basic("client1", "client-secret"))
            .credentials("user1", "user-password")
            .build_with(issuer.service())
            .unwrap();
        Self { cache: TokenCache::new(Stored::new(grant, &shared)), shared }
    }

    async fn token(&self) -> String {
        self.cache.token().await.expect("no request fails because of the store").secret().to_owned()
    }

    /// Gets another token, after an API rejected the one that it has.
    async fn rejected(&self) -> String {
        self.cache.invalidate(&self.cache.token().await.unwrap());
        self.token().await
    }
}

fn keys(byte: u8) -> SealingKeys {
    SealingKeys::new(SealingKey::new(&[byte; 32]))
}

/// Returns the name of the only record.
fn record_name(server: &Server) -> String {
    let Value::Array(mut names) = server.run("KEYS *:record") else { panic!() };
    assert_eq!(names.len(), 1);
    redis::from_redis_value(names.remove(0)).unwrap()
}

#[tokio::test]
async fn an_evicted_record_costs_one_token_request() {
    let arguments = ["--maxmemory", "4mb", "--maxmemory-policy", "allkeys-lru"];
    let Some(server) = Server::start(Version::Redis7, &arguments) else { return };
    let issuer = Issuer::new();
    let first = Process::new(&issuer, &server).token().await;

    let (mut connection, value, mut number) = (server.connect(), "v".repeat(4096), 0);
    let mut write = |connection: &mut redis::Connection| {
        number += 1;
        assert!(number < 200_000, "nothing is evicted");
        query(connection, &format!("SET other:{number} {value}"));
    };
    let exists = format!("EXISTS {}", record_name(&server));
    while query(&mut connection, &exists) != Value::Int(0) {
        (0..500).for_each(|_| write(&mut connection));
    }
    let process = Process::new(&issuer, &server);
    let second = process.token().await;
    assert_ne!(first, second);
    // While the server is at its limit, and others write.
    write(&mut connection);
    let other = Process::new(&issuer, &server);
    assert_eq!(other.token().await, second);
    assert_eq!(issuer.counts().token_requests, 2);
    assert_eq!((process.shared.status().absent, process.shared.status().exchanges), (2, 1), "at both readings");
    assert_eq!((other.shared.status().hits, other.shared.status().failures), (1, 0));
}

#[tokio::test]
async fn with_a_full_server_each_process_asks_for_itself() {
    let Some(server) = Server::start(Version::Redis7, &["--maxmemory-policy", "noeviction"]) else { return };
    let issuer = Issuer::new();
    let warm = Process::new(&issuer, &server);
    let shared = warm.token().await;
    server.run("CONFIG SET maxmemory 1");
    // What is there can be read.
    let process = Process::new(&issuer, &server);
    assert_eq!(process.token().await, shared);
    assert_ne!(warm.rejected().await, shared);
    assert_ne!(process.rejected().await, shared);
    for process in [warm, process] {
        let status = process.shared.status();
        assert!(status.alone == 1 && status.failures > 0, "{status:?}");
    }
    assert_eq!(issuer.counts().token_requests, 3);
}

#[tokio::test]
async fn with_a_read_only_replica_each_process_asks_for_itself() {
    let Some(master) = Server::start(Version::Redis7, &["--repl-diskless-sync-delay", "0"]) else { return };
    let replica_of = format!("127.0.0.1 {}", master.port);
    let Some(replica) = Server::start(Version::Redis7, &["--replicaof", &replica_of]) else { return };
    let issuer = Issuer::new();
    let shared = Process::new(&issuer, &master).token().await;
    eventually("a record in the replica", || (replica.run("KEYS *:record") != Value::Array(vec![])).then_some(()));
    let processes = [Process::new(&issuer, &replica), Process::new(&issuer, &replica)];
    for process in &processes {
        assert_eq!(process.token().await, shared, "what is there can be read");
    }
    assert_eq!(issuer.counts().token_requests, 1);
    for process in &processes {
        assert_ne!(process.rejected().await, shared);
        let status = process.shared.status();
        assert!(status.hits == 1 && status.alone == 1 && status.failures > 0, "{status:?}");
    }
    assert_eq!(issuer.counts().token_requests, 3);
}

#[tokio::test]
async fn a_server_that_hangs_delays_a_request_by_its_limit_and_is_used_again_when_it_goes_on() {
    let Some(server) = Server::start(Version::Redis7, &[]) else { return };
    let issuer = Issuer::new();
    let process = || Process::sharing(&issuer, SharedStore::new(RedisStore::new(&server.url()).unwrap(), keys(7)));
    let (one, other) = (process(), process());
    server.signal("-STOP");
    for (requests, process) in (1..).zip([&one, &other]) {
        let start = Instant::now();
        process.token().await;
        assert!(start.elapsed() < Duration::from_millis(250) + SLACK, "{:?}", start.elapsed());
        let status = process.shared.status();
        assert!(status.alone == 1 && status.failures > 0 && !status.is_available, "{status:?}");
        assert_eq!(issuer.counts().token_requests, requests);
    }
    server.signal("-CONT");
    // No renewal is needed for that.
    while !(one.shared.status().is_available && other.shared.status().is_available) {
        sleep(Duration::from_millis(20)).await;
    }
    let next = one.rejected().await;
    assert_eq!(other.rejected().await, next);
    assert_eq!(issuer.counts().token_requests, 3);
}

#[tokio::test]
async fn garbage_in_the_key_is_a_miss_and_is_replaced() {
    for version in [Version::Redis7, Version::Redis62, Version::Valkey9] {
        let Some(server) = Server::start(version, &[]) else { continue };
        let issuer = Issuer::new();
        let mut last = Process::new(&issuer, &server).token().await;
        let record = record_name(&server);
        let lease = record.replace(":record", ":lease");
        for (requests, garbage) in (2..).zip([
            "SET {} garbage",
            "SETRANGE {} 30 garbage",
            "LPUSH {} garbage",
            "HSET {} owner garbage",
            "SET {} ",
        ]) {
            if !garbage.starts_with("SETRANGE") {
                server.run(&format!("DEL {record}"));
            }
            server.run(&garbage.replace("{}", &record));
            server.run(&format!("DEL {lease}"));
            match garbage.split(' ').next() {
                Some("HSET") => server.run(&format!("HSET {lease} owner garbage fence garbage ends garbage")),
                _ => server.run(&garbage.replace("{}", &lease)),
            };
            let process = Process::new(&issuer, &server);
            let next = process.token().await;
            assert_ne!(next, last, "{garbage}");
            let status = process.shared.status();
            let counts = (status.unreadable, status.exchanges, status.failures);
            assert_eq!(counts, (2, 1, 0), "{version:?}, {garbage}: at both readings");
            assert_eq!(Process::new(&issuer, &server).token().await, next, "{garbage}");
            assert_eq!(issuer.counts().token_requests, requests, "{garbage}");
            last = next;
        }
    }
}

#[tokio::test]
async fn a_record_that_was_sealed_by_an_unknown_key_is_a_miss_and_is_replaced() {
    let Some(server) = Server::start(Version::Redis7, &[]) else { return };
    let issuer = Issuer::new();
    let (old, new) = (SealingKey::new(&[1; 32]), SealingKey::new(&[2; 32]));
    let first = Process::sealed(&issuer, &server, SealingKeys::new(new).names_with(old.clone())).token().await;
    let without = || Process::sealed(&issuer, &server, SealingKeys::new(old.clone()));
    let process = without();
    let second = process.token().await;
    assert_ne!(first, second);
    let status = process.shared.status();
    assert_eq!((status.unreadable, status.exchanges, status.failures), (2, 1, 0), "at both readings");
    assert_eq!(without().token().await, second);
    assert_eq!(issuer.counts().token_requests, 2);
}

/// Seals nothing, so that the test can change a record.
struct Unsealed;

impl Sealing for Unsealed {
    fn seal(&self, record: &[u8], _associated: &[u8]) -> Result<Vec<u8>, StoreError> {
        Ok(record.to_vec())
    }

    fn open(&self, sealed: &[u8], _associated: &[u8]) -> Option<Vec<u8>> {
        Some(sealed.to_vec())
    }

    fn hash(&self, data: &[u8]) -> [u8; 32] {
        keys(7).hash(data)
    }
}

#[tokio::test]
async fn a_record_of_another_format_is_a_miss_and_is_replaced() {
    let Some(server) = Server::start(Version::Redis7, &[]) else { return };
    let issuer = Issuer::new();
    let mut last = Process::sealed(&issuer, &server, Unsealed).token().await;
    let name = record_name(&server);
    // An older one and a newer one.
    for (requests, format) in (2..).zip([0_u8, 2]) {
        let mut connection = server.connect();
        let format = [format];
        redis::cmd("SETRANGE").arg(&name).arg(0).arg(&format[..]).query::<Value>(&mut connection).unwrap();
        let process = Process::sealed(&issuer, &server, Unsealed);
        let next = process.token().await;
        assert_ne!(next, last);
        let status = process.shared.status();
        assert_eq!((status.unreadable, status.exchanges, status.failures), (2, 1, 0), "at both readings");
        assert_eq!(Process::sealed(&issuer, &server, Unsealed).token().await, next);
        assert_eq!(issuer.counts().token_requests, requests);
        last = next;
    }
}
