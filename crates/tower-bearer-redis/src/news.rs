//! Listens to what other processes publish.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::StreamExt;
use redis::{Value, aio::PubSub, cmd};
use tokio::time::{sleep, timeout};
use tower_bearer::store::{NewsChannel, StoreKey};

use crate::{
    error::{Kind, RedisStoreError},
    key::Slot,
    servers::Servers,
    topology::Topology,
};

/// So often a connection without news is tried. A server that hangs, or whose news goes to another connection, does not say so.
const TRIED_EVERY: Duration = Duration::from_secs(1);

/// The longest wait before the next subscription.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Passes on the news, until the store was dropped. News that may have been lost between two subscriptions is passed on as missed.
pub(crate) async fn listen(topology: Weak<Topology>, servers: Arc<Servers>, channel: String, news: NewsChannel) {
    let mut failures = 0u32;
    while let Some(strong) = topology.upgrade() {
        let subscribed = subscribe(&strong, &servers, &channel).await;
        drop(strong);
        if let Ok(subscription) = subscribed {
            failures = 0;
            // Who listens reads after the subscription: what was published before did not reach it.
            news.missed();
            pass_on(subscription, &topology, servers.timeout, &news).await;
        }
        failures = failures.saturating_add(1);
        // At random, so that the processes of a fleet do not come back in the same moment.
        let longest = LONGEST_WAIT.min(Duration::from_millis(50) * 2u32.saturating_pow(failures.min(8)));
        sleep(longest.mul_f32(0.5 + fastrand::f32() / 2.0)).await;
    }
}

async fn subscribe(topology: &Topology, servers: &Servers, channel: &str) -> Result<PubSub, RedisStoreError> {
    let limit = servers.timeout * 4;
    // Any node of a cluster has the news of all.
    let slot = Slot::any();
    let subscription = async {
        let mut route = topology.route(slot).await?;
        // A store that is idle has not noticed yet that its connection was lost, or that there is another master.
        let pong = timeout(servers.timeout, cmd("PING").query_async::<Value>(&mut route.link.connection)).await;
        let pong = pong
            .map_err(|_| Kind::TimedOut(servers.timeout).into())
            .and_then(|pong| pong.map_err(|error| RedisStoreError::of(&error)));
        pong.inspect_err(|error| topology.failed(&route, error))?;
        let mut subscription = servers.subscriber(&route.link.server).await?;
        subscription.subscribe(channel).await.map_err(|error| RedisStoreError::of(&error))?;
        Ok(subscription)
    };
    timeout(limit, subscription).await.unwrap_or_else(|_| Err(Kind::TimedOut(limit).into()))
}

/// Passes on the news until the connection fails or the store was dropped.
async fn pass_on(subscription: PubSub, topology: &Weak<Topology>, limit: Duration, news: &NewsChannel) {
    let (mut sink, mut stream) = subscription.split();
    while topology.strong_count() > 0 {
        match timeout(TRIED_EVERY, stream.next()).await {
            Ok(Some(message)) => {
                if let Some(key) = std::str::from_utf8(message.get_payload_bytes()).ok().and_then(StoreKey::parse) {
                    news.changed(key);
                }
            }
            Ok(None) => return,
            Err(_) => {
                if !matches!(timeout(limit, sink.ping::<Value>()).await, Ok(Ok(_))) {
                    return;
                }
            }
        }
    }
}
