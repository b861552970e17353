//! Which server a key is on, and the connections to the servers.

use std::{sync::Arc, time::Duration};

use redis::RedisError;

use crate::{
    cluster::{Cluster, Node},
    error::RedisStoreError,
    kept::Kept,
    key::Slot,
    sentinel,
    servers::{Link, Servers},
};

/// The servers of a store.
pub(crate) struct Topology {
    servers: Arc<Servers>,
    kind: Kind,
}

enum Kind {
    One(Kept<Link>),
    Sentinel(Arc<str>, Kept<Link>),
    Cluster(Box<Cluster>),
}

/// How the settings say that the servers are arranged.
pub(crate) enum Arrangement {
    One,
    Sentinel(String),
    Cluster,
}

/// A connection for one call.
pub(crate) struct Route {
    pub(crate) link: Link,
    number: u64,
    /// In a cluster: the node, and the number of the map that named it.
    node: Option<(Arc<Node>, Option<u64>)>,
    /// Whether the node serves the key for this call only, because the key is being moved to it.
    pub(crate) asking: bool,
}

impl Topology {
    pub(crate) fn new(servers: Arc<Servers>, arrangement: Arrangement) -> Self {
        // Longer than a call, because a sentinel and a server are asked one after the other.
        let limit: Duration = servers.timeout * 4;
        let link = || Kept::new(limit, Some(Arc::clone(&servers.health)));
        let kind = match arrangement {
            Arrangement::One => Kind::One(link()),
            Arrangement::Sentinel(name) => Kind::Sentinel(name.into(), link()),
            Arrangement::Cluster => Kind::Cluster(Box::new(Cluster::new(Arc::clone(&servers), limit))),
        };
        Self { servers, kind }
    }

    /// Returns a connection to the server of the slot.
    pub(crate) async fn route(&self, slot: Slot) -> Result<Route, RedisStoreError> {
        match &self.kind {
            Kind::One(kept) => Ok(Route::new(kept.get(|| self.connect_to_one()).await?)),
            Kind::Sentinel(name, kept) => Ok(Route::new(kept.get(|| self.find_master(name)).await?)),
            Kind::Cluster(cluster) => {
                let (map, node) = cluster.node(slot).await?;
                let linked = node.link.get(|| node.connect(&self.servers)).await;
                if linked.is_err() {
                    // Another node may serve the slot soon.
                    cluster.discard(map);
                }
                Ok(Route { node: Some((node, Some(map))), ..Route::new(linked?) })
            }
        }
    }

    /// Returns the connection to which the node sent the call, if it did.
    pub(crate) async fn redirected(&self, from: &Route, error: &RedisError) -> Option<Result<Route, RedisStoreError>> {
        let (Kind::Cluster(cluster), Some((address, _))) = (&self.kind, error.redirect_node()) else { return None };
        let (host, port) = address.rsplit_once(':')?;
        let node = cluster.redirected(host.trim_matches(['[', ']']), port.parse().ok()?, &from.link.server);
        let asking = error.code() == Some("ASK");
        let linked = node.link.get(|| node.connect(&self.servers)).await;
        Some(linked.map(|linked| Route { node: Some((node, None)), asking, ..Route::new(linked) }))
    }

    /// Draws the conclusions from the failure of a call: a connection that is lost is replaced, in the background.
    pub(crate) fn failed(&self, route: &Route, error: &RedisStoreError) {
        match &self.kind {
            Kind::One(kept) if error.ends_connection() => {
                kept.discard(route.number);
                let _ = kept.begin(|| self.connect_to_one());
            }
            Kind::Sentinel(name, kept) if error.ends_connection() => {
                kept.discard(route.number);
                let _ = kept.begin(|| self.find_master(name));
            }
            Kind::Cluster(cluster) => {
                let Some((node, map)) = &route.node else { return };
                if error.ends_connection() {
                    node.link.discard(route.number);
                    let _ = node.link.begin(|| node.connect(&self.servers));
                }
                if let Some(map) = map.filter(|_| error.moves_key()) {
                    cluster.discard(map);
                }
            }
            _ => {}
        }
    }

    fn connect_to_one(&self) -> impl Future<Output = Result<Link, RedisStoreError>> + Send + use<> {
        let servers = Arc::clone(&self.servers);
        async move {
            let server = servers.named().next().ok_or_else(|| RedisStoreError::config("there is no URL"))?;
            servers.connect(server).await
        }
    }

    fn find_master(&self, name: &Arc<str>) -> impl Future<Output = Result<Link, RedisStoreError>> + Send + use<> {
        sentinel::connect(Arc::clone(&self.servers), Arc::clone(name))
    }
}

impl Route {
    fn new((number, link): (u64, Link)) -> Self {
        Self { link, number, node: None, asking: false }
    }
}
