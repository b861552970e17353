//! `check_stack`: erases the types of the stack, and runs each check.

use std::future::poll_fn;

use futures_util::future::join;
use http::{Request, Response};
use http_body::Body;
use http_body_util::BodyExt as _;
use tower_service::Service;

use crate::{
    conformance::stack::{
        behaviour::StackBehaviour as Behaviour,
        body::TestBody,
        failures, rejections,
        report::{StackReport, StackResult},
        tokens,
        world::{ErasedStack, Make, Sending},
    },
    error::BoxError,
    layer::BearerAuthLayer,
};

/// Checks that an HTTP stack, with the layer in it, does what callers rely on: with its connections, its other layers, and its
/// bodies. Returns what was found.
///
/// `make` builds the stack around the layer that it is given, as your program does, with the same settings. Its second argument is
/// the URL of the API, for [`origins`](BearerAuthLayer::origins). It is called for each check. `body` makes a request body of a
/// [`TestBody`].
///
/// The API is an [`Upstream`](crate::testing::Upstream) on loopback, over HTTP/1.1. The tokens are those of an
/// [`Issuer`](crate::testing::Issuer) in process. No request leaves the machine. So the client has to allow plain http to loopback, and
/// must not send it to a proxy. It has to allow 16 requests at once. The checks take about three seconds of real time, so do not pause
/// the clock. A request without an answer ends its check after 10 s.
///
/// ```
/// use hyper_util::{client::legacy::Client, rt::TokioExecutor};
/// use tower::{Layer, ServiceBuilder};
/// use tower_bearer::{conformance::check_stack, replay::{BoxedBody, Tee}};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let report = check_stack(
///     |layer, url| {
///         ServiceBuilder::new()
///             .concurrency_limit(8)
///             .layer(layer.replay(Tee::boxed()).origins([url]).unwrap())
///             .service(Client::builder(TokioExecutor::new()).build_http())
///     },
///     BoxedBody::new,
/// )
/// .await;
/// println!("{report}");
/// report.assert_conforms();
/// # }
/// ```
///
/// For bodies in memory, use `|body| Full::new(body.into_bytes())`.
///
/// # Another client
/// A client that is not a tower service becomes one by a function, with the cache of the layer. What has no place in that function
/// fails: here the marker `SkipBearerAuth`, and the outcome.
///
/// ```
/// use bytes::Bytes;
/// use http::Request;
/// use http_body_util::Full;
/// # use hyper_util::{client::legacy::Client, rt::TokioExecutor};
/// use tower::service_fn;
/// use tower_bearer::{BoxError, Judged, conformance::{StackBehaviour, check_stack}};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let report = check_stack(
///     |layer, _| {
///         let cache = layer.cache().clone();
///         let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
///         service_fn(move |request: Request<Full<Bytes>>| {
///             let (cache, client) = (cache.clone(), client.clone());
///             async move {
///                 let send = |token: tower_bearer::AccessToken| {
///                     let mut request = request.clone();
///                     request.headers_mut().insert("authorization", token.header_value());
///                     client.request(request)
///                 };
///                 Ok::<_, BoxError>(cache.call(send, Judged::response).await??)
///             }
///         })
///     },
///     |body| Full::new(body.into_bytes()),
/// )
/// .await;
/// assert_eq!(report.failed(), [StackBehaviour::MarkedRequestKeepsItsHeader, StackBehaviour::OutcomeReadable]);
/// # }
/// ```
///
/// # Panics
/// When the stack panics, and outside of a Tokio runtime with I/O and time enabled.
pub async fn check_stack<S, B, R>(
    make: impl Fn(BearerAuthLayer, &str) -> S,
    body: impl Fn(TestBody) -> B,
) -> StackReport
where
    S: Service<Request<B>, Response = Response<R>, Error: Into<BoxError>> + Clone + 'static,
    B: 'static,
    R: Body<Error: Into<BoxError>> + 'static,
{
    let body = &body;
    let erased = |layer: BearerAuthLayer, url: &str| -> ErasedStack<'_> {
        let stack = make(layer, url);
        Box::new(move |request: Request<TestBody>| sending(stack.clone(), request.map(body)))
    };
    run(&erased).await
}

/// Sends a request, and reads the whole response.
fn sending<S, B, R>(mut stack: S, request: Request<B>) -> Sending
where
    S: Service<Request<B>, Response = Response<R>, Error: Into<BoxError>> + 'static,
    B: 'static,
    R: Body<Error: Into<BoxError>> + 'static,
{
    Box::pin(async move {
        poll_fn(|task| stack.poll_ready(task)).await.map_err(Into::into)?;
        let (head, body) = stack.call(request).await.map_err(Into::into)?.into_parts();
        let body = body.collect().await.map_err(Into::into)?.to_bytes();
        Ok(Response::from_parts(head, body))
    })
}

async fn run(make: &Make<'_>) -> StackReport {
    let mut report = StackReport::default();
    report.add(Behaviour::TokenAttached, tokens::attached(make).await);
    if !report.failed().is_empty() {
        return report;
    }
    // It waits for a token to expire. So it runs beside the others.
    let (renewed, mut report) = join(tokens::renewed_before_expiry(make), run_others(make, report)).await;
    report.add(Behaviour::RenewedBeforeExpiry, renewed);
    report
}

async fn run_others(make: &Make<'_>, mut report: StackReport) -> StackReport {
    report.add(Behaviour::EveryRequestArrives, tokens::every_request_arrives(make).await);
    report.add(Behaviour::OneTokenRequestForAll, tokens::one_token_request_for_all(make).await);
    report.add(Behaviour::MarkedRequestKeepsItsHeader, tokens::marked_request_keeps_its_header(make).await);
    report.add(Behaviour::RedirectTakesNoToken, tokens::redirect_takes_no_token(make).await);
    report.add(Behaviour::TokenNotLogged, tokens::token_not_logged(make).await);
    report.add(Behaviour::OtherErrorsReturned, failures::other_errors_returned(make).await);
    report.add(Behaviour::NothingSentWithoutToken, failures::nothing_sent_without_token(make).await);
    report.add(Behaviour::RetriesAskIssuerOnce, failures::retries_ask_issuer_once(make).await);
    report.add(Behaviour::RenewalOutlivesRequest, failures::renewal_outlives_request(make).await);
    report.add(Behaviour::RejectedRequestSentAgain, rejections::sent_again(make).await);
    if matches!(report.result(Behaviour::RejectedRequestSentAgain), Some(StackResult::NotApplicable(_))) {
        return report;
    }
    report.add(Behaviour::BodySentWholeAgain, rejections::body_sent_whole_again(make).await);
    report.add(Behaviour::StreamSentWholeAgain, rejections::stream_sent_whole_again(make).await);
    report.add(Behaviour::EarlyRejectionSentAgain, rejections::early_rejection_sent_again(make).await);
    report.add(Behaviour::OneRenewalForAllRejections, rejections::one_renewal_for_all_rejections(make).await);
    report.add(Behaviour::SecondRejectionReturned, rejections::second_rejection_returned(make).await);
    report.add(Behaviour::OutcomeReadable, rejections::outcome_readable(make).await);
    report.add(Behaviour::DroppedRequestsLeaveNothing, failures::dropped_requests_leave_nothing(make).await);
    report
}
