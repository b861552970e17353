//! What the steps share: the client, the cache and the counts.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode, response::Parts};
use http_body_util::{BodyExt, Full};
use tokio::time::{Instant, timeout};
use tower::{BoxError, ServiceExt};
use tower_bearer::{AccessToken, Outcome, TokenCache};

use crate::{
    advice,
    args::Config,
    cli::CliError,
    client::{self, Api, Counters, Counts},
    print::without_query,
};

/// How long the API may take for a response with its whole body.
const DEADLINE: Duration = Duration::from_secs(30);

pub struct Session<'a> {
    pub config: &'a Config,
    pub cache: TokenCache,
    /// Requests of this program. Each may be sent twice.
    pub requests: u64,
    pub retries: u64,
    api: Api,
    counters: Arc<Counters>,
}

/// What the program sees of one request.
pub struct Exchange {
    pub status: StatusCode,
    /// Whether the request waited for a token.
    pub waited: bool,
    /// Whether the request was sent twice.
    pub retried: bool,
    pub duration: Duration,
}

impl<'a> Session<'a> {
    pub fn new(config: &'a Config) -> Result<Self, CliError> {
        let counters = Arc::new(Counters::default());
        let cache = client::token_cache(config, &counters)?;
        let api = client::api_client(config, &cache, &counters)?;
        Ok(Self { config, cache, requests: 0, retries: 0, api, counters })
    }

    pub fn counts(&self) -> Counts {
        self.counters.counts()
    }

    pub async fn token(&self) -> Result<AccessToken, CliError> {
        Ok(self.cache.token().await?)
    }

    /// Sends one request to the API. An error status is an error.
    pub async fn request(&mut self) -> Result<Exchange, CliError> {
        let start = Instant::now();
        let head = match timeout(DEADLINE, self.exchange()).await {
            Ok(Ok(head)) => head,
            Ok(Err(error)) => return Err(advice::connection(error)),
            Err(_) => {
                let url = without_query(&self.config.api_url);
                return Err(CliError::failed(format!(
                    "{url} sent no complete response within {DEADLINE:?}: check --api-url"
                )));
            }
        };
        let outcome = head.extensions.get::<Outcome>();
        advice::response(&head, outcome)?;
        let waited = outcome.is_some_and(Outcome::waited);
        let retried = outcome.is_some_and(Outcome::retried);
        self.requests += 1;
        self.retries += u64::from(retried);
        Ok(Exchange { status: head.status, waited, retried, duration: start.elapsed() })
    }

    async fn exchange(&self) -> Result<Parts, BoxError> {
        let request = Request::get(&self.config.api_url)
            .header("accept", "application/fhir+json, application/json")
            .body(Full::<Bytes>::default())?;
        let (head, mut body) = self.api.clone().oneshot(request).await?.into_parts();
        while let Some(frame) = body.frame().await {
            frame?;
        }
        Ok(head)
    }
}

/// Fails with the text of `problem` unless the condition holds.
pub fn check(holds: bool, problem: impl FnOnce() -> String) -> Result<(), CliError> {
    if holds { Ok(()) } else { Err(CliError::failed(problem())) }
}
