//! Random requests of random identities, with failures, rejections, evictions, idle times, resets and revocations: no request
//! ever has the token of another identity.

use std::sync::Arc;

use futures::future::join_all;
use http::{Request, Response};
use http_body_util::Full;
use proptest::{collection::vec, prelude::*};
use tokio::time::{advance, sleep};
use tower::{Layer, service_fn};
use tower_bearer::{BearerAuthLayer, BoxError, Error, TokenCache, source::Narrowing};

use crate::{
    pool::{Log, ask, by_header},
    scripted::send,
    support::{MINUTE, SECOND},
};

/// More than the pool keeps.
const IDENTITIES: usize = 6;
const KEPT: usize = 3;

#[derive(Clone, Debug)]
enum Event {
    /// Requests at once, each of an identity, maybe with a narrowing, and maybe rejected at first.
    Requests(Vec<(usize, Option<usize>, bool)>),
    /// A request without an identity.
    Nobody,
    Fail(usize, bool),
    Pass(u64),
    Reset(Option<usize>),
    Revoke(Option<usize>),
    Invalidate,
}

fn event() -> impl Strategy<Value = Event> {
    let identity = 0..IDENTITIES;
    let request = (identity.clone(), proptest::option::weighted(0.3, 0..3_usize), proptest::bool::weighted(0.3));
    let some = proptest::option::of(0..IDENTITIES);
    prop_oneof![
        8 => vec(request, 1..8).prop_map(Event::Requests),
        1 => Just(Event::Nobody),
        2 => (identity, any::<bool>()).prop_map(|(identity, fails)| Event::Fail(identity, fails)),
        // Up to more than the idle time and the lifetime of a token.
        3 => prop_oneof![0..120_u64, 0..8000_u64].prop_map(Event::Pass),
        1 => some.clone().prop_map(Event::Reset),
        1 => some.prop_map(Event::Revoke),
        1 => Just(Event::Invalidate),
    ]
}

fn name(identity: usize) -> String {
    format!("tenant{identity}")
}

/// Answers 401 to the first attempt of a request that asks for it. Panics if the token is not that of the request's identity.
async fn answer(request: Request<Full<bytes::Bytes>>) -> Result<Response<Full<bytes::Bytes>>, BoxError> {
    let header = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let belongs = header("x-belongs").expect("a request without an identity was sent");
    let token = header("authorization").unwrap();
    let (owner, _) = token.strip_prefix("Bearer ").unwrap().rsplit_once('-').unwrap();
    assert_eq!(owner, belongs, "the token of another identity");
    // The second attempt is slower than the first.
    sleep(SECOND / 10).await;
    let is_first = request.extensions().get::<Rejected>().is_some_and(Rejected::take);
    let status = if is_first { 401 } else { 200 };
    Ok(Response::builder().status(status).body(Full::default())?)
}

/// Says once that a request is rejected.
#[derive(Clone)]
struct Rejected(Arc<std::sync::atomic::AtomicBool>);

impl Rejected {
    fn take(&self) -> bool {
        self.0.swap(false, std::sync::atomic::Ordering::SeqCst)
    }
}

async fn play(events: Vec<Event>) {
    let log = Arc::<Log>::default();
    let pool = log.pool().max_identities(KEPT).idle(20 * MINUTE).max_renewals(2).build();
    let layer = BearerAuthLayer::with_pool(pool.clone(), by_header);
    let request = async |identity: usize, narrowing: Option<usize>, is_rejected: bool| {
        let mut request = ask(&name(identity));
        let mut belongs = name(identity);
        request.extensions_mut().insert(Rejected(Arc::new(is_rejected.into())));
        if let Some(n) = narrowing {
            request.extensions_mut().insert(Narrowing::new().with_scope(format!("s{n}")).unwrap());
            belongs = format!("{belongs}/s{n}");
        }
        request.headers_mut().insert("x-belongs", belongs.parse().unwrap());
        let fails = log.failing.lock().unwrap().contains(&belongs);
        match send(&mut layer.layer(service_fn(answer)), request).await {
            Ok(_) => {}
            Err(error) => {
                let error = error.downcast::<Error>().expect("an error of the layer");
                assert!(error.is_terminal() && !error.is_no_identity(), "{error}");
                let is_refused = fails || !log.failing.lock().unwrap().is_empty() || error.retry_in().is_some();
                assert!(is_refused, "{error}");
            }
        }
    };
    for event in events {
        match event {
            Event::Requests(requests) => {
                let requests =
                    requests.into_iter().map(|(identity, to, is_rejected)| request(identity, to, is_rejected));
                join_all(requests).await;
            }
            Event::Nobody => {
                let nobody = Request::get(crate::scripted::URI).body(Full::default()).unwrap();
                let error = send(&mut layer.layer(service_fn(answer)), nobody).await.unwrap_err();
                assert!(error.downcast::<Error>().unwrap().is_no_identity());
            }
            Event::Fail(identity, fails) => {
                let mut failing = log.failing.lock().unwrap();
                let _ = if fails { failing.insert(name(identity)) } else { failing.remove(&name(identity)) };
            }
            Event::Pass(seconds) => advance(SECOND * u32::try_from(seconds).unwrap()).await,
            Event::Reset(None) => pool.reset(),
            Event::Reset(Some(identity)) => {
                pool.get(&name(identity)).inspect(TokenCache::reset);
            }
            Event::Revoke(None) => pool.revoke().await.unwrap(),
            Event::Revoke(Some(identity)) => {
                if let Some(cache) = pool.get(&name(identity)) {
                    cache.revoke().await.unwrap();
                }
            }
            Event::Invalidate => pool.invalidate(),
        }
        let status = pool.status();
        assert!(status.identities <= IDENTITIES && status.ready <= status.identities);
    }
    // Whatever happened, each identity recovers.
    log.failing.lock().unwrap().clear();
    advance(24 * 60 * MINUTE).await;
    for identity in 0..IDENTITIES {
        assert!(pool.cache(&name(identity)).unwrap().token().await.is_ok());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_request_has_the_token_of_another_identity(events in vec(event(), 1..30)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(play(events));
    }
}
