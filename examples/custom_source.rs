//! A custom token source, and the right place for each tower layer above or below [`BearerAuthLayer`].
//!
//! ```text
//! cargo run --example custom_source      # offline
//! ```

use std::{
    future::{Ready, ready},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header::AUTHORIZATION};
use http_body_util::{BodyExt, Full};
use serde::Deserialize;
use tower::{
    BoxError, Service, ServiceBuilder, ServiceExt,
    limit::ConcurrencyLimitLayer,
    retry::{Policy, RetryLayer},
    service_fn,
    timeout::TimeoutLayer,
    util::BoxCloneSyncService,
};
use tower_bearer::{AccessToken, BearerAuthLayer, Error, Outcome, Reason, TokenSource};
use tower_http::trace::TraceLayer;

type Body = Full<Bytes>;
type Http = BoxCloneSyncService<Request<Body>, Response<Body>, BoxError>;

/// A source for an issuer that does not implement RFC 6749: it answers `{"pass": "…", "minutes": 15}`.
struct PassOffice {
    http: Http,
}

#[derive(Deserialize)]
struct Pass {
    pass: String,
    minutes: u64,
}

/// The whole source. It sends one request, and classifies a failure. The cache does the rest: reuse, renewal, backoff and
/// deadlines.
impl TokenSource for PassOffice {
    async fn obtain(&self, _why: Reason) -> Result<AccessToken, Error> {
        let request =
            Request::post("https://passes.example.org/pass").body(Body::default()).map_err(Error::terminal)?;
        let response = self.http.clone().oneshot(request).await.map_err(Error::transient)?;
        match response.status() {
            status if status.is_success() => {}
            StatusCode::FORBIDDEN => return Err(Error::terminal("the pass office does not know this program")),
            status => return Err(Error::transient(format!("the pass office answered {status}"))),
        }
        let body = response.into_body().collect().await.map_err(Error::transient)?.to_bytes();
        let pass: Pass = serde_json::from_slice(&body).map_err(Error::transient)?;
        Ok(AccessToken::new(pass.pass)?.with_expires_in(Duration::from_secs(60 * pass.minutes)))
    }
}

/// A request passes the layers from the first to the last, and its response in the reverse order.
fn stack(
    source: PassOffice,
    api: Http,
) -> impl Service<Request<Body>, Response = Response<impl Sized>, Error = BoxError> {
    ServiceBuilder::new()
        // Above: the caller's deadline for everything. It can end a wait for a token, but never the renewal itself.
        .layer(TimeoutLayer::new(Duration::from_secs(30)))
        // Above: each retry uses the token that is current then. Below, it would repeat a token that was just rejected. It
        // does not retry a 401, because the next layer does.
        .layer(RetryLayer::new(WhenBusy { left: 2 }))
        .layer(BearerAuthLayer::new(source))
        // Below: it sees each attempt, also the rejected one. Above, it would see one request and one response. The token is
        // marked as sensitive, so traces do not show it.
        .layer(TraceLayer::new_for_http().make_span_with(|_: &Request<Body>| tracing::debug_span!("attempt")))
        // Below: it limits the requests that are sent. Above, a request that waits for a token would count too.
        .layer(ConcurrencyLimitLayer::new(8))
        // Below: a deadline for each attempt, so the second attempt has its own.
        .layer(TimeoutLayer::new(Duration::from_secs(5)))
        .service(api)
}

/// Retries when the API is busy. It does not wait, to keep the example short; a real policy backs off.
#[derive(Clone)]
struct WhenBusy {
    left: u32,
}

impl<B> Policy<Request<Body>, Response<B>, BoxError> for WhenBusy {
    type Future = Ready<()>;

    fn retry(
        &mut self,
        _request: &mut Request<Body>,
        result: &mut Result<Response<B>, BoxError>,
    ) -> Option<Self::Future> {
        let busy = result.as_ref().is_ok_and(|response| response.status() == StatusCode::SERVICE_UNAVAILABLE);
        self.left = self.left.checked_sub(u32::from(busy))?;
        busy.then(|| ready(()))
    }

    fn clone_request(&mut self, request: &Request<Body>) -> Option<Request<Body>> {
        Some(request.clone())
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).without_time().with_ansi(false).compact().init();
    let hospital = Arc::new(Hospital::default());
    let mut api = stack(PassOffice { http: Hospital::office(&hospital) }, Hospital::api(&hospital));

    println!("1. The first request waits for a pass.");
    let response = get(&mut api).await?;
    expect(&hospital, &response, [1, 1])?;

    println!("2. The API is busy once. The retry layer above sends the request again, with the same pass.");
    hospital.busy.store(1, Relaxed);
    let response = get(&mut api).await?;
    expect(&hospital, &response, [1, 3])?;

    println!("3. The pass is withdrawn. The bearer layer gets another pass and sends the request again.");
    hospital.withdrawn.store(1, Relaxed);
    let response = get(&mut api).await?;
    expect(&hospital, &response, [2, 5])?;
    let retried = response.extensions().get::<Outcome>().is_some_and(Outcome::retried);
    println!("   The caller sees: {}; retried: {retried}", response.status());
    Ok(())
}

async fn get<S: Service<Request<Body>, Error = BoxError>>(api: &mut S) -> Result<S::Response, BoxError> {
    let request = Request::get("https://api.example.org/patients").body(Body::default())?;
    api.ready().await?.call(request).await
}

/// The example checks itself: it compares the number of passes and requests so far with the expected numbers.
fn expect<B>(hospital: &Hospital, response: &Response<B>, counts: [u32; 2]) -> Result<(), BoxError> {
    let seen = [hospital.passes.load(Relaxed), hospital.requests.load(Relaxed)];
    if response.status().is_success() && seen == counts {
        return Ok(());
    }
    Err(format!("status {} after {seen:?} passes and requests, but expected {counts:?}", response.status()).into())
}

/// The servers. They run in the same process, so the example needs no network.
#[derive(Default)]
struct Hospital {
    passes: AtomicU32,
    /// Passes up to this number are no longer valid.
    withdrawn: AtomicU32,
    requests: AtomicU32,
    /// How many of the next requests are answered with 503.
    busy: AtomicU32,
}

impl Hospital {
    fn office(hospital: &Arc<Self>) -> Http {
        let hospital = Arc::clone(hospital);
        BoxCloneSyncService::new(service_fn(move |_request: Request<Body>| {
            let number = hospital.passes.fetch_add(1, Relaxed) + 1;
            let pass = format!(r#"{{"pass": "pass-{number}", "minutes": 15}}"#);
            ready(Ok::<_, BoxError>(Response::new(Body::from(pass))))
        }))
    }

    fn api(hospital: &Arc<Self>) -> Http {
        let hospital = Arc::clone(hospital);
        BoxCloneSyncService::new(service_fn(move |request: Request<Body>| {
            hospital.requests.fetch_add(1, Relaxed);
            let mut response = Response::new(Body::default());
            *response.status_mut() = hospital.status(&request);
            ready(Ok::<_, BoxError>(response))
        }))
    }

    fn status(&self, request: &Request<Body>) -> StatusCode {
        let valid = format!("Bearer pass-{}", self.passes.load(Relaxed));
        let withdrawn = self.withdrawn.load(Relaxed) == self.passes.load(Relaxed);
        if withdrawn || request.headers().get(AUTHORIZATION).is_none_or(|value| value.as_bytes() != valid.as_bytes()) {
            return StatusCode::UNAUTHORIZED;
        }
        match self.busy.fetch_update(Relaxed, Relaxed, |busy| busy.checked_sub(1)) {
            Ok(_) => StatusCode::SERVICE_UNAVAILABLE,
            Err(_) => StatusCode::OK,
        }
    }
}
