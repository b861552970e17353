//! News between stores, and what happens to it in an outage.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use tower_bearer::store::{LeaseAnswer, News, NewsReceiver, StoreKey, TokenStore};
use tower_bearer_redis::RedisStore;

use crate::{
    clusters::Watched,
    server::{Server, Version},
    support::{commit, given, key, owner, patient},
};

async fn next(news: &mut NewsReceiver) -> News {
    timeout(Duration::from_secs(20), news.next()).await.expect("news")
}

async fn tells_of(news: &mut NewsReceiver, key: StoreKey) {
    while next(news).await != News::Changed(key) {}
}

#[tokio::test]
async fn another_process_hears_of_a_commit() {
    let Some(server) = Server::start(Version::Redis7, &[]) else { return };
    let (one, other) = (patient(&server.url()).unwrap(), patient(&server.url()).unwrap());
    let key = key();
    let mut news = other.news();
    assert_eq!(next(&mut news).await, News::Missed, "after the subscription, what came before it is read");
    let lease = given(&one, key, owner()).await;
    assert!(commit(&one, key, lease, b"record").await.unwrap());
    tells_of(&mut news, key).await;
}

#[tokio::test]
async fn a_subscription_is_made_again_and_says_that_news_was_missed() {
    let Some(mut server) = Server::start(Version::Redis7, &[]) else { return };
    let (one, other) = (RedisStore::new(&server.url()).unwrap(), RedisStore::new(&server.url()).unwrap());
    let key = key();
    let mut news = other.news();
    assert_eq!(next(&mut news).await, News::Missed);

    server.run("CLIENT KILL TYPE pubsub");
    assert_eq!(next(&mut news).await, News::Missed);
    let lease = given(&one, key, owner()).await;
    assert!(commit(&one, key, lease, b"record").await.unwrap());
    tells_of(&mut news, key).await;

    server.kill();
    server.restart();
    assert_eq!(next(&mut news).await, News::Missed);

    server.signal("-STOP");
    tokio::time::sleep(Duration::from_secs(2)).await;
    server.signal("-CONT");
    assert_eq!(next(&mut news).await, News::Missed, "a server that hung is subscribed to again");
    let lease = given(&one, key, owner()).await;
    assert!(commit(&one, key, lease, b"record").await.unwrap());
    tells_of(&mut news, key).await;
}

#[tokio::test]
async fn a_store_that_was_dropped_does_not_listen() {
    let Some(server) = Server::start(Version::Redis7, &[]) else { return };
    let store = patient(&server.url()).unwrap();
    let mut news = store.news();
    assert_eq!(next(&mut news).await, News::Missed);
    drop(store);
    let subscribers = || server.run("CLIENT LIST TYPE pubsub") != redis::Value::BulkString(vec![]);
    while subscribers() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_store_that_is_idle_hears_of_what_the_next_master_is_told() {
    let Some(mut watched) = Watched::start() else { return };
    let builder = || RedisStore::builder(&watched.urls()).sentinel("mymaster");
    let (idle, other) = (builder().build().unwrap(), builder().build().unwrap());
    let (key, me) = (key(), owner());
    let mut news = idle.news();
    assert_eq!(next(&mut news).await, News::Missed);
    // It does not close its connections.
    watched.servers[0].signal("-STOP");
    let start = Instant::now();
    loop {
        assert!(start.elapsed() < Duration::from_secs(60), "{:?} {:?}", idle.status(), other.status());
        if let Ok(LeaseAnswer::Given(lease)) = other.lease(key, me, Duration::from_secs(60)).await {
            let _ = commit(&other, key, lease, b"record").await;
        }
        if timeout(Duration::from_millis(100), news.next()).await == Ok(News::Changed(key)) {
            break;
        }
    }
    watched.servers[0].signal("-CONT");
    watched.servers[0].kill();
}
