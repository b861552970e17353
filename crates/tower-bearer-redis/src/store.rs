//! The store.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use redis::Value;
use tokio::{
    runtime::Handle,
    task::JoinHandle,
    time::{Instant, timeout_at},
};
use tower_bearer::store::{
    Lease, LeaseAnswer, LeaseOwner, Loaded, NewsChannel, NewsReceiver, StoreError, StoreKey, TokenStore,
};

use crate::{
    builder::RedisStoreBuilder,
    error::{Kind, RedisStoreError},
    eviction,
    key::{Key, Slot},
    news,
    scripts::{COMMIT, Call, LEASE, LOAD, RELEASE},
    servers::Servers,
    status::RedisStatus,
    topology::Topology,
};

/// A lease's key is kept for so long after its end. Its fence then helps to keep fences apart if the server's clock goes back.
const FENCE_KEPT: Duration = Duration::from_secs(3600);

/// The longest time that a server is told: ten years. It refuses some longer ones.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// A [`TokenStore`] on Redis or Valkey. It is cheap to clone.
///
/// It connects at the first call. A lost connection is replaced in the background. Each call ends within the
/// [timeout](RedisStoreBuilder::timeout), whatever the server does. All calls need a Tokio runtime with its timer.
///
/// ```no_run
/// use tower_bearer_redis::RedisStore;
///
/// let store = RedisStore::new("redis://127.0.0.1:6379")?;
/// # Ok::<(), tower_bearer_redis::RedisStoreError>(())
/// ```
#[derive(Clone)]
pub struct RedisStore(Arc<Shared>);

struct Shared {
    topology: Arc<Topology>,
    servers: Arc<Servers>,
    prefix: String,
    eviction_checked: AtomicBool,
    news: NewsChannel,
    listener: Mutex<Option<JoinHandle<()>>>,
}

impl RedisStore {
    /// Creates a store with default settings.
    ///
    /// # Errors
    /// As [`RedisStoreBuilder::build`].
    pub fn new(url: &str) -> Result<Self, RedisStoreError> {
        Self::builder(url).build()
    }

    /// Sets up a store on these servers: a URL, or several with commas between them.
    ///
    /// URLs are `redis://[user][:password@]host[:port][/database]`, `rediss://…` for TLS (feature `tls`), or `unix:///path`. `valkey://`
    /// and `valkeys://` are the same. Several URLs name nodes of a cluster or, with [`sentinel`](RedisStoreBuilder::sentinel),
    /// sentinels. Characters of a password that a URL reserves are written as `%40`.
    pub fn builder(url: &str) -> RedisStoreBuilder {
        RedisStoreBuilder::new(url)
    }

    pub(crate) fn from_parts(topology: Topology, servers: Arc<Servers>, prefix: String) -> Self {
        Self(Arc::new(Shared {
            topology: Arc::new(topology),
            servers,
            prefix,
            eviction_checked: AtomicBool::new(false),
            news: NewsChannel::new(),
            listener: Mutex::new(None),
        }))
    }

    /// Returns what is known of the servers, without asking them.
    #[must_use]
    pub fn status(&self) -> RedisStatus {
        self.0.servers.health.status()
    }

    fn key(&self, key: StoreKey) -> Key {
        Key::new(&self.0.prefix, key)
    }

    /// Runs a script, in a task of its own: a caller that stops waiting does not keep a connection in use that has gone deaf.
    async fn call(&self, slot: Slot, call: Call) -> Result<Value, RedisStoreError> {
        let runtime = Handle::try_current().map_err(|_| Kind::NoRuntime)?;
        let shared = Arc::clone(&self.0);
        let task = runtime.spawn(async move {
            let result = shared.run(slot, &call).await;
            shared.servers.health.note(&result);
            result
        });
        task.await.unwrap_or_else(|_| Err(Kind::NoRuntime.into()))
    }
}

impl Shared {
    /// Runs a script within the limit. If the connection was lost or the key is elsewhere, it is run once more.
    async fn run(&self, slot: Slot, call: &Call) -> Result<Value, RedisStoreError> {
        let limit = self.servers.timeout;
        let deadline = Instant::now() + limit;
        let late = || RedisStoreError::from(Kind::TimedOut(limit));
        let mut tries = 2;
        let mut redirected = None;
        loop {
            tries -= 1;
            let route = match redirected.take() {
                Some(route) => Ok(route),
                None => timeout_at(deadline, self.topology.route(slot)).await.unwrap_or_else(|_| Err(late())),
            };
            let mut route = match route {
                Ok(route) => route,
                Err(error) if tries > 0 && error.is_worth_another_try() => continue,
                Err(error) => return Err(error),
            };
            self.check_eviction(&route.link.connection);
            let answer = timeout_at(deadline, call.run(&mut route.link.connection, route.asking)).await;
            let error = match answer {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) if tries > 0 => {
                    let moved = timeout_at(deadline, self.topology.redirected(&route, &error)).await;
                    redirected = moved.ok().flatten().and_then(Result::ok);
                    RedisStoreError::of(&error)
                }
                Ok(Err(error)) if error.is_timeout() => late(),
                Ok(Err(error)) => RedisStoreError::of(&error),
                Err(_) => late(),
            };
            self.topology.failed(&route, &error);
            if tries == 0 || !error.is_worth_another_try() {
                return Err(error);
            }
        }
    }

    fn check_eviction(&self, connection: &redis::aio::MultiplexedConnection) {
        if !self.eviction_checked.swap(true, Relaxed) {
            let (connection, servers) = (connection.clone(), Arc::clone(&self.servers));
            tokio::spawn(async move { eviction::check(connection, &servers.health).await });
        }
    }
}

impl TokenStore for RedisStore {
    async fn load(&self, key: StoreKey) -> Result<Loaded, StoreError> {
        let key = self.key(key);
        let call = Call { script: &LOAD, keys: vec![key.record, key.lease], arguments: vec![] };
        let [record, left] = pair(self.call(key.slot, call).await?)?;
        let record = match record {
            Value::BulkString(record) => Some(record),
            Value::Nil => None,
            _ => return Err(unexpected()),
        };
        let left = micros(&left)?;
        Ok(Loaded::new(record, (!left.is_zero()).then_some(left)))
    }

    async fn lease(&self, key: StoreKey, owner: LeaseOwner, length: Duration) -> Result<LeaseAnswer, StoreError> {
        let key = self.key(key);
        let length = length.clamp(Duration::from_millis(1), LONGEST);
        let arguments = vec![text(&hex(owner)), text(&length.as_micros()), text(&(length + FENCE_KEPT).as_millis())];
        let call = Call { script: &LEASE, keys: vec![key.lease], arguments };
        match pair(self.call(key.slot, call).await?)? {
            [Value::Int(0), left] => Ok(LeaseAnswer::Held(micros(&left)?)),
            [Value::Int(1), Value::Int(fence)] => {
                let fence = fence.try_into().map_err(|_| unexpected())?;
                Ok(LeaseAnswer::Given(Lease { owner, fence }))
            }
            _ => Err(unexpected()),
        }
    }

    async fn commit(&self, key: StoreKey, lease: Lease, record: Vec<u8>, keep: Duration) -> Result<bool, StoreError> {
        let key = self.key(key);
        let keep = text(&keep.clamp(Duration::from_millis(1), LONGEST).as_millis());
        let arguments =
            vec![text(&hex(lease.owner)), text(&lease.fence), record, keep, self.channel(), key.name.into_bytes()];
        let call = Call { script: &COMMIT, keys: vec![key.record, key.lease], arguments };
        match self.call(key.slot, call).await? {
            Value::Int(done) => Ok(done == 1),
            _ => Err(unexpected()),
        }
    }

    async fn release(&self, key: StoreKey, lease: Lease) -> Result<(), StoreError> {
        let key = self.key(key);
        let arguments = vec![text(&hex(lease.owner)), text(&lease.fence), self.channel(), key.name.into_bytes()];
        let call = Call { script: &RELEASE, keys: vec![key.lease], arguments };
        self.call(key.slot, call).await?;
        Ok(())
    }

    /// Returns a receiver of the news. The first one starts a task that listens to the server, if a Tokio runtime runs; it ends when the
    /// store was dropped.
    fn news(&self) -> NewsReceiver {
        let receiver = self.0.news.receiver();
        let mut listener = self.0.listener.lock().unwrap_or_else(PoisonError::into_inner);
        if listener.as_ref().is_none_or(JoinHandle::is_finished)
            && let Ok(runtime) = Handle::try_current()
        {
            let topology = Arc::downgrade(&self.0.topology);
            let channel = String::from_utf8_lossy(&self.channel()).into_owned();
            *listener =
                Some(runtime.spawn(news::listen(topology, Arc::clone(&self.0.servers), channel, self.0.news.clone())));
        }
        receiver
    }
}

impl RedisStore {
    fn channel(&self) -> Vec<u8> {
        format!("{}:news", self.0.prefix).into_bytes()
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("prefix", &self.0.prefix)
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

fn hex(owner: LeaseOwner) -> String {
    format!("{:032x}", owner.0)
}

fn text(argument: &impl ToString) -> Vec<u8> {
    argument.to_string().into_bytes()
}

fn pair(answer: Value) -> Result<[Value; 2], StoreError> {
    match answer {
        Value::Array(values) => values.try_into().map_err(|_| unexpected()),
        _ => Err(unexpected()),
    }
}

fn micros(value: &Value) -> Result<Duration, StoreError> {
    match value {
        Value::Int(micros) => Ok(Duration::from_micros(u64::try_from(*micros).map_err(|_| unexpected())?)),
        _ => Err(unexpected()),
    }
}

fn unexpected() -> StoreError {
    RedisStoreError::from(Kind::Answer).into()
}
