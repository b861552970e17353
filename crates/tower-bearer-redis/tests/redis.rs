//! The store against real servers, which the tests start on loopback. `tests/servers.sh` installs them. A test whose server is not
//! installed is skipped with a message; with `TOWER_BEARER_REDIS_REQUIRED` set, it fails.

#[path = "redis/clusters.rs"]
mod clusters;
#[path = "redis/contract.rs"]
mod contract;
#[path = "redis/families.rs"]
mod families;
#[path = "redis/lost_data.rs"]
mod lost_data;
#[path = "redis/marks.rs"]
mod marks;
#[path = "redis/news.rs"]
mod news;
#[path = "redis/outages.rs"]
mod outages;
#[path = "redis/permissions.rs"]
mod permissions;
#[path = "redis/processes.rs"]
mod processes;
#[path = "redis/proxy.rs"]
mod proxy;
#[path = "redis/secrecy.rs"]
mod secrecy;
#[path = "redis/server.rs"]
mod server;
#[path = "redis/sources.rs"]
mod sources;
#[path = "redis/support.rs"]
mod support;
#[path = "redis/switches.rs"]
mod switches;
#[cfg(feature = "tls")]
#[path = "redis/tls.rs"]
mod tls;
#[path = "redis/workers.rs"]
mod workers;
