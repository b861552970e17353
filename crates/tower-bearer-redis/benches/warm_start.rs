//! How long a process takes that starts while Redis has the token: `cargo bench --package tower-bearer-redis --bench warm_start`.
//!
//! It needs `redis-server`. Each of the processes is this program, started again.

use std::{
    env,
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::time::{Instant, sleep};
use tower::BoxError;
use tower_bearer::{
    PasswordGrant, TokenCache,
    grant::ClientAuth,
    store::{SealingKey, SealingKeys, SharedStore, Stored},
    testing::Issuer,
};
use tower_bearer_redis::RedisStore;

const STARTS: usize = 31;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    match &env::args().skip(1).collect::<Vec<_>>()[..] {
        [begun, token_url, redis] => start(begun.parse()?, token_url, redis).await,
        _ => measure().await,
    }
}

/// Gets the token. Prints the nanoseconds since the process was begun and since the cache was created.
async fn start(begun: u64, token_url: &str, redis: &str) -> Result<(), BoxError> {
    let created = Instant::now();
    let (cache, shared) = cache(token_url, redis)?;
    cache.token().await?;
    let took = created.elapsed();
    assert_eq!((shared.status().hits, shared.status().exchanges), (1, 0));
    println!("{} {}", now()? - begun, took.as_nanos());
    Ok(())
}

fn cache(token_url: &str, redis: &str) -> Result<(TokenCache, SharedStore), BoxError> {
    let shared = SharedStore::new(RedisStore::new(redis)?, SealingKeys::new(SealingKey::new(&[7; 32])));
    let grant = PasswordGrant::builder(token_url)
        .client_auth(ClientAuth::basic("client1", "client-secret"))
        .credentials("user1", "user-password")
        .build()?;
    Ok((TokenCache::new(Stored::new(grant, &shared)), shared))
}

async fn measure() -> Result<(), BoxError> {
    let issuer = Issuer::new();
    let server = issuer.listen().await?;
    let (_redis, url) = redis().await?;
    cache(&server.token_url(), &url)?.0.token().await?;
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let mut command = Command::new(env::current_exe()?);
        let output = command.args([now()?.to_string(), server.token_url(), url.clone()]).output()?;
        let output = String::from_utf8(output.stdout)?;
        let (process, cache) = output.trim().split_once(' ').ok_or("a process failed")?;
        times.push((process.parse::<u64>()?, cache.parse::<u64>()?));
    }
    assert_eq!(issuer.counts().token_requests, 1);
    let (process, cache): (Vec<_>, Vec<_>) = times.into_iter().unzip();
    println!("{:24} {:>8} {:>8} {:>8}", "ms to the token, from", "median", "least", "most");
    for (what, mut times) in [("the cache's creation", cache), ("the process's start", process)] {
        times.sort_unstable();
        let ms = |index: usize| Duration::from_nanos(times[index]).as_secs_f64() * 1e3;
        println!("{what:24} {:8.2} {:8.2} {:8.2}", ms(STARTS / 2), ms(0), ms(STARTS - 1));
    }
    Ok(())
}

fn now() -> Result<u64, BoxError> {
    #[expect(clippy::disallowed_methods, reason = "two processes have no other clock")]
    let now = SystemTime::now();
    Ok(now.duration_since(UNIX_EPOCH)?.as_nanos().try_into()?)
}

/// A process that ends with this one.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn redis() -> Result<(Process, String), BoxError> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]).stdout(Stdio::null());
    let process = Process(command.spawn().map_err(|error| format!("redis-server cannot be started: {error}"))?);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        sleep(Duration::from_millis(10)).await;
    }
    Ok((process, format!("redis://127.0.0.1:{port}")))
}
