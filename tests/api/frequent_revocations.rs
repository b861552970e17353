//! 12,000 requests in two minutes, while the API revokes its token every five seconds: how many are lost, by the way in which
//! they are sent.

use std::{convert::Infallible, time::Duration};

use futures::future::join_all;
use http::{Request, Response, StatusCode, header::AUTHORIZATION};
use tokio::time::{Instant, sleep, sleep_until};
use tower::{Layer, ServiceExt, service_fn};
use tower_bearer::{AccessToken, BearerAuthLayer, Judged, TokenCache, testing::Issuer};

use crate::support::{grant, issuer};

const REQUESTS: u32 = 12_000;
const PACE: Duration = Duration::from_millis(10);
const REVOCATIONS: Duration = Duration::from_secs(5);

/// An API that answers after 20 ms, and its issuer, which does too.
#[derive(Clone)]
struct Api(Issuer);

impl Api {
    async fn answer(&self, request: Request<String>) -> Response<String> {
        let status = self.0.check(request.headers());
        sleep(Duration::from_millis(20)).await;
        let code = if status.is_accepted() { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
        Response::builder().status(code).header("content-length", 0).body(String::new()).unwrap()
    }

    async fn send(&self, token: &AccessToken) -> Result<Response<String>, Infallible> {
        let request = Request::get("https://api.test/").header(AUTHORIZATION, token.header_value());
        Ok(self.answer(request.body(String::new()).unwrap()).await)
    }

    fn through(
        &self,
        cache: &TokenCache,
    ) -> impl tower::Service<Request<String>, Response = Response<String>, Error: std::fmt::Debug, Future: Send>
    + Clone
    + use<> {
        let api = self.clone();
        let inner = service_fn(move |request| {
            let api = api.clone();
            async move { Ok::<_, Infallible>(api.answer(request).await) }
        });
        BearerAuthLayer::with_cache(cache.clone()).without_retry().layer(inner)
    }
}

/// Sends the requests in this way. Returns how many were rejected in the end, and how many tokens were issued.
async fn lost<F>(send: impl Fn(Api, TokenCache) -> F) -> (usize, u64)
where
    F: Future<Output = StatusCode> + Send + 'static,
{
    let issuer = issuer();
    let cache = TokenCache::new(grant(issuer.service()));
    cache.token().await.unwrap();
    let api = Api(issuer.clone());
    let revoking = tokio::spawn({
        let issuer = issuer.clone();
        async move {
            loop {
                sleep(REVOCATIONS).await;
                issuer.revoke_current();
            }
        }
    });
    let (start, mut requests) = (Instant::now(), Vec::new());
    for n in 0..REQUESTS {
        sleep_until(start + n * PACE).await;
        requests.push(tokio::spawn(send(api.clone(), cache.clone())));
    }
    let answers = join_all(requests).await;
    revoking.abort();
    (answers.into_iter().filter(|answer| *answer.as_ref().unwrap() != StatusCode::OK).count(), issuer.counts().issued)
}

fn ask() -> Request<String> {
    Request::get("https://api.test/").body(String::new()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_layer_loses_no_request() {
    let (lost, issued) = lost(|api, cache| async move {
        let inner = service_fn(move |request| {
            let api = api.clone();
            async move { Ok::<_, Infallible>(api.answer(request).await) }
        });
        BearerAuthLayer::with_cache(cache).layer(inner).oneshot(ask()).await.unwrap().status()
    })
    .await;
    assert_eq!((lost, issued), (0, 24));
}

#[tokio::test(start_paused = true)]
async fn a_call_by_any_client_loses_no_request() {
    let (lost, issued) = lost(|api, cache| async move {
        let answer = cache.call(async |token| api.send(&token).await, Judged::response).await;
        answer.unwrap().unwrap().status()
    })
    .await;
    assert_eq!((lost, issued), (0, 24));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_accepts_and_rejects_loses_no_request() {
    let (lost, issued) = lost(|api, cache| async move {
        let mut token = cache.token().await.unwrap();
        let mut answer = api.send(&token).await.unwrap();
        if answer.status() == StatusCode::UNAUTHORIZED
            && let Ok(next) = cache.reject(&token).await
        {
            token = next;
            answer = api.send(&token).await.unwrap();
        }
        if answer.status() == StatusCode::OK {
            cache.accept(&token);
        }
        answer.status()
    })
    .await;
    assert_eq!((lost, issued), (0, 24));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_retries_above_a_layer_without_retry_recovers_from_thirteen_revocations_only() {
    let (lost, issued) = lost(|api, cache| async move {
        let service = api.through(&cache);
        let answer = service.clone().oneshot(ask()).await.unwrap();
        if answer.status() != StatusCode::UNAUTHORIZED {
            return answer.status();
        }
        service.oneshot(ask()).await.unwrap().status()
    })
    .await;
    assert_eq!((lost, issued), (5_000, 14), "documented in the guide and at `without_retry`");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_only_invalidates_soon_spends_the_budget() {
    let (lost, issued) = lost(|api, cache| async move {
        let token = cache.token().await.unwrap();
        let answer = api.send(&token).await.unwrap();
        if answer.status() != StatusCode::UNAUTHORIZED {
            return answer.status();
        }
        cache.invalidate(&token);
        let token = cache.token().await.unwrap();
        api.send(&token).await.unwrap().status()
    })
    .await;
    assert_eq!((lost, issued), (7_484, 11), "documented in the guide and at `invalidate`");
}
