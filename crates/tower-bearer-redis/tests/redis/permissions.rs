//! A user with the least rights, and servers that refuse.

use redis::Value;
use tower_bearer::store::TokenStore;
use tower_bearer_redis::RedisStore;

use crate::{
    server::{Server, Version, query},
    support::{MINUTE, commit, given, key, owner, patient, record},
};

/// The rule that the README names.
pub(crate) fn rule() -> String {
    let readme = include_str!("../../README.md");
    let rule = readme.lines().find(|line| line.starts_with("user tokens ")).expect("the README has the rule");
    rule.replace(">s3cret", ">password").replace("user tokens", "ACL SETUSER tokens")
}

#[tokio::test]
async fn the_rights_of_the_readme_are_enough() {
    for version in [Version::Redis7, Version::Redis62, Version::Valkey9] {
        let Some(server) = Server::start(version, &[]) else { continue };
        server.run(&rule());
        let url = format!("redis://tokens:password@127.0.0.1:{}", server.port);
        tower_bearer::conformance::check_store(patient(&url).unwrap()).await;
        let refused = server.run("ACL LOG");
        assert_eq!(refused, Value::Array(vec![]), "{version:?}");
        // And no more than that.
        for (command, allowed) in [("GET tower-bearer:{1}:record", true), ("GET other", false), ("KEYS *", false)] {
            let mut connection = redis::Client::open(url.clone()).unwrap().get_connection().unwrap();
            let mut words = command.split(' ');
            let answer =
                redis::cmd(words.next().unwrap()).arg(words.collect::<Vec<_>>()).query::<Value>(&mut connection);
            assert_eq!(answer.is_ok(), allowed, "{version:?}");
        }
    }
}

#[tokio::test]
async fn missing_rights_are_told_by_their_code() {
    let Some(server) = Server::start(Version::Redis7, &[]) else { return };
    for (rule, expected) in [
        ("~tower-bearer:* &* +@all -evalsha", "refused with NOPERM: the user's ACL rule"),
        ("~other:* &* +@all", "refused with NOPERM: the user's ACL rule"),
        ("~tower-bearer:* &* +@all -time", "refused with ERR: it may lack a command, or the user's ACL rule"),
    ] {
        server.run(&format!("ACL SETUSER weak reset on >password {rule}"));
        let url = format!("redis://weak:password@127.0.0.1:{}", server.port);
        let error = patient(&url).unwrap().load(key()).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_replica_is_read_and_says_that_it_is_one() {
    let Some(master) = Server::start(Version::Redis7, &["--repl-diskless-sync-delay", "0"]) else { return };
    let Some(replica) = Server::start(Version::Redis7, &["--replicaof", &format!("127.0.0.1 {}", master.port)]) else {
        return;
    };
    let (of_master, of_replica) = (patient(&master.url()).unwrap(), patient(&replica.url()).unwrap());
    let key = key();
    let lease = given(&of_master, key, owner()).await;
    assert!(commit(&of_master, key, lease, b"record").await.unwrap());
    while record(&of_replica, key).await.as_deref() != Some(b"record") {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let error = commit(&of_replica, key, lease, b"other").await.unwrap_err().to_string();
    assert!(error.contains("refused with READONLY: it is a replica"), "{error}");
    assert_eq!(of_replica.status().last_error.unwrap().code(), Some("READONLY"));
    query(&mut replica.connect(), "REPLICAOF NO ONE");
    assert!(commit(&of_replica, key, lease, b"other").await.unwrap(), "the replica became a master");
}

#[tokio::test]
async fn a_server_without_memory_reads_and_releases() {
    let Some(server) = Server::start(Version::Redis7, &[]) else { return };
    let store = patient(&server.url()).unwrap();
    let key = key();
    let lease = given(&store, key, owner()).await;
    assert!(commit(&store, key, lease, b"record").await.unwrap());
    server.run("CONFIG SET maxmemory 1");
    let error = commit(&store, key, lease, b"other").await.unwrap_err().to_string();
    assert!(error.contains("refused with OOM: it has no memory left"), "{error}");
    assert_eq!(record(&store, key).await.as_deref(), Some(&b"record"[..]));
    store.release(key, lease).await.unwrap();
    assert_eq!(store.load(key).await.unwrap().leased_for, None);
    server.run("CONFIG SET maxmemory 0");
    server.run("CONFIG SET min-replicas-to-write 1");
    let error = store.lease(key, owner(), MINUTE).await.unwrap_err().to_string();
    assert!(error.contains("refused with NOREPLICAS: too few of its replicas are connected"), "{error}");
    assert_eq!(store.load(key).await.unwrap().leased_for, None, "a lease that was refused is held");
    server.run("CONFIG SET min-replicas-to-write 0");
    assert!(given(&store, key, owner()).await.fence > lease.fence);
    assert_eq!(store.status().reconnects, 0, "a server that refuses is not connected to again");
}

#[tokio::test]
async fn nothing_that_was_stored_and_no_password_is_shown() {
    let Some(server) = Server::start(Version::Redis7, &["--requirepass", "SECRET-password"]) else { return };
    let url = format!("redis://:SECRET-password@127.0.0.1:{}", server.port);
    let mut admin = redis::Client::open(url.clone()).unwrap().get_connection().unwrap();
    let store = patient(&url).unwrap();
    let key = key();
    let lease = given(&store, key, owner()).await;
    assert!(commit(&store, key, lease, b"SECRET-record").await.unwrap());
    let mut shown = vec![format!("{store:?}"), format!("{:?}", RedisStore::builder(&url).password("SECRET-password"))];
    // Another type than what is expected, and commands that the server does not know.
    query(&mut admin, &format!("DEL tower-bearer:{{{key}}}:record"));
    query(&mut admin, &format!("LPUSH tower-bearer:{{{key}}}:record SECRET-record"));
    shown.push(format!("{:?}", store.load(key).await.unwrap()));
    query(&mut admin, &format!("DEL tower-bearer:{{{key}}}:lease"));
    query(&mut admin, &format!("LPUSH tower-bearer:{{{key}}}:lease SECRET-lease"));
    shown.push(format!("{:?}", commit(&store, key, lease, b"SECRET-record").await.unwrap_err()));
    query(&mut admin, "ACL SETUSER default -evalsha");
    shown.push(format!("{:?}", commit(&store, key, lease, b"SECRET-record").await.unwrap_err()));
    query(&mut admin, "ACL SETUSER default +evalsha -set");
    shown.push(format!("{:?}", commit(&store, key, lease, b"SECRET-record").await.unwrap_err()));
    shown.push(format!("{:?} {:?}", store.status(), store));
    for shown in shown {
        assert!(!shown.contains("SECRET"), "{shown}");
    }
}
