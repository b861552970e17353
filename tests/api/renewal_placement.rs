//! Where a renewal runs: runtimes, shared permits, and a client inside its own layer.

use std::{
    sync::{Arc, OnceLock, mpsc},
    task::{Context, Poll},
    time::Duration,
};

use futures::FutureExt;
use tokio::runtime::{Builder, Runtime};
use tower::{BoxError, Layer, Service, ServiceExt, buffer::Buffer, limit::ConcurrencyLimit, util::BoxCloneSyncService};
use tower_bearer::{
    AccessToken, BearerAuth, BearerAuthLayer, Error, TokenCache,
    source::from_fn,
    testing::{Issuer, IssuerService},
};

use crate::support::{Answer, Ask, MINUTE, SECOND, ask, get, grant, is_ok, issuer, scripted, settled, token};

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn one_permit_for_the_token_endpoint_and_the_api_does_not_deadlock() {
    let issuer = issuer();
    let shared = ConcurrencyLimit::new(issuer.service(), 1);
    let layer = BearerAuthLayer::new(grant(shared.clone()));
    let client = layer.layer(shared);
    let cold: Vec<_> = (0..100).map(|_| tokio::spawn(client.clone().oneshot(ask("/fhir")))).collect();
    for request in cold {
        assert!(is_ok(&request.await.unwrap().unwrap()));
    }
    assert_eq!(issuer.counts().token_requests, 1);
    issuer.revoke_all();
    let rejected: Vec<_> = (0..100).map(|_| tokio::spawn(client.clone().oneshot(ask("/fhir")))).collect();
    for request in rejected {
        assert!(is_ok(&request.await.unwrap().unwrap()));
    }
    assert_eq!((issuer.counts().token_requests, issuer.counts().api_accepted), (2, 200));
    tokio::time::advance(56 * MINUTE).await;
    for _ in 0..10 {
        assert!(is_ok(&get(&client, "/fhir").await));
    }
    settled(layer.cache()).await;
    assert_eq!((issuer.counts().token_requests, issuer.counts().api_accepted), (3, 210));
}

#[test]
fn a_waiter_starts_a_renewal_again_if_its_runtime_was_shut_down() {
    let (start, started) = mpsc::channel();
    let (source, asked) = scripted(move |n| {
        let start = start.clone();
        async move {
            start.send(n).unwrap();
            if n == 1 { std::future::pending().await } else { Ok(token(n)) }
        }
    });
    let cache = TokenCache::new(source);
    let (first, second) = (runtime(), runtime());
    let caller = cache.clone();
    first.spawn(async move { caller.token().await });
    started.recv().unwrap();
    let waiter = cache.clone();
    let waiter = second.spawn(async move { waiter.token().await });
    first.shutdown_background();
    assert_eq!(second.block_on(waiter).unwrap().unwrap().secret(), "t2");
    assert_eq!(asked.times(), 2);
}

/// A blocking program runs its runtime only while it waits.
#[test]
fn a_renewal_whose_runtime_does_not_run_is_abandoned() {
    let (source, asked) = scripted(async |n| Ok(token(n)));
    let cache = TokenCache::new(source);
    let idle = Builder::new_current_thread().enable_all().build().unwrap();
    idle.block_on(async { cache.clone().token().now_or_never() });
    let driven = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    assert!(driven.block_on(cache.token()).unwrap_err().is_timeout());
    assert_eq!(driven.block_on(cache.token()).unwrap().secret(), "t1");
    assert_eq!(asked.times(), 1);
}

#[test]
fn a_runtime_that_was_shut_down_is_an_error_instead_of_an_endless_loop() {
    let (source, asked) = scripted(async |n| Ok(token(n)));
    let cache = TokenCache::new(source);
    let runtime = runtime();
    let handle = runtime.handle().clone();
    runtime.shutdown_background();
    let (done, result) = mpsc::channel();
    let caller = cache.clone();
    std::thread::spawn(move || {
        let _entered = handle.enter();
        done.send(futures::executor::block_on(caller.token()).is_err())
    });
    assert_eq!(result.recv_timeout(Duration::from_secs(10)), Ok(true));
    assert_eq!(asked.times(), 0);
}

#[test]
fn outside_a_runtime_a_missing_token_is_an_error_and_one_at_hand_is_served() {
    let (source, asked) = scripted(async |n| Ok(token(n).with_refresh_in(Duration::ZERO)));
    let layer = BearerAuthLayer::new(source);
    let client = layer.layer(issuer().api());
    let error = futures::executor::block_on(client.clone().oneshot(ask("/"))).unwrap_err();
    let error = error.downcast_ref::<Error>().unwrap();
    assert!(error.is_no_runtime() && error.to_string().contains("Tokio runtime"), "{error}");
    assert!(futures::executor::block_on(layer.cache().token()).is_err());
    let fetched = runtime().block_on(layer.cache().token()).unwrap();
    let served = futures::executor::block_on(layer.cache().token()).unwrap();
    assert_eq!((served.secret(), fetched.secret()), ("t1", "t1"));
    layer.cache().invalidate(&served);
    assert!(futures::executor::block_on(layer.cache().token()).is_err());
    assert_eq!(runtime().block_on(layer.cache().token()).unwrap().secret(), "t2");
    assert_eq!(asked.times(), 2);
}

/// A log subscriber that asks the cache for its status does not cause a deadlock.
#[tokio::test(start_paused = true)]
async fn the_cache_may_be_asked_while_it_logs() {
    use tracing_subscriber::layer::SubscriberExt;

    struct Asks(TokenCache);
    impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Asks {
        fn on_event(&self, _: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
            let _ = self.0.status();
        }
    }

    let (source, _) = scripted(async |n| if n <= 4 { Err(Error::transient("down")) } else { Ok(token(n)) });
    let cache = TokenCache::new(source);
    let _logging = tracing::subscriber::set_default(tracing_subscriber::registry().with(Asks(cache.clone())));
    cache.token().await.unwrap_err();
    tokio::time::advance(SECOND).await;
    cache.token().await.unwrap();
}

/// An HTTP client that can be set later. Until then it is the issuer's own service.
#[derive(Clone)]
struct Late {
    issuer: IssuerService,
    client: Arc<OnceLock<BoxCloneSyncService<Ask, Answer, BoxError>>>,
}

impl Late {
    fn new(issuer: &Issuer) -> Self {
        Self { issuer: issuer.service(), client: Arc::default() }
    }

    /// Sets the client. In these tests it goes through the layer of its own source, by mistake.
    fn becomes<S>(&self, client: S)
    where
        S: Service<Ask, Response = Answer, Error = BoxError, Future: Send + 'static> + Clone + Send + Sync + 'static,
    {
        assert!(self.client.set(BoxCloneSyncService::new(client)).is_ok());
    }
}

impl Service<Ask> for Late {
    type Response = Answer;
    type Error = BoxError;
    type Future = futures::future::BoxFuture<'static, Result<Answer, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Ask) -> Self::Future {
        match self.client.get() {
            Some(client) => Box::pin(client.clone().oneshot(request)),
            None => Box::pin(self.issuer.clone().map_err(Into::into).oneshot(request)),
        }
    }
}

type Recursive = BearerAuth<IssuerService>;

/// Checks that recursion is an error at once, without a token and with a stale one. `wrap` makes the source's client
/// from the service that the source serves.
async fn recursion_is_an_error<S>(wrap: impl Fn(Recursive) -> S)
where
    S: Service<Ask, Response = Answer, Error = BoxError, Future: Send + 'static> + Clone + Send + Sync + 'static,
{
    let start = tokio::time::Instant::now();
    for stale in [false, true] {
        let issuer = issuer();
        let late = Late::new(&issuer);
        let layer = BearerAuthLayer::new(grant(late.clone()));
        let client = layer.layer(issuer.service());
        if stale {
            assert!(is_ok(&get(&client, "/fhir").await));
            tokio::time::advance(56 * MINUTE).await;
        }
        late.becomes(wrap(client.clone()));
        let asked = client.clone().oneshot(ask("/fhir")).await;
        if stale {
            assert!(is_ok(&asked.unwrap()));
            settled(layer.cache()).await;
            assert!(layer.cache().status().last_error.unwrap().is_recursion());
        } else {
            assert!(asked.unwrap_err().downcast_ref::<Error>().unwrap().is_recursion());
        }
        assert_eq!(issuer.counts().token_requests, u64::from(stale));
    }
    assert_eq!(start.elapsed(), 56 * MINUTE);
}

#[tokio::test(start_paused = true)]
async fn a_source_whose_client_is_in_its_own_layer_gets_an_error() {
    recursion_is_an_error(|client| client).await;
}

#[tokio::test(start_paused = true)]
async fn a_source_whose_client_is_in_its_own_layer_behind_a_buffer_gets_an_error() {
    recursion_is_an_error(|client| Buffer::new(client, 8)).await;
}

/// A source that does not mark its requests, behind a buffer, is ended by the deadline.
#[tokio::test(start_paused = true)]
async fn recursion_of_a_closure_is_an_error_and_behind_a_buffer_a_timeout() {
    for buffered in [false, true] {
        let late = Late::new(&issuer());
        let source = {
            let late = late.clone();
            from_fn(move |_| {
                let late = late.clone();
                async move {
                    let answer = late.oneshot(ask("/fhir")).await;
                    answer.map_err(|error| match error.downcast::<Error>() {
                        Ok(ours) => *ours,
                        Err(other) => Error::transient(other),
                    })?;
                    AccessToken::new("t")
                }
            })
        };
        let client = BearerAuthLayer::new(source).layer(issuer().service());
        if buffered {
            late.becomes(Buffer::new(client.clone(), 8));
        } else {
            late.becomes(client.clone());
        }
        let error = client.oneshot(ask("/fhir")).await.unwrap_err();
        let error = error.downcast_ref::<Error>().unwrap();
        assert_eq!((error.is_recursion(), error.is_timeout()), (!buffered, buffered), "{error:?}");
    }
}
