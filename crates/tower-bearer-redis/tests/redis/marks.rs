//! Marks: what a worker does with its lease and its refresh token, and when, printed as it happens. What a killed worker did last is
//! known by them.

#![expect(clippy::disallowed_methods, reason = "times of several processes are compared")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tower::{BoxError, service_fn, util::BoxCloneSyncService};
use tower_bearer::store::{Lease, LeaseAnswer, LeaseOwner, Loaded, NewsReceiver, StoreError, StoreKey, TokenStore};
use tower_bearer_redis::RedisStore;

use crate::workers::{LINE, setting};

/// Something that a worker did.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    pub(crate) what: String,
    /// The time of day.
    pub(crate) at: Duration,
}

impl Mark {
    /// Reads it from a line of a worker.
    pub(crate) fn read(line: &str) -> Option<Self> {
        let (at, what) = line.strip_prefix("mark ")?.split_once(' ')?;
        Some(Self { what: what.to_owned(), at: Duration::from_micros(at.parse().ok()?) })
    }
}

/// Prints a mark, if marks are wanted.
pub(crate) fn mark(what: &str) {
    if setting("MARKS").is_some() {
        println!("\n{LINE}mark {} {what}", now().as_micros());
    }
}

pub(crate) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

/// Returns a client that marks when a token request is sent, and when its answer is there.
pub(crate) fn marked_client() -> BoxCloneSyncService<Request<Full<Bytes>>, Response<Full<Bytes>>, BoxError> {
    // As the crate's own client: a connection that the server closes meanwhile would be a failed token request.
    let http = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http::<Full<Bytes>>();
    BoxCloneSyncService::new(service_fn(move |request| {
        let http = http.clone();
        async move {
            mark("asked");
            let (head, body) = http.request(request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            mark("answered");
            Ok(Response::from_parts(head, Full::new(body)))
        }
    }))
}

/// A store that marks leases and commits.
pub(crate) struct MarkedStore(pub(crate) RedisStore);

impl TokenStore for MarkedStore {
    async fn load(&self, key: StoreKey) -> Result<Loaded, StoreError> {
        self.0.load(key).await
    }

    async fn lease(&self, key: StoreKey, owner: LeaseOwner, length: Duration) -> Result<LeaseAnswer, StoreError> {
        let answer = self.0.lease(key, owner, length).await;
        if matches!(answer, Ok(LeaseAnswer::Given(_))) {
            mark("leased");
        }
        answer
    }

    async fn commit(&self, key: StoreKey, lease: Lease, record: Vec<u8>, keep: Duration) -> Result<bool, StoreError> {
        let committed = self.0.commit(key, lease, record, keep).await;
        if matches!(committed, Ok(true)) {
            mark("committed");
        }
        committed
    }

    async fn release(&self, key: StoreKey, lease: Lease) -> Result<(), StoreError> {
        self.0.release(key, lease).await
    }

    fn news(&self) -> NewsReceiver {
        self.0.news()
    }
}
