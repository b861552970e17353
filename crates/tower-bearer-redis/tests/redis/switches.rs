//! Sentinel and Cluster: the contract, and a master that is replaced.

use std::time::Duration;

use redis::Value;
use tokio::time::Instant;
use tower_bearer::{
    conformance,
    store::{News, TokenStore},
};
use tower_bearer_redis::RedisStore;

use crate::{
    clusters::{Watched, cluster, urls},
    permissions::rule,
    server::{Server, eventually},
    support::{MINUTE, SLACK, commit, given, key, owner, record},
};

/// Longer than by default, for a busy machine.
const LIMIT: Duration = Duration::from_millis(500);

#[tokio::test]
async fn a_master_of_sentinel_keeps_the_contract_and_the_next_one_is_found() {
    let Some(mut watched) = Watched::start() else { return };
    for server in &watched.servers {
        server.run(&format!("{} +role", rule()));
    }
    let urls = watched.urls();
    let builder = || RedisStore::builder(&urls).sentinel("mymaster").user("tokens").password("password").timeout(LIMIT);
    let store = builder().build().unwrap();
    conformance::check_store(store.clone()).await;

    // One that hangs is asked as well, and delays nothing.
    watched.sentinels[0].signal("-STOP");
    let other = builder().build().unwrap();
    other.load(key()).await.expect("the master is found while a sentinel hangs");
    watched.sentinels[0].signal("-CONT");

    let mut news = store.news();
    let (key, me) = (key(), owner());
    let before = given(&store, key, me).await;
    assert!(commit(&store, key, before, b"before").await.unwrap());
    watched.servers[0].kill();
    let start = Instant::now();
    let after = loop {
        let call = Instant::now();
        let lease = store.lease(key, owner(), Duration::from_millis(1)).await;
        assert!(call.elapsed() < LIMIT + SLACK, "a call took {:?}", call.elapsed());
        // The lease was replicated or not: this owner gets it, or another new one later.
        match lease {
            Ok(tower_bearer::store::LeaseAnswer::Given(lease)) => break lease,
            Ok(_) => store.release(key, before).await.unwrap(),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}", store.status());
    };
    println!("the next master after {:?}", start.elapsed());
    assert!(after.fence > before.fence, "{} after {}", after.fence, before.fence);
    assert!(!commit(&store, key, before, b"late").await.unwrap());

    // The old one comes back as a replica, and the store stays with the new one.
    watched.servers[0].restart();
    let (key, me) = (self::key(), owner());
    let lease = given(&store, key, me).await;
    assert!(commit(&store, key, lease, b"after").await.unwrap());
    assert_eq!(record(&store, key).await.as_deref(), Some(&b"after"[..]));
    assert!(store.status().reconnects > 0);
    let told = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            let lease = given(&other, key, me).await;
            commit(&other, key, lease, b"told").await.unwrap();
            let next = tokio::time::timeout(Duration::from_millis(200), news.next()).await;
            if next == Ok(News::Changed(key)) {
                return;
            }
        }
    });
    told.await.expect("news from the new master");

    let error = builder().sentinel("typo").build().unwrap().load(key).await.unwrap_err();
    assert!(error.to_string().ends_with("no sentinel knows a master \"typo\" that can be reached"), "{error}");
}

#[tokio::test]
async fn a_cluster_keeps_the_contract_moves_keys_and_replaces_a_master() {
    let Some(mut nodes) = cluster() else { return };
    for node in &nodes {
        node.run(&format!("{} +cluster|slots +asking", rule()));
    }
    let builder = |urls: &str| RedisStore::builder(urls).user("tokens").password("password").timeout(LIMIT);
    let store = builder(&urls(&nodes)).build().unwrap();
    conformance::check_store(store.clone()).await;
    // One node is enough to find the others.
    let one_url = builder(&nodes[2].url()).cluster().build().unwrap();
    for _ in 0..20 {
        let (key, me) = (key(), owner());
        let lease = given(&one_url, key, me).await;
        assert!(commit(&store, key, lease, b"record").await.unwrap());
        assert_eq!(record(&one_url, key).await.as_deref(), Some(&b"record"[..]));
    }
    let error = RedisStore::new(&nodes[2].url()).unwrap();
    let errors = futures_util::future::join_all((0..20).map(|_| error.load(key()))).await;
    let error = errors.into_iter().find_map(Result::err).unwrap().to_string();
    assert!(error.ends_with("refused with MOVED: it is part of a cluster; set `cluster`"), "{error}");

    a_slot_that_moves_is_followed(&store, &nodes).await;
    for node in &nodes {
        assert_eq!(node.run("ACL LOG"), Value::Array(vec![]), "the rule of the README is not enough");
    }

    // The master of the first slots dies. Its keys are served by its replica.
    let of_first = std::iter::repeat_with(key).find(|key| slot(&nodes[1], *key) <= 5460).unwrap();
    let of_other = std::iter::repeat_with(key).find(|key| slot(&nodes[1], *key) > 11_000).unwrap();
    let before = given(&store, of_first, owner()).await;
    store.release(of_first, before).await.unwrap();
    nodes[0].kill();
    let start = Instant::now();
    let after = loop {
        let call = Instant::now();
        let lease = store.lease(of_first, owner(), MINUTE).await;
        assert!(call.elapsed() < LIMIT + SLACK, "a call took {:?}", call.elapsed());
        if let Ok(tower_bearer::store::LeaseAnswer::Given(lease)) = lease {
            break lease;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}", store.status());
    };
    println!("the next master after {:?}", start.elapsed());
    assert!(after.fence > before.fence);
    // The other nodes refuse for a moment, while they do not know the next master.
    while store.lease(of_other, owner(), MINUTE).await.is_err() {
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}", store.status());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn a_slot_that_moves_is_followed(store: &RedisStore, nodes: &[Server]) {
    let moving = key();
    let slot = slot(&nodes[0], moving);
    let from = usize::from(slot / 5461);
    let to = (from + 1) % 3;
    let (from, to) = (&nodes[from], &nodes[to]);
    let id = |node: &Server| match node.run("CLUSTER MYID") {
        Value::BulkString(id) => String::from_utf8(id).unwrap(),
        _ => panic!(),
    };
    let (from_id, to_id) = (id(from), id(to));
    let (me, lease) = {
        let me = owner();
        (me, given(store, moving, me).await)
    };
    assert!(commit(store, moving, lease, b"here").await.unwrap());

    to.run(&format!("CLUSTER SETSLOT {slot} IMPORTING {from_id}"));
    from.run(&format!("CLUSTER SETSLOT {slot} MIGRATING {to_id}"));
    assert_eq!(record(store, moving).await.as_deref(), Some(&b"here"[..]), "the keys are where they were");
    for what in ["record", "lease"] {
        from.run(&format!("MIGRATE 127.0.0.1 {} tower-bearer:{{{moving}}}:{what} 0 5000", to.port));
    }
    // The node sends the call to the other one by ASK.
    assert_eq!(record(store, moving).await.as_deref(), Some(&b"here"[..]));
    assert_eq!(given(store, moving, me).await, lease);
    for node in [to, from, &nodes[0], &nodes[1], &nodes[2]] {
        node.run(&format!("CLUSTER SETSLOT {slot} NODE {to_id}"));
    }
    // And now by MOVED.
    assert!(commit(store, moving, lease, b"there").await.unwrap());
    assert_eq!(record(store, moving).await.as_deref(), Some(&b"there"[..]));
    eventually("one map in all nodes", || {
        let maps: Vec<_> = nodes.iter().map(|node| node.run("CLUSTER SLOTS")).collect();
        let owners = |map: &Value| format!("{map:?}").matches(&to_id).count();
        maps.iter().all(|map| owners(map) == owners(&maps[0])).then_some(())
    });
}

fn slot(node: &Server, key: tower_bearer::store::StoreKey) -> u16 {
    match node.run(&format!("CLUSTER KEYSLOT {{{key}}}")) {
        Value::Int(slot) => slot.try_into().unwrap(),
        _ => panic!(),
    }
}
