//! Finds the master of a group that sentinels watch.

use std::sync::Arc;

use futures_util::{FutureExt, future::select_ok};
use redis::{Value, cmd, from_redis_value};

use crate::{
    error::{Kind, RedisStoreError},
    servers::{Link, Servers},
};

/// Connects to the master. All sentinels are asked at once, and the first that names a server which is a master decides. So a
/// sentinel that hangs costs nothing, and neither does one that still names the old master.
pub(crate) async fn connect(servers: Arc<Servers>, name: Arc<str>) -> Result<Link, RedisStoreError> {
    let ask = |index| ask(&servers, index, &name).boxed();
    match select_ok((0..servers.urls.len()).map(ask)).await {
        Ok((link, _)) => Ok(link),
        // A server that refuses the login is more to know than that there is no master.
        Err(error) if error.is_login() => Err(error),
        Err(_) => Err(Kind::NoMaster(name.to_string()).into()),
    }
}

async fn ask(servers: &Servers, index: usize, name: &str) -> Result<Link, RedisStoreError> {
    let mut sentinel = servers.connect_to_sentinel(&servers.urls[index]).await?;
    let answer: Value = cmd("SENTINEL")
        .arg("GET-MASTER-ADDR-BY-NAME")
        .arg(name)
        .query_async(&mut sentinel)
        .await
        .map_err(|error| RedisStoreError::of(&error))?;
    let address: Option<(String, u16)> = from_redis_value(answer).map_err(|_| Kind::Answer)?;
    let (host, port) = address.ok_or_else(|| Kind::NoMaster(name.to_owned()))?;
    let mut link = servers.connect(servers.server(&host, port)).await?;
    let role: Value =
        cmd("ROLE").query_async(&mut link.connection).await.map_err(|error| RedisStoreError::of(&error))?;
    match role {
        Value::Array(parts) if matches!(parts.first(), Some(Value::BulkString(role)) if role == b"master") => Ok(link),
        _ => Err(Kind::NoMaster(name.to_owned()).into()),
    }
}
