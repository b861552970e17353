//! What the chapters share: the client, and the counts.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::time::Instant;
use tower::{BoxError, Service, ServiceExt};
use tower_bearer::{Outcome, TokenCache};

use crate::{
    advice,
    client::{self, Api, Counts, Wire},
    plan::{Plan, shown},
    trouble::Trouble,
};

/// How long the API may take for an answer, with its whole body.
const PATIENCE: Duration = Duration::from_secs(30);

/// The story so far.
pub struct Story<'a> {
    pub plan: &'a Plan,
    pub cache: TokenCache,
    /// Requests that this program made; each may be sent twice.
    pub requests: u64,
    pub retries: u64,
    api: Api,
    wire: Arc<Wire>,
}

/// What the program sees of one request.
pub struct Seen {
    pub status: StatusCode,
    /// Whether it had to wait for a token.
    pub waited: bool,
    /// Whether it was sent twice.
    pub retried: bool,
    pub took: Duration,
}

impl<'a> Story<'a> {
    pub fn begin(plan: &'a Plan) -> Result<Self, Trouble> {
        let wire = Arc::new(Wire::default());
        let cache = client::token_cache(plan, &wire)?;
        let api = client::api_client(plan, &cache, &wire)?;
        Ok(Self { plan, cache, requests: 0, retries: 0, api, wire })
    }

    pub fn counts(&self) -> Counts {
        self.wire.counts()
    }

    /// One request to the API: ordinary code, which knows nothing of tokens.
    pub async fn request(&mut self) -> Result<Seen, Trouble> {
        let began = Instant::now();
        let answer = tokio::time::timeout(PATIENCE, self.exchange()).await;
        let (head, outcome) = match answer {
            Ok(Ok(answered)) => answered,
            Ok(Err(error)) => return Err(advice::connection(&error, "API", "--api-url")),
            Err(_) => {
                let url = shown(&self.plan.api_url);
                return Err(Trouble::failed(format!(
                    "{url} gave no whole answer within {PATIENCE:?}: check --api-url"
                )));
            }
        };
        advice::answer(&head, outcome.as_ref())?;
        self.requests += 1;
        let retried = outcome.as_ref().is_some_and(Outcome::retried);
        self.retries += u64::from(retried);
        let waited = outcome.as_ref().is_some_and(Outcome::waited);
        Ok(Seen { status: head.status, waited, retried, took: began.elapsed() })
    }

    async fn exchange(&mut self) -> Result<(http::response::Parts, Option<Outcome>), BoxError> {
        let request = Request::get(&self.plan.api_url)
            .header("accept", "application/fhir+json, application/json")
            .body(Full::<Bytes>::default())?;
        let response = self.api.ready().await?.call(request).await?;
        let (head, mut body) = response.into_parts();
        // Read to its end, so that the connection can be used again.
        while let Some(frame) = body.frame().await {
            frame?;
        }
        let outcome = head.extensions.get::<Outcome>().cloned();
        Ok((head, outcome))
    }
}

/// The story checks itself.
pub fn check(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), Trouble> {
    if holds { Ok(()) } else { Err(Trouble::failed(otherwise())) }
}
