//! A source whose requests go through the layer that it serves gets an error, not a hang.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tokio::time::{Instant, sleep, timeout};
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_bearer::{
    AccessToken, BearerAuthLayer, BoxTokenSource, Error, NotRetried, Outcome, PasswordGrant, TokenCache,
    grant::HttpService, source::from_fn, testing::Issuer,
};

use crate::scripted::{Api, URI, get, send, status};
use crate::support::{SECOND, grant, scripted};

type Client = BoxCloneSyncService<Request<Full<Bytes>>, Response<Full<Bytes>>, BoxError>;

/// A client that is created after the source that uses it.
#[derive(Clone, Default)]
struct Itself(Arc<OnceLock<Client>>);

impl Itself {
    fn becomes(&self, client: Client) {
        assert!(self.0.set(client).is_ok());
    }

    fn grant(&self) -> PasswordGrant<impl HttpService> {
        let itself = Arc::clone(&self.0);
        grant(service_fn(move |request: Request<Full<Bytes>>| itself.get().unwrap().clone().oneshot(request)))
    }
}

/// In the same task, or in another one that the source spawns.
#[tokio::test(start_paused = true)]
async fn a_source_behind_its_own_layer_gets_an_error_instead_of_a_deadlock() {
    for buffered in [false, true] {
        let (issuer, itself) = (Issuer::new(), Itself::default());
        let service = BearerAuthLayer::new(itself.grant()).layer(issuer.service());
        itself.becomes(if buffered {
            Client::new(ServiceBuilder::new().buffer(1).service(service.clone()))
        } else {
            Client::new(service.clone())
        });
        let start = Instant::now();
        let error = service.oneshot(get(URI)).await.unwrap_err();
        assert!(error.downcast_ref().is_some_and(Error::is_recursion), "{error}");
        assert_eq!((issuer.counts().token_requests, start.elapsed()), (0, Duration::ZERO));
    }
}

/// Each of two sources sends its requests through the layer that the other one serves.
#[tokio::test(start_paused = true)]
async fn two_sources_behind_each_others_layers_get_an_error_instead_of_a_deadlock() {
    for buffered in [false, true] {
        let (issuer, first, second) = (Issuer::new(), Itself::default(), Itself::default());
        let layers = [&first, &second].map(|client| BearerAuthLayer::new(client.grant()));
        let [serves_first, serves_second] = layers.map(|layer| layer.layer(issuer.service()));
        for (client, other) in [(&first, serves_second), (&second, serves_first.clone())] {
            client.becomes(if buffered {
                Client::new(ServiceBuilder::new().buffer(1).service(other))
            } else {
                Client::new(other)
            });
        }
        let start = Instant::now();
        let error = serves_first.oneshot(get(URI)).await.unwrap_err();
        assert!(error.downcast_ref().is_some_and(Error::is_recursion), "buffered: {buffered}, {error}");
        assert_eq!((issuer.counts().token_requests, start.elapsed()), (0, Duration::ZERO));
    }
}

/// Requests that do not need a token do not wait for themselves.
#[tokio::test]
async fn a_sources_client_may_have_the_layer_if_its_requests_need_no_token() {
    for (origins, keep) in [(URI, false), ("https://issuer.test", true)] {
        let (issuer, itself) = (Issuer::new(), Itself::default());
        let layer = BearerAuthLayer::new(itself.grant());
        let layer = layer.origins([origins]).unwrap().keep_existing(keep);
        itself.becomes(Client::new(layer.layer(issuer.service())));
        layer.cache().token().await.unwrap();
        assert_eq!(issuer.counts().issued, 1);
    }
}

/// While renewals are limited, a rejected token is served during its own renewal, but not to requests of that renewal.
#[tokio::test(start_paused = true)]
async fn a_renewal_does_not_use_the_token_that_it_replaces() {
    let (api, itself) = (Api::answering((0..9).map(|_| status(401))), Itself::default());
    let client = itself.clone();
    let (source, asked) = scripted(move |number| {
        let client = client.clone();
        async move {
            if number > 2 {
                let answer = client.0.get().unwrap().clone().oneshot(get(URI)).await;
                answer.map_err(|error| *error.downcast::<Error>().expect("an error of the layer"))?;
            }
            AccessToken::new(format!("t{number}"))
        }
    });
    let service = BearerAuthLayer::new(source).layer(api.clone());
    itself.becomes(Client::new(service.clone()));
    assert_eq!(service.clone().oneshot(get(URI)).await.unwrap().status(), 401);
    tokio::time::advance(2 * SECOND).await;
    assert_eq!((asked.times(), api.take_authorizations()), (2, vec!["Bearer t1".to_owned(), "Bearer t2".to_owned()]));

    let answer = service.oneshot(get(URI)).await.unwrap();
    let why = answer.extensions().get().and_then(Outcome::not_retried);
    assert!(matches!(why, Some(NotRetried::RenewalFailed { error, .. }) if error.is_recursion()), "{why:?}");
    assert_eq!((asked.times(), api.take_authorizations()), (3, vec!["Bearer t2".to_owned()]));
}

type Sent = Pin<Box<dyn Future<Output = Result<Response<Full<Bytes>>, BoxError>> + Send>>;

/// A request was sent outside of the renewal. Its rejection needs the renewal, inside of which the source waits for it.
#[tokio::test(start_paused = true)]
async fn a_renewal_does_not_join_itself() {
    let api = Api::answering([status(200), status(401), status(401)]);
    let (sent, asked) = (Arc::new(Mutex::new(None::<Sent>)), Arc::new(AtomicU64::new(0)));
    let source = {
        let sent = Arc::clone(&sent);
        from_fn(move |_| {
            let (number, sent) = (asked.fetch_add(1, SeqCst) + 1, sent.lock().unwrap().take());
            async move {
                if let Some(sent) = sent {
                    let answer = sent.await.unwrap();
                    let why = answer.extensions().get().and_then(Outcome::not_retried);
                    assert!(
                        matches!(why, Some(NotRetried::RenewalFailed { error, .. }) if error.is_recursion()),
                        "{why:?}"
                    );
                }
                AccessToken::new(format!("t{number}"))
            }
        })
    };
    let mut service = BearerAuthLayer::new(source).layer(api.clone());
    send(&mut service, get(URI)).await.unwrap();
    *sent.lock().unwrap() = Some(Box::pin(service.clone().call(get(URI))));
    let start = Instant::now();
    let answer = send(&mut service, get(URI)).await.unwrap();
    assert_eq!((answer.status().as_u16(), start.elapsed()), (200, Duration::ZERO));
    assert_eq!(api.take_authorizations(), ["Bearer t1", "Bearer t1", "Bearer t1", "Bearer t2"]);
}

/// Each of two caches has a source that uses the other's token. The first source does not wait long for the second one.
#[tokio::test(start_paused = true)]
async fn a_renewal_that_outlives_the_one_it_began_in_may_use_its_token() {
    let (first, second) = (Arc::new(OnceLock::<TokenCache>::new()), Arc::new(OnceLock::<TokenCache>::new()));
    let (seconds, firsts) = (Arc::clone(&second), Arc::clone(&first));
    let source = BoxTokenSource::new(from_fn(move |_| {
        let second = Arc::clone(&seconds);
        async move {
            let second = second.get().unwrap();
            assert!(timeout(Duration::from_secs(1), second.token()).await.is_err());
            AccessToken::new("first")
        }
    }));
    let first_cache = first.get_or_init(|| TokenCache::new(source));
    let source = BoxTokenSource::new(from_fn(move |_| {
        let first = Arc::clone(&firsts);
        async move {
            sleep(Duration::from_secs(5)).await;
            let first = first.get().unwrap();
            first.token().await
        }
    }));
    let second_cache = second.get_or_init(|| TokenCache::new(source));
    first_cache.token().await.unwrap();
    sleep(Duration::from_secs(9)).await;
    assert_eq!(second_cache.token().await.unwrap().secret(), "first");
    assert_eq!(second_cache.status().renewals, 1);
}
