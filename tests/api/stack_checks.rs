//! The checks of HTTP stacks: good ones pass, and each mistake is named.

use std::{
    collections::HashMap,
    convert::Infallible,
    future::{Ready, ready},
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::StreamExt;
use http::{
    HeaderValue, Request, Response, StatusCode,
    header::{AUTHORIZATION, CONTENT_LENGTH},
};
use http_body::Body as _;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::sync::Semaphore;
use tower::{
    BoxError, Layer, ServiceBuilder, ServiceExt,
    retry::{Policy, RetryLayer},
    service_fn,
    util::BoxCloneSyncService,
};
use tower_bearer::{
    BearerAuthLayer, TokenCache,
    conformance::{StackBehaviour as Behaviour, StackReport, StackResult, TestBody, check_stack},
    replay::{BoxedBody, Tee},
    source::Narrowing,
};
use tower_http::{
    decompression::DecompressionLayer,
    follow_redirect::FollowRedirectLayer,
    request_id::{MakeRequestUuid, SetRequestIdLayer},
    sensitive_headers::SetSensitiveHeadersLayer,
    trace::{DefaultMakeSpan, TraceLayer},
};

type Ask = Request<BoxedBody>;
type Answer = Response<Full<Bytes>>;
/// A stack, or a part of one.
type Stack = BoxCloneSyncService<Ask, Answer, BoxError>;

fn client<B>() -> Client<HttpConnector, B>
where
    B: http_body::Body<Data: Send> + Send,
{
    Client::builder(TokioExecutor::new()).build_http()
}

/// Returns a stack with something `above` the layer and something `below` it, each made of what is under it.
fn stack(
    layer: BearerAuthLayer,
    above: impl FnOnce(Stack, TokenCache) -> Stack,
    below: impl FnOnce(Stack) -> Stack,
) -> Stack {
    let cache = layer.cache().clone();
    let api = layer.replay(Tee::boxed()).layer(below(base()));
    above(BoxCloneSyncService::new(api), cache)
}

/// Returns hyper's client, which reads each response to its end.
fn base() -> Stack {
    let client = client();
    BoxCloneSyncService::new(service_fn(move |request: Ask| {
        let response = client.request(request);
        async {
            let (head, body) = response.await?.into_parts();
            Ok(Response::from_parts(head, Full::new(body.collect().await?.to_bytes())))
        }
    }))
}

async fn above(make: impl Fn(Stack, TokenCache) -> Stack) -> StackReport {
    check_stack(|layer, _| stack(layer, &make, |client| client), BoxedBody::new).await
}

async fn below(make: impl Fn(Stack) -> Stack) -> StackReport {
    check_stack(|layer, _| stack(layer, |api, _| api, &make), BoxedBody::new).await
}

/// A mistake is found by the check that is named after it, before others that may fail because of it.
#[track_caller]
fn assert_first(report: &StackReport, expected: Behaviour) {
    assert_eq!(report.failed().first(), Some(&expected), "{report}");
}

/// Only these checks do not apply.
#[track_caller]
fn assert_conforms_without(report: &StackReport, expected: &[Behaviour]) {
    report.assert_conforms();
    assert_eq!(report.checks().len(), 19);
    let is_left_out = |result: &StackResult| matches!(result, StackResult::NotApplicable(_));
    let left_out: Vec<_> = report.checks().iter().filter(|check| is_left_out(&check.result)).collect();
    let left_out: Vec<_> = left_out.iter().map(|check| check.behaviour).collect();
    assert_eq!(left_out, expected, "{report}");
}

#[tokio::test]
async fn the_client_of_hyper_conforms_with_bodies_in_memory() {
    let report =
        check_stack(|layer, _| layer.layer(client::<Full<Bytes>>()), |body| Full::new(body.into_bytes())).await;
    assert_conforms_without(&report, &[Behaviour::RedirectTakesNoToken, Behaviour::StreamSentWholeAgain]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_of_hyper_conforms_with_streams() {
    let report = check_stack(|layer, _| layer.replay(Tee::boxed()).layer(client()), BoxedBody::new).await;
    assert_conforms_without(&report, &[Behaviour::RedirectTakesNoToken]);
}

/// Sends a request again after an error or a server error, twice at most.
#[derive(Clone)]
struct Again(u32);

impl<R, E> Policy<Request<Full<Bytes>>, Response<R>, E> for Again {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut Request<Full<Bytes>>, result: &mut Result<Response<R>, E>) -> Option<Ready<()>> {
        let failed = result.as_ref().map_or(true, |response| response.status().is_server_error());
        self.0 = self.0.checked_sub(1)?;
        failed.then(|| ready(()))
    }

    fn clone_request(&mut self, request: &Request<Full<Bytes>>) -> Option<Request<Full<Bytes>>> {
        Some(request.clone())
    }
}

#[tokio::test]
async fn a_stack_of_many_layers_conforms() {
    let report = check_stack(
        |layer, url| {
            ServiceBuilder::new()
                .buffer(4)
                .concurrency_limit(2)
                .layer(SetSensitiveHeadersLayer::new([AUTHORIZATION]))
                .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
                .layer(TraceLayer::new_for_http().make_span_with(DefaultMakeSpan::new().include_headers(true)))
                .timeout(Duration::from_secs(20))
                .layer(FollowRedirectLayer::new())
                .layer(RetryLayer::new(Again(2)))
                .layer(layer.origins([url]).unwrap())
                .concurrency_limit(1)
                .timeout(Duration::from_secs(20))
                .layer(DecompressionLayer::new())
                .layer(TraceLayer::new_for_http().make_span_with(DefaultMakeSpan::new().include_headers(true)))
                .service(client::<Full<Bytes>>())
        },
        |body| Full::new(body.into_bytes()),
    )
    .await;
    assert_conforms_without(&report, &[Behaviour::StreamSentWholeAgain]);
}

#[tokio::test]
async fn a_stack_that_follows_redirects_below_the_layer_conforms() {
    let report = check_stack(
        |layer, _| layer.layer(FollowRedirectLayer::new().layer(client::<Full<Bytes>>())),
        |body| Full::new(body.into_bytes()),
    )
    .await;
    assert_conforms_without(&report, &[Behaviour::StreamSentWholeAgain]);
}

#[tokio::test]
async fn a_stack_without_a_retry_conforms_and_is_not_asked_for_one() {
    let report = check_stack(|layer, _| layer.without_retry().layer(client()), BoxedBody::new).await;
    report.assert_conforms();
    let result = report.result(Behaviour::RejectedRequestSentAgain);
    assert!(matches!(result, Some(StackResult::NotApplicable(why)) if why.contains("without_retry")), "{report}");
    assert_eq!(report.result(Behaviour::BodySentWholeAgain), None);
}

#[tokio::test]
async fn a_stack_that_answers_instead_of_an_error_is_told_that_this_was_not_checked() {
    let report = check_stack(
        |layer, _| {
            stack(
                layer,
                |api, _| {
                    BoxCloneSyncService::new(api.map_result(|result: Result<Answer, BoxError>| {
                        let bad_gateway = || Response::builder().status(502).body(Full::default());
                        Ok::<_, BoxError>(result.or_else(|_| bad_gateway())?)
                    }))
                },
                |client| client,
            )
        },
        BoxedBody::new,
    )
    .await;
    report.assert_conforms();
    let result = report.result(Behaviour::NothingSentWithoutToken);
    assert!(matches!(result, Some(StackResult::NotApplicable(why)) if why.contains("502")), "{report}");
}

#[tokio::test]
async fn a_layer_that_strips_the_header_is_named_and_ends_the_checks() {
    let report = below(|client| {
        BoxCloneSyncService::new(client.map_request(|mut request: Ask| {
            request.headers_mut().remove(AUTHORIZATION);
            request
        }))
    })
    .await;
    assert_eq!(report.failed(), [Behaviour::TokenAttached]);
    let shown = report.to_string();
    let first =
        "FAILED          a request arrives with the token: the request arrived with `no token` in `Authorization`";
    assert!(shown.starts_with(first), "{shown}");
    assert_eq!(report.checks().len(), 1);
    assert!(shown.ends_with("\nThe other checks did not run, because they need the token."), "{shown}");
}

#[tokio::test]
async fn a_layer_that_sets_another_token_is_named() {
    let report = below(|client| {
        BoxCloneSyncService::new(client.map_request(|mut request: Ask| {
            request.headers_mut().insert(AUTHORIZATION, HeaderValue::from_static("Bearer static"));
            request
        }))
    })
    .await;
    assert_eq!(report.failed(), [Behaviour::TokenAttached]);
    let shown = report.to_string();
    assert!(shown.contains("the request arrived with `another token` in `Authorization`"), "{shown}");
}

#[tokio::test]
async fn origins_without_the_url_of_the_api_are_named() {
    let make = |layer: BearerAuthLayer, _: &str| {
        layer.origins(["https://api.example"]).unwrap().layer(Client::builder(TokioExecutor::new()).build_http())
    };
    let report = check_stack(make, |body| Full::new(body.into_bytes())).await;
    assert_eq!(report.failed(), [Behaviour::TokenAttached]);
    assert!(report.to_string().contains("the URL that `make` is given is not in `origins`"), "{report}");
}

#[tokio::test]
async fn a_layer_that_caches_is_named() {
    let report = below(|client| {
        let kept: Arc<Mutex<HashMap<String, Answer>>> = Arc::default();
        BoxCloneSyncService::new(service_fn(move |request: Ask| {
            let (client, kept, uri) = (client.clone(), Arc::clone(&kept), request.uri().to_string());
            async move {
                let hit = kept.lock().unwrap().get(&uri).cloned();
                if let Some(hit) = hit {
                    return Ok(hit);
                }
                let response = client.oneshot(request).await?;
                kept.lock().unwrap().insert(uri, response.clone());
                Ok(response)
            }
        }))
    })
    .await;
    assert_first(&report, Behaviour::EveryRequestArrives);
}

#[tokio::test]
async fn a_layer_that_narrows_each_request_in_another_way_is_named() {
    let report = above(|api, _| {
        let count = Arc::new(AtomicU64::new(0));
        BoxCloneSyncService::new(api.map_request(move |mut request: Ask| {
            let resource = format!("https://api.test/{}", count.fetch_add(1, Relaxed));
            request.extensions_mut().insert(Narrowing::new().with_resource(resource).unwrap());
            request
        }))
    })
    .await;
    assert_first(&report, Behaviour::OneTokenRequestForAll);
    assert!(report.to_string().contains("16 requests at once made 16 token requests"), "{report}");
}

#[tokio::test]
async fn a_layer_that_loses_the_extensions_of_requests_is_named() {
    let report = above(|api, _| {
        BoxCloneSyncService::new(api.map_request(|mut request: Ask| {
            request.extensions_mut().clear();
            request
        }))
    })
    .await;
    assert_eq!(report.failed(), [Behaviour::MarkedRequestKeepsItsHeader]);
}

#[tokio::test]
async fn redirects_that_are_followed_above_a_layer_without_origins_are_named() {
    let report = check_stack(
        |layer, _| FollowRedirectLayer::new().layer(layer.layer(client::<Full<Bytes>>())),
        |body| Full::new(body.into_bytes()),
    )
    .await;
    assert_eq!(report.failed(), [Behaviour::RedirectTakesNoToken]);
    assert!(report.to_string().contains("another origin got the token in `authorization`"), "{report}");
}

#[tokio::test]
async fn a_layer_that_logs_the_token_is_named() {
    let report = below(|client| {
        BoxCloneSyncService::new(client.map_request(|request: Ask| {
            let value = request.headers().get(AUTHORIZATION).map(|value| value.to_str().unwrap());
            tracing::debug!(value, "sent");
            request
        }))
    })
    .await;
    assert_eq!(report.failed(), [Behaviour::TokenNotLogged]);
}

#[tokio::test]
async fn a_layer_that_keeps_an_old_token_is_named() {
    let report = below(|client| {
        let first: Arc<Mutex<Option<HeaderValue>>> = Arc::default();
        BoxCloneSyncService::new(client.map_request(move |mut request: Ask| {
            if let Some(value) = request.headers().get(AUTHORIZATION).cloned() {
                let first = first.lock().unwrap().get_or_insert(value).clone();
                request.headers_mut().insert(AUTHORIZATION, first);
            }
            request
        }))
    })
    .await;
    assert!(report.failed().contains(&Behaviour::RenewedBeforeExpiry), "{report}");
    assert_first(&report, Behaviour::RejectedRequestSentAgain);
}

fn answered(api: Stack, answer: impl Fn(&mut Answer) + Clone + Send + Sync + 'static) -> Stack {
    BoxCloneSyncService::new(api.map_response(move |mut response: Answer| {
        answer(&mut response);
        response
    }))
}

#[tokio::test]
async fn a_layer_that_turns_an_answer_into_another_is_named_wherever_it_is() {
    let hides = |from: u16| {
        move |response: &mut Answer| {
            if response.status() == from {
                *response.status_mut() = StatusCode::OK;
            }
        }
    };
    assert_first(&below(|client| answered(client, hides(401))).await, Behaviour::RejectedRequestSentAgain);
    assert_eq!(above(|api, _| answered(api, hides(401))).await.failed(), [Behaviour::SecondRejectionReturned]);
    assert_eq!(above(|api, _| answered(api, hides(500))).await.failed(), [Behaviour::OtherErrorsReturned]);
}

#[tokio::test]
async fn a_layer_that_loses_the_extensions_of_responses_is_named() {
    let report = above(|api, _| answered(api, |response| response.extensions_mut().clear())).await;
    assert_eq!(report.failed(), [Behaviour::OutcomeReadable]);
}

#[tokio::test]
async fn a_layer_that_sends_a_request_in_another_way_if_there_is_no_token_is_named() {
    let report = above(|api, _| {
        BoxCloneSyncService::new(service_fn(move |request: Ask| {
            let api = api.clone();
            async move {
                let uri = request.uri().clone();
                match api.oneshot(request).await {
                    Err(_) => base().oneshot(Request::get(uri).body(BoxedBody::new(Full::default()))?).await,
                    response => response,
                }
            }
        }))
    })
    .await;
    assert_first(&report, Behaviour::NothingSentWithoutToken);
}

#[tokio::test]
async fn a_layer_that_loses_the_error_is_named() {
    let report = above(|api, _| BoxCloneSyncService::new(api.map_err(|error| error.to_string().into()))).await;
    assert_eq!(report.failed(), [Behaviour::NothingSentWithoutToken]);
}

#[tokio::test]
async fn a_layer_that_resets_the_cache_after_an_error_is_named() {
    let report = above(|api, cache| {
        BoxCloneSyncService::new(api.map_err(move |error| {
            cache.reset();
            error
        }))
    })
    .await;
    assert_eq!(report.failed(), [Behaviour::RetriesAskIssuerOnce]);
}

/// Calls a function when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[tokio::test]
async fn a_layer_that_stops_the_renewal_of_a_dropped_request_is_named() {
    let report = above(|api, cache| {
        BoxCloneSyncService::new(service_fn(move |request: Ask| {
            let (api, cache) = (api.clone(), cache.clone());
            async move {
                let ended = AtomicBool::new(false);
                let _guard = OnDrop(|| {
                    if !ended.load(Relaxed) {
                        cache.reset();
                    }
                });
                let response = api.oneshot(request).await;
                ended.store(true, Relaxed);
                response
            }
        }))
    })
    .await;
    assert_first(&report, Behaviour::RenewalOutlivesRequest);
}

#[tokio::test]
async fn a_layer_that_keeps_the_permit_of_a_dropped_request_is_named() {
    let report = above(|api, _| {
        let permits = Arc::new(Semaphore::new(2));
        BoxCloneSyncService::new(service_fn(move |request: Ask| {
            let (api, permits) = (api.clone(), Arc::clone(&permits));
            async move {
                permits.acquire().await?.forget();
                let response = api.oneshot(request).await;
                permits.add_permits(1);
                response
            }
        }))
    })
    .await;
    assert_eq!(report.failed(), [Behaviour::DroppedRequestsLeaveNothing]);
    assert!(report.to_string().contains("after requests were dropped, the request did not end within 10s"), "{report}");
}

/// As a layer does that takes the body of the first request of a kind, and has none for the second.
#[tokio::test]
async fn a_layer_that_drops_the_body_of_the_second_attempt_is_named() {
    let report = below(|client| {
        let sent: Arc<Mutex<HashMap<String, u32>>> = Arc::default();
        BoxCloneSyncService::new(client.map_request(move |request: Ask| {
            if request.method() != "POST" {
                return request;
            }
            let mut sent = sent.lock().unwrap();
            let times = sent.entry(request.uri().to_string()).or_default();
            *times += 1;
            if *times == 1 {
                return request;
            }
            let (mut head, _) = request.into_parts();
            head.headers.remove(CONTENT_LENGTH);
            Request::from_parts(head, BoxedBody::new(Full::default()))
        }))
    })
    .await;
    assert_first(&report, Behaviour::BodySentWholeAgain);
    assert!(report.to_string().contains("a body of 196608 bytes did not arrive unchanged"), "{report}");
}

#[tokio::test]
async fn a_body_that_is_kept_in_part_is_named() {
    let report = check_stack(|layer, _| layer.replay(Tee::boxed().cap(1024)).layer(client()), BoxedBody::new).await;
    assert_first(&report, Behaviour::StreamSentWholeAgain);
    assert!(report.to_string().contains("the body of the request cannot be sent again"), "{report}");
}

/// As a client does that fails if its connection is answered before it has written all.
#[tokio::test]
async fn a_client_that_fails_after_an_early_answer_is_named() {
    let report = below(|client| {
        BoxCloneSyncService::new(service_fn(move |request: Ask| {
            let client = client.clone();
            async move {
                let ended = Arc::new(AtomicBool::new(request.body().is_end_stream()));
                let request = request.map(|body| slow(body, Arc::clone(&ended)));
                let response = client.oneshot(request).await?;
                if !ended.load(Relaxed) {
                    return Err(io::Error::from(io::ErrorKind::BrokenPipe).into());
                }
                Ok(response)
            }
        }))
    })
    .await;
    assert_eq!(report.failed(), [Behaviour::EarlyRejectionSentAgain]);
    assert!(report.to_string().contains("the request failed: broken pipe"), "{report}");
}

/// Waits between chunks, and says when the last one was read.
fn slow(body: BoxedBody, ended: Arc<AtomicBool>) -> BoxedBody {
    if body.is_end_stream() {
        return body;
    }
    let chunks = body.into_data_stream().then(|chunk| async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        chunk.map(http_body::Frame::data)
    });
    let end = futures::stream::poll_fn(move |_| {
        ended.store(true, Relaxed);
        std::task::Poll::Ready(None)
    });
    BoxedBody::new(StreamBody::new(chunks.chain(end)))
}

#[tokio::test]
async fn a_layer_that_sends_rejected_requests_again_is_named() {
    let report = above(|api, _| {
        BoxCloneSyncService::new(service_fn(move |request: Ask| {
            let api = api.clone();
            async move {
                let (method, uri) = (request.method().clone(), request.uri().clone());
                let response = api.clone().oneshot(request).await?;
                if response.status() != 401 {
                    return Ok(response);
                }
                let again = Request::builder().method(method).uri(uri).body(BoxedBody::new(Full::default()))?;
                api.oneshot(again).await
            }
        }))
    })
    .await;
    assert_eq!(report.failed(), [Behaviour::SecondRejectionReturned]);
}

/// The first of many 401s invalidates the rejected token, and the later ones the new token.
#[tokio::test]
async fn a_layer_that_invalidates_the_current_token_instead_of_the_rejected_one_is_named() {
    let report = check_stack(
        |layer, _| {
            let (cache, rejections) = (layer.cache().clone(), Arc::new(AtomicU64::new(0)));
            let below = |client: Stack| {
                BoxCloneSyncService::new(client.and_then(move |response: Answer| {
                    let (cache, rejections) = (cache.clone(), Arc::clone(&rejections));
                    async move {
                        if response.status() == 401 {
                            let earlier = rejections.fetch_add(1, Relaxed);
                            tokio::time::sleep(Duration::from_millis(20 * earlier)).await;
                            cache.invalidate(&cache.token().await?);
                        }
                        Ok::<_, BoxError>(response)
                    }
                }))
            };
            stack(layer, |api, _| api, below)
        },
        BoxedBody::new,
    )
    .await;
    assert_first(&report, Behaviour::OneRenewalForAllRejections);
}

#[tokio::test]
async fn a_stack_that_does_not_reach_the_api_is_named() {
    let lost = |_: BearerAuthLayer, _: &str| {
        service_fn(|_: Request<TestBody>| ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))))
    };
    let report = check_stack(lost, |body| body).await;
    assert_eq!(report.failed(), [Behaviour::TokenAttached]);
    assert!(
        report.to_string().contains("nothing reached the API at the URL of the request: the caller got 200 OK"),
        "{report}"
    );
}
