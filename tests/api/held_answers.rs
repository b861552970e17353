//! The answer to a rejected request while its token is renewed. It holds its connection until it is read or dropped.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::future::join_all;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Mutex,
    time::{Instant, sleep, timeout},
};
use tower::{BoxError, Layer, Service, ServiceExt};
use tower_bearer::{
    AccessToken, BearerAuthLayer, Error, NotRetried, PasswordGrant, TokenCache, TokenSource, grant::ClientAuth,
};

use crate::support::{Answer, Ask, MINUTE, SECOND, ask, get, is_ok, not_retried, outcome, scripted, settled, token};

/// An API and an issuer in one. `/token` issues t1, t2 and so on. `/dead` rejects t1 with a large answer.
#[derive(Clone, Default)]
struct Server {
    issued: Arc<AtomicUsize>,
    rejection: usize,
}

impl Server {
    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let is_first = request.headers().get("authorization").is_some_and(|value| value == "Bearer t1");
        match request.uri().path() {
            "/token" => {
                let n = self.issued.fetch_add(1, SeqCst) + 1;
                let json = format!(r#"{{"access_token":"t{n}","token_type":"Bearer","expires_in":3600}}"#);
                Response::builder().header("content-type", "application/json").body(json.into())
            }
            "/dead" if is_first => Response::builder().status(401).body(vec![b'x'; self.rejection].into()),
            _ => Ok(Response::new(vec![b'y'; 1024].into())),
        }
        .unwrap()
    }

    /// Listens with HTTP/1.1 and HTTP/2.
    async fn listen(self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = self.clone();
                let service =
                    service_fn(move |request| std::future::ready(Ok::<_, Infallible>(server.answer(&request))));
                let mut protocol = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                protocol.http2().max_concurrent_streams(1000);
                tokio::spawn(async move { protocol.serve_connection(TokioIo::new(stream), service).await });
            }
        });
        addr
    }
}

type Http = Client<HttpConnector, Full<Bytes>>;

fn http2() -> Http {
    Client::builder(TokioExecutor::new()).http2_only(true).build_http()
}

fn to(addr: SocketAddr, path: &str) -> Ask {
    Request::get(format!("http://{addr}{path}")).body(Full::default()).unwrap()
}

/// Returns a grant at the server's own `/token`.
fn grant<C>(addr: SocketAddr, http: C) -> impl TokenSource
where
    C: tower_bearer::grant::HttpService,
{
    PasswordGrant::builder(format!("http://{addr}/token"))
        .client_auth(ClientAuth::basic("client1", "client-secret"))
        .credentials("user1", "user-password")
        .build_with(http)
        .unwrap()
}

/// Sends `n` requests that are rejected, and returns how many succeed in the end.
async fn succeeding<S>(n: usize, api: S, addr: SocketAddr) -> usize
where
    S: Service<Ask, Response = Response<Incoming>, Error = BoxError, Future: Send + 'static> + Clone + Send + 'static,
{
    let requests = (0..n).map(|_| tokio::spawn(api.clone().oneshot(to(addr, "/dead"))));
    let answers = timeout(8 * SECOND, join_all(requests)).await.expect("they must not wait for the deadline");
    answers.into_iter().filter(|answer| answer.as_ref().unwrap().as_ref().is_ok_and(|a| a.status() == 200)).count()
}

#[tokio::test]
async fn rejected_answers_do_not_fill_the_connection_that_their_renewal_needs() {
    for (requests, rejection) in [(30, 300 * 1024), (900, 8 * 1024)] {
        let addr = Server { rejection, ..Server::default() }.listen().await;
        let client = http2();
        let cache = TokenCache::new(grant(addr, client.clone()));
        cache.token().await.unwrap();
        let api = BearerAuthLayer::with_cache(cache).layer(client);
        assert_eq!(succeeding(requests, api, addr).await, requests, "{requests} rejections of {rejection} bytes");
    }
}

/// A client with a single HTTP/1.1 connection for all requests.
#[tokio::test]
async fn a_rejected_answer_frees_an_http1_connection_for_its_renewal() {
    let addr = Server { rejection: 20 * 1024, ..Server::default() }.listen().await;
    let io = TokioIo::new(TcpStream::connect(addr).await.unwrap());
    let (sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let sender = Arc::new(Mutex::new(sender));
    let client = tower::service_fn(move |request: Ask| {
        let sender = Arc::clone(&sender);
        async move {
            let mut sender = sender.lock().await;
            sender.ready().await?;
            sender.send_request(request).await.map_err(BoxError::from)
        }
    });
    let cache = TokenCache::new(grant(addr, client.clone()));
    cache.token().await.unwrap();
    let api = BearerAuthLayer::with_cache(cache).layer(client);
    assert_eq!(succeeding(1, api, addr).await, 1);
}

#[tokio::test]
async fn other_streams_do_not_wait_for_the_renewal_of_the_rejected_ones() {
    let addr = Server { rejection: 300 * 1024, ..Server::default() }.listen().await;
    let (source, _) = scripted(|n| async move {
        if n > 1 {
            sleep(2 * SECOND).await;
        }
        Ok(token(n))
    });
    let cache = TokenCache::new(source);
    cache.token().await.unwrap();
    let client = http2();
    let api = BearerAuthLayer::with_cache(cache.clone()).layer(client.clone());
    client.request(to(addr, "/ok")).await.unwrap().into_body().collect().await.unwrap();
    let rejected = tokio::spawn(succeeding(30, api, addr));
    sleep(Duration::from_millis(500)).await;
    let other = client.request(to(addr, "/ok")).await.unwrap();
    assert_eq!(other.into_body().collect().await.unwrap().to_bytes().len(), 1024);
    assert!(cache.status().renewing, "the answer came during the renewal");
    assert_eq!(rejected.await.unwrap(), 30);
}

/// An API that rejects t1 with an answer of this length, and counts its requests. The first byte is the request's number.
#[derive(Clone, Default)]
struct Api {
    requests: Arc<AtomicU64>,
    length: usize,
}

impl Api {
    fn layer(&self, source: impl TokenSource) -> impl Service<Ask, Response = Answer, Error = BoxError> + Clone {
        let cache = TokenCache::builder(source).renewal_retries(0).build();
        BearerAuthLayer::with_cache(cache).layer(self.service())
    }

    /// `/slow` takes a minute.
    fn service(&self) -> impl Service<Ask, Response = Answer, Error = BoxError, Future: Send> + Clone + Send + use<> {
        let Self { requests, length } = self.clone();
        tower::service_fn(move |request: Ask| {
            let n = requests.fetch_add(1, SeqCst) + 1;
            let is_t1 = request.headers().get("authorization").is_some_and(|value| value == "Bearer t1");
            async move {
                let path = request.uri().path();
                if path == "/slow" {
                    sleep(MINUTE).await;
                }
                let is_dead = is_t1 && path == "/dead";
                let body = if is_dead { n.to_string().repeat(length) } else { "welcome".to_owned() };
                Ok(Response::builder().status(if is_dead { 401 } else { 200 }).body(Full::from(body))?)
            }
        })
    }

    fn requests(&self) -> u64 {
        self.requests.load(SeqCst)
    }
}

const SMALL: usize = 1024;
const LARGE: usize = 1025;

/// Returns a source whose second answer comes after `wait`.
fn renewed_after(wait: Duration, second: fn() -> Result<AccessToken, Error>) -> impl TokenSource {
    scripted(move |n| async move {
        if n == 1 {
            return Ok(token(1));
        }
        sleep(wait).await;
        second()
    })
    .0
}

fn down() -> Result<AccessToken, Error> {
    Err(Error::transient("down"))
}

/// Returns the number of the request that this is the answer to.
async fn number(answer: Answer) -> u8 {
    answer.into_body().collect().await.unwrap().to_bytes()[0] - b'0'
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_fails_soon_leaves_the_first_answer_unread() {
    for (length, wait) in [(LARGE, 99), (SMALL, 2499)] {
        let api = Api { length, ..Api::default() };
        let client = api.layer(renewed_after(Duration::from_millis(wait), down));
        get(&client, "/").await;
        let answer = get(&client, "/dead").await;
        assert!(matches!(not_retried(&answer), Some(NotRetried::RenewalFailed { .. })));
        assert!(!outcome(&answer).unwrap().retried());
        assert_eq!((answer.status().as_u16(), number(answer).await, api.requests()), (401, 2, 2));
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_fails_late_sends_the_request_again_with_the_old_token() {
    for (length, wait) in [(LARGE, 101), (SMALL, 2501)] {
        let api = Api { length, ..Api::default() };
        let client = api.layer(renewed_after(Duration::from_millis(wait), down));
        get(&client, "/").await;
        let answer = get(&client, "/dead").await;
        let why = outcome(&answer).unwrap();
        assert!(matches!(why.not_retried(), Some(NotRetried::RenewalFailed { error, .. }) if error.is_transient()));
        assert!(why.retried() && why.generation() == 1);
        assert_eq!((answer.status().as_u16(), number(answer).await, api.requests()), (401, 3, 3));
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_token_that_comes_late_is_sent_again() {
    let api = Api { length: LARGE, ..Api::default() };
    let client = api.layer(renewed_after(SECOND, || Ok(token(1))));
    get(&client, "/").await;
    let answer = get(&client, "/dead").await;
    assert!(matches!(not_retried(&answer), Some(NotRetried::SameToken)));
    assert_eq!((answer.status().as_u16(), number(answer).await, api.requests()), (401, 3, 3));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_expires_during_a_late_renewal_is_not_sent_again() {
    let api = Api { length: LARGE, ..Api::default() };
    let source = renewed_after(9 * SECOND, down);
    let client = api.layer(source);
    get(&client, "/").await;
    tokio::time::advance(58 * MINUTE + 55 * SECOND).await;
    let error = client.clone().oneshot(ask("/dead")).await.unwrap_err();
    assert!(error.downcast_ref::<Error>().is_some_and(Error::is_transient), "{error}");
    assert_eq!(api.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_a_body_is_held_however_long_the_renewal_takes() {
    let api = Api::default();
    let client = api.layer(renewed_after(9 * SECOND, down));
    get(&client, "/").await;
    let start = Instant::now();
    let answer = get(&client, "/dead").await;
    assert_eq!(start.elapsed().as_secs(), 9);
    assert!(!is_ok(&answer) && matches!(not_retried(&answer), Some(NotRetried::RenewalFailed { .. })));
    assert_eq!(api.requests(), 2);
}

/// Sends a request whose token is rejected and cannot be renewed. Its second attempt has to wait for a place below the layer, and
/// `meanwhile` something happens to the cache.
async fn late_second_attempt(api: &Api, meanwhile: impl AsyncFnOnce(&TokenCache)) -> Result<Answer, BoxError> {
    let (source, _) = scripted(|n| async move {
        if n != 2 {
            return Ok(token(n));
        }
        sleep(SECOND).await;
        down()
    });
    let cache = TokenCache::builder(source).renewal_retries(0).build();
    let limited = tower::limit::ConcurrencyLimit::new(api.service(), 1);
    let client = BearerAuthLayer::with_cache(cache.clone()).layer(limited.clone());
    get(&client, "/").await;
    let dead = tokio::spawn(client.oneshot(ask("/dead")));
    sleep(SECOND / 2).await;
    let slow = tokio::spawn(limited.oneshot(ask("/slow")));
    sleep(MINUTE / 2).await;
    meanwhile(&cache).await;
    let answer = dead.await.unwrap();
    slow.await.unwrap().unwrap();
    answer
}

#[tokio::test(start_paused = true)]
async fn a_token_that_comes_before_a_late_second_attempt_is_sent_counts_as_new() {
    let api = Api { length: LARGE, ..Api::default() };
    let renew = async |cache: &TokenCache| {
        assert!(cache.invalidate(&token(1)));
        settled(cache).await;
    };
    let answer = late_second_attempt(&api, renew).await.unwrap();
    let outcome = outcome(&answer).unwrap();
    assert!(is_ok(&answer) && outcome.retried() && outcome.generation() == 2);
    assert!(outcome.not_retried().is_none(), "{:?}", outcome.not_retried());
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_forgotten_before_a_late_second_attempt_is_sent_is_not_sent() {
    let api = Api { length: LARGE, ..Api::default() };
    let error = late_second_attempt(&api, async |cache| cache.reset()).await.unwrap_err();
    assert!(error.downcast_ref::<Error>().is_some_and(Error::is_transient), "{error}");
    assert_eq!(api.requests(), 3, "the first one, the rejected one, and the slow one");
}
