//! Which node of a cluster serves a key.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{FutureExt, future::select_ok};
use redis::{Value, cmd};

use crate::{
    error::{Kind, RedisStoreError},
    kept::Kept,
    key::Slot,
    servers::{Link, Server, Servers},
};

/// So many of the nodes, and so many of those that the URLs name, are asked at once which node serves what.
const ASKED_AT_ONCE: usize = 2;

/// A node, and the slot for its connection. So a node that hangs does not hold up the keys of others.
pub(crate) struct Node {
    server: Server,
    pub(crate) link: Kept<Link>,
}

/// What is known of a cluster.
pub(crate) struct Cluster {
    map: Kept<Arc<SlotMap>>,
    nodes: Mutex<Nodes>,
    servers: Arc<Servers>,
    limit: Duration,
}

/// The nodes by their addresses.
#[derive(Default)]
struct Nodes {
    known: HashMap<String, Arc<Node>>,
    /// The map that they were compared with.
    map: u64,
}

/// Which node serves which slots.
pub(crate) struct SlotMap(Vec<Range>);

struct Range {
    first: u16,
    last: u16,
    server: Server,
}

impl Cluster {
    pub(crate) fn new(servers: Arc<Servers>, limit: Duration) -> Self {
        Self { map: Kept::new(limit, None), nodes: Mutex::default(), servers, limit }
    }

    /// Returns the node that serves the slot, and the number of the map that says so.
    pub(crate) async fn node(&self, slot: Slot) -> Result<(u64, Arc<Node>), RedisStoreError> {
        let (number, map) = self.map.get(|| self.read_map()).await?;
        let range = map.0.iter().find(|range| (range.first..=range.last).contains(&slot.0)).ok_or(Kind::NoNode)?;
        let mut nodes = self.lock();
        if nodes.map != number {
            // Nodes that have left are not asked again.
            nodes.known.retain(|address, _| map.0.iter().any(|range| range.server.to_string() == *address));
            nodes.map = number;
        }
        drop(nodes);
        Ok((number, self.at(range.server.clone())))
    }

    /// Returns the node that another node named. Its host may be missing: then it is that of the other node.
    pub(crate) fn redirected(&self, address: &str, port: u16, from: &Server) -> Arc<Node> {
        let host = if address.is_empty() { from.host().unwrap_or_default() } else { address };
        self.at(self.servers.server(host, port))
    }

    /// Forgets which node serves what, and asks again.
    pub(crate) fn discard(&self, map: u64) {
        self.map.discard(map);
        // Without a runtime, the next call asks.
        let _ = self.map.begin(|| self.read_map());
    }

    fn at(&self, server: Server) -> Arc<Node> {
        let new =
            |server| Arc::new(Node { server, link: Kept::new(self.limit, Some(Arc::clone(&self.servers.health))) });
        Arc::clone(self.lock().known.entry(server.to_string()).or_insert_with(|| new(server)))
    }

    fn read_map(&self) -> impl Future<Output = Result<Arc<SlotMap>, RedisStoreError>> + Send + use<> {
        let servers = Arc::clone(&self.servers);
        let known: Vec<Server> = self.lock().known.values().map(|node| node.server.clone()).collect();
        let some = |servers| fastrand::choose_multiple(servers, ASKED_AT_ONCE);
        let asked = [some(known), some(servers.named().collect())].concat();
        async move {
            let ask = |server: Server| read_map(&servers, server).boxed();
            let (map, _) = select_ok(asked.into_iter().map(ask)).await?;
            Ok(Arc::new(map))
        }
    }

    fn lock(&self) -> MutexGuard<'_, Nodes> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node {
    pub(crate) fn connect(
        &self,
        servers: &Arc<Servers>,
    ) -> impl Future<Output = Result<Link, RedisStoreError>> + Send + use<> {
        let (servers, server) = (Arc::clone(servers), self.server.clone());
        async move { servers.connect(server).await }
    }
}

async fn read_map(servers: &Servers, server: Server) -> Result<SlotMap, RedisStoreError> {
    let mut link = servers.connect(server).await?;
    let answer: Value = cmd("CLUSTER")
        .arg("SLOTS")
        .query_async(&mut link.connection)
        .await
        .map_err(|error| RedisStoreError::of(&error))?;
    let map = parse(&answer, |host, port| {
        let host = host.or(link.server.host())?;
        Some(servers.server(host, port))
    });
    // A node that was reset or that does not know the others yet has no map.
    map.filter(|map| !map.0.is_empty()).ok_or_else(|| Kind::NoNode.into())
}

/// Reads `CLUSTER SLOTS`: the first and last slot, and then nodes, of which the first is the master.
fn parse(answer: &Value, server: impl Fn(Option<&str>, u16) -> Option<Server>) -> Option<SlotMap> {
    let range = |range: &Value| {
        let [first, last, master, ..] = array(range)? else { return None };
        let [host, port, ..] = array(master)? else { return None };
        let host = match host {
            Value::BulkString(host) => {
                Some(std::str::from_utf8(host).ok()?).filter(|host| !host.is_empty() && *host != "?")
            }
            _ => None,
        };
        Some(Range { first: number(first)?, last: number(last)?, server: server(host, number(port)?)? })
    };
    array(answer)?.iter().map(range).collect::<Option<_>>().map(SlotMap)
}

fn array(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Array(values) => Some(values),
        _ => None,
    }
}

fn number(value: &Value) -> Option<u16> {
    match value {
        Value::Int(number) => (*number).try_into().ok(),
        _ => None,
    }
}
