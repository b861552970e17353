//! Eight gateways share one token by Redis. One of them is killed while it renews the token.
//!
//! ```text
//! cargo run --package tower-bearer-redis --example fleet
//! ```
//!
//! It needs `redis-server` (Debian: `apt install redis-server`) and no network, and takes about six seconds. The gateways are
//! processes of this program. The authorization server and the API are `tower_bearer::testing::Issuer`, which counts what it receives.
//! The example fails if a count is not what it says.

use std::{
    env,
    fmt::Display,
    fs,
    io::{self, BufRead, BufReader},
    net::TcpListener as StdTcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use futures_util::future::{join_all, try_join_all};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use tokio::{net::TcpListener, time::Instant};
use tower::{BoxError, ServiceBuilder, ServiceExt};
use tower_bearer::{
    BearerAuthLayer, PasswordGrant, TokenCache,
    grant::ClientAuth,
    store::{SealingKey, SealingKeys, SharedStore, Stored},
    testing::Issuer,
};
use tower_bearer_redis::RedisStore;

const GATEWAYS: usize = 8;
const LEASE: Duration = Duration::from_secs(2);

/// What all gateways have in common. A real one reads it from a file.
const SEALING_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

type Body = Full<bytes::Bytes>;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    match &env::args().skip(1).collect::<Vec<_>>()[..] {
        [token_url, api, redis] => gateway(token_url, api, redis).await,
        _ => story().await,
    }
}

async fn story() -> Result<(), BoxError> {
    let issuer = Issuer::new();
    // A token request takes as long as a real one.
    issuer.delay(Duration::from_millis(200));
    let server = issuer.listen().await?;
    let mut redis = Redis::start()?;
    let (token_url, api) = (server.token_url(), server.url("/fhir/Patient"));

    println!("1. A Redis, and {GATEWAYS} gateways that have no token yet. Each gets 100 requests at once.");
    let mut gateways =
        (0..GATEWAYS).map(|_| Gateway::start(&token_url, &api, &redis.url())).collect::<Result<Vec<_>, _>>()?;
    let answers = join_all(gateways.iter().flat_map(|gateway| (0..100).map(|_| gateway.get()))).await;
    expect("requests that were answered", answered(&answers), 100 * GATEWAYS)?;
    expect("token requests so far", issuer.counts().token_requests, 1)?;

    println!("2. Another process with the same settings starts. It has the token from Redis.");
    let (cache, _) = cache(&token_url, &redis.url())?;
    let start = Instant::now();
    let token = cache.token().await?;
    println!("   It had the token after {:.1?}.", start.elapsed());
    expect("token requests so far", issuer.counts().token_requests, 1)?;

    println!("3. Who reads Redis learns nothing.");
    let (keys, stored) = redis.everything()?;
    println!("   It has {keys} keys with {} bytes.", stored.len());
    let secrets = [token.secret(), "user1", "user-password", "client1", &server.addr().to_string()];
    let found = secrets.iter().filter(|secret| stored.windows(secret.len()).any(|part| part == secret.as_bytes()));
    expect("tokens, users, clients and servers among them", found.count(), 0)?;

    println!(
        "4. The token is revoked, and each gateway gets a request. One of them asks for a new token. It is killed meanwhile."
    );
    let before = try_join_all(gateways.iter().map(Gateway::exchanges)).await?;
    issuer.revoke_current();
    let gate = issuer.hold();
    let requests: Vec<_> = gateways.iter().map(|gateway| tokio::spawn(gateway.get())).collect();
    gate.waiting(1).await;
    let now = try_join_all(gateways.iter().map(Gateway::exchanges)).await?;
    let renewing = (0..GATEWAYS).find(|index| now[*index] > before[*index]).ok_or("nobody renews")?;
    gateways[renewing].process.kill()?;
    let start = Instant::now();
    gate.release();
    let mut answers = Vec::new();
    for request in requests {
        answers.push(request.await?);
    }
    println!(
        "   Gateway {} was killed. Its lease ends after {LEASE:?}. Another gateway took over after {:.1?}.",
        renewing + 1,
        start.elapsed()
    );
    expect("requests that the other gateways answered", answered(&answers), GATEWAYS - 1)?;
    expect("token requests so far, with that of the killed gateway", issuer.counts().token_requests, 3)?;
    gateways.remove(renewing);

    println!("5. Redis is killed. The gateways have their token, and need no store.");
    redis.process.kill()?;
    let answers = join_all(gateways.iter().flat_map(|gateway| (0..100).map(|_| gateway.get()))).await;
    expect("requests that were answered", answered(&answers), 100 * gateways.len())?;
    expect("token requests so far", issuer.counts().token_requests, 3)?;

    println!("6. The token is revoked. Without Redis, each gateway asks for itself.");
    issuer.revoke_current();
    let answers = join_all(gateways.iter().flat_map(|gateway| (0..100).map(|_| gateway.get()))).await;
    expect("requests that were answered", answered(&answers), 100 * gateways.len())?;
    println!("   token requests so far: {}", issuer.counts().token_requests);

    println!("7. Redis is started again, empty. The gateways find each other without a restart.");
    redis.restart()?;
    let start = Instant::now();
    while !try_join_all(gateways.iter().map(Gateway::has_store)).await?.iter().all(|has| *has) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("   All use it again after {:.1?}. Then the token is revoked once more.", start.elapsed());
    let asked = issuer.counts().token_requests;
    issuer.revoke_all();
    let answers = join_all(gateways.iter().flat_map(|gateway| (0..100).map(|_| gateway.get()))).await;
    expect("requests that were answered", answered(&answers), 100 * gateways.len())?;
    expect("token requests since then", issuer.counts().token_requests - asked, 1)
}

/// Creates the cache of a gateway: it is the same in each process.
fn cache(token_url: &str, redis: &str) -> Result<(TokenCache, SharedStore), BoxError> {
    let keys = SealingKeys::new(SealingKey::parse(SEALING_KEY)?);
    let shared = SharedStore::builder(RedisStore::new(redis)?, keys).lease(LEASE).build();
    let grant = PasswordGrant::builder(token_url)
        .client_auth(ClientAuth::basic("client1", "client-secret"))
        .credentials("user1", "user-password")
        .build()?;
    Ok((TokenCache::new(Stored::new(grant, &shared)), shared))
}

/// A gateway: it passes each request on to the API, with the token. `/exchanges` says how often it asked for one as the only gateway,
/// and `/has-store` whether Redis answers.
async fn gateway(token_url: &str, api: &str, redis: &str) -> Result<(), BoxError> {
    let (cache, shared) = cache(token_url, redis)?;
    let http = Client::builder(TokioExecutor::new()).build_http::<Body>();
    let client = ServiceBuilder::new().layer(BearerAuthLayer::with_cache(cache)).service(http);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    loop {
        let (connection, _) = listener.accept().await?;
        let (client, shared, api) = (client.clone(), shared.clone(), api.to_owned());
        let service = service_fn(move |request: Request<Incoming>| {
            let (client, shared, api) = (client.clone(), shared.clone(), api.clone());
            async move {
                let text = |status, text: String| Response::builder().status(status).body(Body::from(text));
                let status = shared.status();
                match request.uri().path() {
                    "/exchanges" => return text(StatusCode::OK, status.exchanges.to_string()),
                    "/has-store" => return text(StatusCode::OK, status.is_available.to_string()),
                    _ => {}
                }
                match client.oneshot(Request::get(api).body(Body::default())?).await {
                    Ok(answer) => text(answer.status(), String::new()),
                    Err(error) => text(StatusCode::BAD_GATEWAY, error.to_string()),
                }
            }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(connection), service));
    }
}

/// A gateway in a process of its own.
struct Gateway {
    process: Process,
    address: String,
    http: Client<HttpConnector, Body>,
}

impl Gateway {
    fn start(token_url: &str, api: &str, redis: &str) -> Result<Self, BoxError> {
        let mut command = Command::new(env::current_exe()?);
        let mut process = Process(command.args([token_url, api, redis]).stdout(Stdio::piped()).spawn()?);
        let mut address = String::new();
        BufReader::new(process.0.stdout.take().ok_or("no output")?).read_line(&mut address)?;
        let http = Client::builder(TokioExecutor::new()).build_http();
        Ok(Self { process, address: address.trim().to_owned(), http })
    }

    fn get(&self) -> impl Future<Output = Result<StatusCode, BoxError>> + Send + use<> {
        let request = self.http.get(format!("http://{}/", self.address).parse().expect("a URL"));
        async move { Ok(request.await?.status()) }
    }

    async fn exchanges(&self) -> Result<u64, BoxError> {
        Ok(self.ask("exchanges").await?.parse()?)
    }

    async fn has_store(&self) -> Result<bool, BoxError> {
        Ok(self.ask("has-store").await?.parse()?)
    }

    async fn ask(&self, what: &str) -> Result<String, BoxError> {
        let answer = self.http.get(format!("http://{}/{what}", self.address).parse()?).await?;
        Ok(String::from_utf8(answer.into_body().collect().await?.to_bytes().to_vec())?)
    }
}

/// A Redis with a port and a folder of its own.
struct Redis {
    process: Process,
    folder: PathBuf,
    port: u16,
}

impl Redis {
    fn start() -> Result<Self, BoxError> {
        let port = StdTcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let folder = env::temp_dir().join(format!("tower-bearer-fleet-{port}"));
        fs::create_dir_all(&folder)?;
        Ok(Self { process: Self::run(port, &folder)?, folder, port })
    }

    fn restart(&mut self) -> Result<(), BoxError> {
        self.process = Self::run(self.port, &self.folder)?;
        Ok(())
    }

    fn run(port: u16, folder: &Path) -> Result<Process, BoxError> {
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"]).arg(folder);
        let process = command.stdout(Stdio::null()).spawn();
        let process = Process(process.map_err(|error| format!("redis-server cannot be started: {error}"))?);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::yield_now();
        }
        Ok(process)
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Returns how many keys there are, and all that is stored: names, values and fields.
    fn everything(&self) -> Result<(usize, Vec<u8>), BoxError> {
        let mut connection = redis::Client::open(self.url())?.get_connection()?;
        let keys: Vec<Vec<u8>> = redis::cmd("KEYS").arg("*").query(&mut connection)?;
        let mut all = keys.concat();
        for key in &keys {
            let kind: String = redis::cmd("TYPE").arg(key).query(&mut connection)?;
            let command = if kind == "hash" { "HGETALL" } else { "GET" };
            let value: redis::Value = redis::cmd(command).arg(key).query(&mut connection)?;
            match value {
                redis::Value::BulkString(bytes) => all.extend(bytes),
                other => all.extend(redis::from_redis_value::<Vec<Vec<u8>>>(other)?.concat()),
            }
        }
        Ok((keys.len(), all))
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A process, which ends with this one.
struct Process(Child);

impl Process {
    /// Ends it at once, as SIGKILL does.
    fn kill(&mut self) -> io::Result<()> {
        self.0.kill()?;
        self.0.wait().map(drop)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

fn answered(answers: &[Result<StatusCode, BoxError>]) -> usize {
    answers.iter().filter(|answer| matches!(answer, Ok(StatusCode::OK))).count()
}

/// Prints a count, and fails if it is another one than expected.
fn expect<T: PartialEq + Display + Copy>(what: &str, is: T, expected: T) -> Result<(), BoxError> {
    println!("   {what}: {is}");
    if is == expected { Ok(()) } else { Err(format!("{what}: {is}, and not {expected}").into()) }
}
