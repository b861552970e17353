//! Data that the server lost, by a restart, by eviction or by a user.

use redis::Value;
use tower_bearer::store::TokenStore;

use crate::{
    server::{Server, Version, query},
    support::{commit, given, key, owner, patient, record},
};

#[tokio::test]
async fn a_fence_is_never_given_twice() {
    for version in [Version::Redis7, Version::Redis62, Version::Valkey9] {
        let Some(mut server) = Server::start(version, &[]) else { continue };
        let store = patient(&server.url()).unwrap();
        let key = key();
        let mut last = given(&store, key, owner()).await;
        for turn in 0..6 {
            match turn % 3 {
                0 => drop(server.run("FLUSHALL")),
                1 => {
                    // Nothing is saved.
                    server.kill();
                    server.restart();
                }
                _ => drop(server.run(&format!("DEL tower-bearer:{{{key}}}:lease"))),
            }
            let lease = given(&store, key, owner()).await;
            assert!(lease.fence > last.fence, "{version:?}: {} after {}", lease.fence, last.fence);
            assert!(!commit(&store, key, last, b"late").await.unwrap(), "{version:?}: a lost lease committed");
            last = lease;
        }
    }
}

#[tokio::test]
async fn a_fence_grows_also_when_the_clock_goes_back() {
    let Some(server) = Server::start(Version::Redis7, &[]) else { return };
    let store = patient(&server.url()).unwrap();
    let key = key();
    let lease = given(&store, key, owner()).await;
    store.release(key, lease).await.unwrap();
    // A server whose clock was an hour ahead gave this one.
    let ahead = lease.fence + 3_600_000_000;
    server.run(&format!("HSET tower-bearer:{{{key}}}:lease fence {ahead}"));
    assert_eq!(given(&store, key, owner()).await.fence, ahead + 1);
}

#[tokio::test]
async fn keys_end_and_no_time_is_too_long() {
    let Some(server) = Server::start(Version::Redis7, &[]) else { return };
    let store = patient(&server.url()).unwrap();
    let key = key();
    store.lease(key, owner(), std::time::Duration::MAX).await.unwrap();
    server.run("FLUSHALL");
    let lease = given(&store, key, owner()).await;
    assert!(store.commit(key, lease, vec![1], std::time::Duration::MAX).await.unwrap());
    for what in ["record", "lease"] {
        let left = server.run(&format!("PTTL tower-bearer:{{{key}}}:{what}"));
        assert!(matches!(left, Value::Int(1..)), "{what}: {left:?}");
    }
}

#[tokio::test]
async fn evicted_records_are_missing_and_the_store_warns() {
    for version in [Version::Redis7, Version::Valkey9] {
        let arguments = ["--maxmemory", "4mb", "--maxmemory-policy", "allkeys-lru"];
        let Some(server) = Server::start(version, &arguments) else { continue };
        let store = patient(&server.url()).unwrap();
        let key = key();
        let lease = given(&store, key, owner()).await;
        assert!(commit(&store, key, lease, b"record").await.unwrap());

        let mut connection = server.connect();
        let exists = format!("EXISTS tower-bearer:{{{key}}}:record tower-bearer:{{{key}}}:lease");
        let value = "v".repeat(4096);
        let mut number = 0;
        while query(&mut connection, &exists) != Value::Int(0) {
            for _ in 0..500 {
                number += 1;
                query(&mut connection, &format!("SET other:{number} {value}"));
            }
            assert!(number < 200_000, "nothing is evicted");
        }
        assert_eq!(record(&store, key).await, None);
        assert!(!commit(&store, key, lease, b"late").await.unwrap(), "an evicted lease committed");
        let next = given(&store, key, owner()).await;
        assert!(next.fence > lease.fence, "{} after {}", next.fence, lease.fence);
        assert_eq!(store.status().evicts, Some(true));
    }
}

#[tokio::test]
async fn a_server_that_evicts_is_warned_of_once() {
    use std::{
        io,
        sync::{Arc, Mutex},
    };
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);
    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let arguments = ["--maxmemory", "100mb", "--maxmemory-policy", "volatile-ttl"];
    let Some(server) = Server::start(Version::Redis7, &arguments) else { return };
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let store = patient(&server.url()).unwrap();
    while store.status().evicts.is_none() {
        store.load(key()).await.unwrap();
        server.run("CLIENT KILL TYPE normal SKIPME yes");
    }
    store.load(key()).await.unwrap();
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert_eq!(text.matches("may drop tokens and leases").count(), 1, "{text}");
    assert!(text.contains("volatile-ttl"), "{text}");
}
