//! The cache and the client for the API.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use tower::{BoxError, ServiceBuilder, ServiceExt, util::BoxCloneService};
use tower_bearer::{BearerAuthLayer, TokenCache, grant::HttpClient};

use crate::{args::Config, cli::CliError};

pub type Api = BoxCloneService<Request<Full<Bytes>>, Response<UnsyncBoxBody<Bytes, BoxError>>, BoxError>;

/// Creates the cache. A program needs one, which all of its clients share.
pub fn token_cache(config: &Config, counters: &Arc<Counters>) -> Result<TokenCache, CliError> {
    let counters = Arc::clone(counters);
    let counted = ServiceBuilder::new()
        .map_request(move |request| {
            counters.token_requests.fetch_add(1, Relaxed);
            request
        })
        .service(config.grant.http_client()?);
    let source = config.grant.source(counted)?;
    // A token with a short life is renewed after half of it. The default, three quarters, leaves little time if the life is
    // only seconds.
    Ok(TokenCache::builder(source).stale_before_expiry(Duration::from_secs(300), 0.5).build())
}

/// Creates a client whose requests carry the token. What is below the layer counts each attempt.
pub fn api_client(config: &Config, cache: &TokenCache, counters: &Arc<Counters>) -> Result<Api, CliError> {
    let (sent, answered) = (Arc::clone(counters), Arc::clone(counters));
    // A longer deadline than that of a whole exchange: an error of this client would look like one of the token endpoint.
    let mut http = HttpClient::builder().deadline(Duration::from_secs(60));
    if let Some(pem) = &config.grant.ca {
        http = http.root_certificates(pem.clone());
    }
    let client = ServiceBuilder::new()
        .layer(BearerAuthLayer::with_cache(cache.clone()))
        .map_request(move |request| {
            sent.sent.fetch_add(1, Relaxed);
            request
        })
        .map_response(move |response: Response<_>| {
            if response.status() == StatusCode::UNAUTHORIZED {
                answered.rejected.fetch_add(1, Relaxed);
            }
            response
        })
        .service(http.build()?);
    Ok(client.map_response(|response| response.map(|body| body.map_err(BoxError::from).boxed_unsync())).boxed_clone())
}

/// Counts what is sent and received below the layer.
#[derive(Default)]
pub struct Counters {
    token_requests: AtomicU64,
    sent: AtomicU64,
    rejected: AtomicU64,
}

/// What was sent and received so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    pub token_requests: u64,
    /// Requests to the API, including second attempts.
    pub sent: u64,
    /// Responses of the API with status 401.
    pub rejected: u64,
}

impl Counters {
    pub fn counts(&self) -> Counts {
        Counts {
            token_requests: self.token_requests.load(Relaxed),
            sent: self.sent.load(Relaxed),
            rejected: self.rejected.load(Relaxed),
        }
    }
}
