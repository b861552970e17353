//! Starts Sentinel with its servers, and a cluster.

use redis::Value;

use crate::server::{Server, Version, eventually, query};

/// One master, two replicas and three sentinels.
pub(crate) struct Watched {
    pub(crate) servers: Vec<Server>,
    pub(crate) sentinels: Vec<Server>,
}

impl Watched {
    pub(crate) fn start() -> Option<Self> {
        let binary = Version::Redis7.find()?;
        let master = Server::start(Version::Redis7, &["--repl-diskless-sync-delay", "0"])?;
        let port = master.port.to_string();
        let replica = || Server::spawn(binary.clone(), &["--replicaof", &format!("127.0.0.1 {port}")]);
        let servers = vec![replica(), replica()];
        let sentinels: Vec<_> = (0..3).map(|_| Server::spawn(binary.clone(), &["--sentinel"])).collect();
        servers.iter().chain(&sentinels).for_each(Server::wait);
        eventually("a master with two replicas", || {
            let Value::BulkString(info) = master.run("INFO replication") else { panic!() };
            String::from_utf8(info).unwrap().contains("connected_slaves:2").then_some(())
        });
        for sentinel in &sentinels {
            sentinel.run(&format!("SENTINEL MONITOR mymaster 127.0.0.1 {port} 2"));
            sentinel.run("SENTINEL SET mymaster down-after-milliseconds 1000 failover-timeout 10000");
        }
        eventually("sentinels that know each other and the replicas", || {
            let known = |sentinel: &Server| {
                let answer = format!("{:?}", sentinel.run("SENTINEL MASTER mymaster"));
                let has = |name: &str| answer.contains(&format!("bulk-string('\"{name}\"'), bulk-string('\"2\"')"));
                has("num-slaves") && has("num-other-sentinels")
            };
            sentinels.iter().all(known).then_some(())
        });
        let servers = [master].into_iter().chain(servers).collect();
        Some(Self { servers, sentinels })
    }

    pub(crate) fn urls(&self) -> String {
        urls(&self.sentinels)
    }
}

/// Starts three masters of a cluster, and a replica of the first.
pub(crate) fn cluster() -> Option<Vec<Server>> {
    let binary = Version::Redis7.find()?;
    let start = || Server::spawn(binary.clone(), &["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"]);
    let nodes: Vec<_> = (0..4).map(|_| start()).collect();
    nodes.iter().for_each(Server::wait);
    for (node, slots) in nodes.iter().zip(["0 5460", "5461 10922", "10923 16383"]) {
        node.run(&format!("CLUSTER ADDSLOTSRANGE {slots}"));
    }
    for (epoch, node) in (1..).zip(&nodes) {
        node.run(&format!("CLUSTER SET-CONFIG-EPOCH {epoch}"));
    }
    for node in &nodes[1..] {
        node.run(&format!("CLUSTER MEET 127.0.0.1 {}", nodes[0].port));
    }
    let is_ready = |node: &Server, known: usize| {
        let Value::BulkString(info) = node.run("CLUSTER INFO") else { panic!() };
        let info = String::from_utf8(info).unwrap();
        info.contains("cluster_state:ok") && info.contains(&format!("cluster_known_nodes:{known}"))
    };
    eventually("a cluster of four nodes", || nodes.iter().all(|node| is_ready(node, 4)).then_some(()));
    let Value::BulkString(first) = nodes[0].run("CLUSTER MYID") else { panic!() };
    query(&mut nodes[3].connect(), &format!("CLUSTER REPLICATE {}", String::from_utf8(first).unwrap()));
    eventually("a replica in all maps", || {
        let has_replica = |node: &Server| {
            let Value::Array(ranges) = node.run("CLUSTER SLOTS") else { panic!() };
            ranges.iter().any(|range| matches!(range, Value::Array(parts) if parts.len() == 4))
        };
        let Value::BulkString(info) = nodes[0].run("INFO replication") else { panic!() };
        let connected = String::from_utf8(info).unwrap().contains("connected_slaves:1");
        (connected && nodes.iter().all(has_replica)).then_some(())
    });
    Some(nodes)
}

pub(crate) fn urls(servers: &[Server]) -> String {
    servers.iter().map(Server::url).collect::<Vec<_>>().join(",")
}
