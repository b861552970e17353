//! Shows everything that the metrics count, for Prometheus to read: caches, a pool and a store, of which each fails now and then.
//! It runs until it is stopped. Only loopback is used.
//!
//! ```text
//! cargo run --package tower-bearer-observed --bin load -- 127.0.0.1:9464
//! ```

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{Router, routing::get};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::time::{interval, sleep};
use tower::{BoxError, Service, ServiceExt, util::BoxCloneService};
use tower_bearer::{
    BearerAuthLayer, Error, TokenCache, TokenPool, TokenSource,
    grant::{ClientAuth, ClientCredentials, Secret},
    store::{
        Lease, LeaseAnswer, LeaseOwner, Loaded, MemoryStore, NewsReceiver, SealingKey, SealingKeys, SharedStore,
        StoreError, StoreKey, Stored, TokenStore,
    },
    testing::{Failure, Issuer},
};
use tower_layer::Layer;

const SECOND: Duration = Duration::from_secs(1);

type Client = BoxCloneService<Request<Full<Bytes>>, (), BoxError>;

/// An issuer whose tokens live for half a minute, and which takes as long as a real one.
fn issuer() -> Issuer {
    let issuer = Issuer::builder().lifetime(30 * SECOND).build();
    issuer.delay(Duration::from_millis(80));
    issuer
}

fn source(issuer: &Issuer, secret: impl Into<Secret>) -> Result<impl TokenSource, Error> {
    let auth = ClientAuth::basic("client1", secret);
    ClientCredentials::builder("https://issuer.test/token").client_auth(auth).build_with(issuer.service())
}

/// Drops the answers of a service.
fn forgetting<S>(service: S) -> Client
where
    S: Service<Request<Full<Bytes>>, Error = BoxError, Future: Send> + Clone + Send + 'static,
{
    BoxCloneService::new(service.map_response(drop))
}

fn client(issuer: &Issuer, layer: &BearerAuthLayer) -> Client {
    forgetting(layer.layer(issuer.api()))
}

/// Sends twenty requests in each second: to twelve paths often, and to fifty now and then.
async fn send(client: Client) {
    let mut ticks = interval(SECOND / 20);
    for number in 0_u64.. {
        ticks.tick().await;
        let often_or_rare = if number % 8 == 0 { number / 8 % 50 } else { number % 12 };
        let request = Request::get(format!("https://api.test/fhir/{often_or_rare}")).body(Full::default());
        let (client, request) = (client.clone(), request.expect("a request"));
        tokio::spawn(async move {
            // That some of them fail is what is shown.
            _ = client.oneshot(request).await;
        });
    }
}

/// Its token is revoked every 7 s, and replaced, sometimes by the second request for one.
fn revoked() -> Result<(), BoxError> {
    let issuer = issuer();
    let cache = TokenCache::builder(source(&issuer, "client-secret")?).name("patients").build();
    tokio::spawn(send(client(&issuer, &BearerAuthLayer::with_cache(cache))));
    tokio::spawn(async move {
        for number in 1_u64.. {
            sleep(7 * SECOND).await;
            issuer.fail_next(u64::from(number.is_multiple_of(3)), Failure::Status(503));
            issuer.revoke_current();
        }
    });
    Ok(())
}

/// Its issuer is down for half of each minute, so that its token expires.
fn outages() -> Result<(), BoxError> {
    let issuer = issuer();
    let cache = TokenCache::builder(source(&issuer, "client-secret")?).name("orders").build();
    tokio::spawn(send(client(&issuer, &BearerAuthLayer::with_cache(cache))));
    tokio::spawn(async move {
        loop {
            sleep(25 * SECOND).await;
            issuer.fail_until_cleared(Failure::Status(503));
            sleep(35 * SECOND).await;
            issuer.clear_failures();
        }
    });
    Ok(())
}

/// Its API rejects each token for a while, so that rejections use up their budget.
fn rejected() -> Result<(), BoxError> {
    let (issuer, other) = (issuer(), issuer());
    let cache = TokenCache::builder(source(&issuer, "client-secret")?).name("reports").build();
    let rejects = Arc::new(AtomicBool::new(true));
    let (accepted, rejected) = (issuer.api(), other.api());
    let choose = Arc::clone(&rejects);
    let api = tower::service_fn(move |request| {
        let (accepted, rejected, rejects) = (accepted.clone(), rejected.clone(), choose.load(Relaxed));
        async move { if rejects { rejected.oneshot(request).await } else { accepted.oneshot(request).await } }
    });
    tokio::spawn(send(forgetting(BearerAuthLayer::with_cache(cache).layer(api))));
    tokio::spawn(async move {
        loop {
            sleep(60 * SECOND).await;
            rejects.store(false, Relaxed);
            sleep(20 * SECOND).await;
            rejects.store(true, Relaxed);
        }
    });
    Ok(())
}

/// Its secret is wrong.
fn refused() -> Result<(), BoxError> {
    let issuer = issuer();
    let cache = TokenCache::builder(source(&issuer, "wrong")?).name("billing").build();
    tokio::spawn(send(client(&issuer, &BearerAuthLayer::with_cache(cache))));
    Ok(())
}

/// Fifty tenants, a few of them often, where twenty have a place.
fn tenants() {
    let issuer = issuer();
    let tokens = issuer.clone();
    let pool = TokenPool::builder(move |_: &String| Ok(TokenCache::builder(source(&tokens, "client-secret")?)));
    let pool = pool.name("tenants").max_identities(20).max_renewals(2).build();
    let layer = BearerAuthLayer::with_pool(pool, |head| Some(Cow::<String>::Owned(head.uri().path().to_owned())));
    tokio::spawn(send(client(&issuer, &layer)));
}

/// A store that answers nothing for a while, and forgets everything now and then.
#[derive(Clone, Default)]
struct Failing {
    store: MemoryStore,
    fails: Arc<AtomicBool>,
}

impl Failing {
    fn up(&self) -> Result<&MemoryStore, StoreError> {
        if self.fails.load(Relaxed) { Err(StoreError::new("it is down")) } else { Ok(&self.store) }
    }
}

impl TokenStore for Failing {
    async fn load(&self, key: StoreKey) -> Result<Loaded, StoreError> {
        self.up()?.load(key).await
    }

    async fn lease(&self, key: StoreKey, owner: LeaseOwner, length: Duration) -> Result<LeaseAnswer, StoreError> {
        self.up()?.lease(key, owner, length).await
    }

    async fn commit(&self, key: StoreKey, lease: Lease, record: Vec<u8>, keep: Duration) -> Result<bool, StoreError> {
        self.up()?.commit(key, lease, record, keep).await
    }

    async fn release(&self, key: StoreKey, lease: Lease) -> Result<(), StoreError> {
        self.up()?.release(key, lease).await
    }

    fn news(&self) -> NewsReceiver {
        self.store.news()
    }
}

/// Three processes that share a token, which is revoked every 9 s.
fn fleet() -> Result<(), BoxError> {
    let (issuer, store) = (issuer(), Failing::default());
    for _ in 0..3 {
        let keys = SealingKeys::new(SealingKey::new(&[7; 32]));
        let shared = SharedStore::builder(store.clone(), keys).name("fleet").build();
        let stored = Stored::new(source(&issuer, "client-secret")?, &shared);
        let cache = TokenCache::builder(stored).name("fleet").build();
        tokio::spawn(send(client(&issuer, &BearerAuthLayer::with_cache(cache))));
    }
    tokio::spawn(async move {
        for number in 1_u64.. {
            sleep(9 * SECOND).await;
            store.fails.store(number % 7 >= 5, Relaxed);
            issuer.revoke_current();
            // The token request is in progress for some of this time, and its lease is lost.
            for _ in 0..10 {
                sleep(SECOND / 50).await;
                if number % 7 == 2 {
                    store.store.clear();
                }
            }
        }
    });
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9464".to_owned());
    let recorder = PrometheusBuilder::new().install_recorder()?;
    tower_bearer::events::describe_metrics();
    for part in [revoked, outages, rejected, refused, fleet] {
        part()?;
    }
    tenants();
    let page = Router::new().route("/metrics", get(async move || recorder.render()));
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("http://{}/metrics", listener.local_addr()?);
    Ok(axum::serve(listener, page).await?)
}
