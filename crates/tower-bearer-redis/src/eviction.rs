//! Warns if the server may drop records to make room for others.

use redis::{RedisResult, Value, aio::MultiplexedConnection, cmd};

use crate::status::Health;

/// Asks the server and warns. If the user must not ask, nothing is known.
pub(crate) async fn check(mut connection: MultiplexedConnection, health: &Health) {
    let info: RedisResult<Value> = cmd("INFO").arg("memory").query_async(&mut connection).await;
    let Ok(Value::BulkString(info)) = info else { return };
    let Some(policy) = policy(&String::from_utf8_lossy(&info)).map(str::to_owned) else { return };
    let evicts = policy != "noeviction";
    health.evicts(evicts);
    if evicts {
        tracing::warn!(
            maxmemory_policy = policy,
            "the Redis server may drop tokens and leases to make room for other keys: set `maxmemory-policy noeviction`, or use a \
             server for tokens alone"
        );
    }
}

/// Returns the policy that applies: without a limit, nothing is dropped.
fn policy(info: &str) -> Option<&str> {
    let value = |name| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let policy = value("maxmemory_policy")?;
    Some(if value("maxmemory")? == "0" { "noeviction" } else { policy })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_counts_only_with_a_limit() {
        let info =
            |limit| format!("# Memory\r\nmaxmemory:{limit}\r\nmaxmemory_human:1M\r\nmaxmemory_policy:allkeys-lru\r\n");
        assert_eq!(policy(&info("1048576")), Some("allkeys-lru"));
        assert_eq!(policy(&info("0")), Some("noeviction"));
        assert_eq!(policy("maxmemory:1"), None);
    }
}
