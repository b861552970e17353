//! A stack, its issuer and its API.

use std::{fmt, pin::Pin, time::Duration};

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::{Request, Response};
use tokio::time::{sleep, timeout};

use crate::{
    cache::{Backoff, TokenCache},
    conformance::stack::body::TestBody,
    error::{BoxError, Error},
    extensions::{NotRetried, Outcome},
    grant::{ClientAuth, ClientCredentials},
    layer::BearerAuthLayer,
    testing::{Issuer, TokenFormat, Upstream, UpstreamServer},
};

/// Longer than any request should take.
const LONG: Duration = Duration::from_secs(10);

/// How many requests are sent at once.
pub(super) const MANY: usize = 16;

pub(super) type Sending = Pin<Box<dyn Future<Output = Result<Response<Bytes>, BoxError>>>>;

/// A stack without its types.
pub(super) type ErasedStack<'a> = Box<dyn Fn(Request<TestBody>) -> Sending + 'a>;

/// Makes a stack of a layer, for an API with this URL.
pub(super) type Make<'a> = dyn Fn(BearerAuthLayer, &str) -> ErasedStack<'a> + 'a;

/// Why a check did not pass.
#[derive(Debug)]
pub(super) enum Finding {
    Failed(String),
    NotApplicable(String),
}

impl Finding {
    pub(super) fn failed(why: impl Into<String>) -> Self {
        Self::Failed(why.into())
    }
}

/// Fails a check with this sentence, if the condition does not hold.
pub(super) fn ensure(holds: bool, why: impl FnOnce() -> String) -> Result<(), Finding> {
    if holds { Ok(()) } else { Err(Finding::Failed(why())) }
}

/// Why a request got no response.
#[derive(Debug)]
pub(super) enum NoResponse {
    Error(BoxError),
    Late,
}

impl NoResponse {
    /// Returns the crate's own error, wherever it is in the chain.
    pub(super) fn own_error(&self) -> Option<&Error> {
        let Self::Error(error) = self else { return None };
        let mut next: Option<&(dyn std::error::Error + 'static)> = Some(&**error);
        while let Some(error) = next {
            if let Some(own) = error.downcast_ref() {
                return Some(own);
            }
            next = error.source();
        }
        None
    }
}

impl fmt::Display for NoResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(error) => {
                write!(f, "the request failed: {error}")?;
                let mut source = error.source();
                while let Some(error) = source {
                    write!(f, ": {error}")?;
                    source = error.source();
                }
                Ok(())
            }
            Self::Late => write!(f, "the request did not end within {LONG:?}"),
        }
    }
}

impl From<NoResponse> for Finding {
    fn from(none: NoResponse) -> Self {
        Self::Failed(none.to_string())
    }
}

/// A stack that nothing has used, with an issuer, and an API on loopback.
pub(super) struct World<'a> {
    pub(super) issuer: Issuer,
    pub(super) api: Upstream,
    pub(super) cache: TokenCache,
    server: UpstreamServer,
    send: ErasedStack<'a>,
}

impl<'a> World<'a> {
    /// Starts an API that accepts the issuer's tokens, which live for an hour.
    pub(super) async fn protected(make: &Make<'a>) -> Result<Self, Finding> {
        Self::with_lifetime(make, Duration::from_secs(3600)).await
    }

    pub(super) async fn with_lifetime(make: &Make<'a>, lifetime: Duration) -> Result<Self, Finding> {
        let issuer = Issuer::builder().token_format(TokenFormat::Opaque).lifetime(lifetime).build();
        let api = Upstream::protected_by(&issuer);
        let server = api.listen().await.map_err(|error| Finding::failed(format!("no port is free: {error}")))?;
        let source = ClientCredentials::builder("https://issuer.test/token")
            .client_auth(ClientAuth::basic("client1", "client-secret"))
            .build_with(issuer.service())
            .map_err(|error| Finding::failed(error.to_string()))?;
        let minute = Duration::from_secs(60);
        // Each token request of a failing issuer is then one that something above the cache has caused.
        let cache =
            TokenCache::builder(source).renewal_retries(0).transient_backoff(Backoff::new(minute, minute)).build();
        let send = make(BearerAuthLayer::with_cache(cache.clone()), &server.url("/"));
        Ok(Self { issuer, api, cache, server, send })
    }

    pub(super) fn get(&self) -> Request<TestBody> {
        self.request("GET", TestBody::whole(""))
    }

    pub(super) fn request(&self, method: &str, body: TestBody) -> Request<TestBody> {
        let request = Request::builder().method(method).uri(self.server.url("/fhir/Patient")).body(body);
        request.expect("a method and a URL")
    }

    /// Sends a request, and reads the whole response.
    pub(super) async fn send(&self, request: Request<TestBody>) -> Result<Response<Bytes>, NoResponse> {
        match timeout(LONG, (self.send)(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(NoResponse::Error(error)),
            Err(_) => Err(NoResponse::Late),
        }
    }

    /// Sends many GET requests at once. All have to be answered by 200.
    pub(super) async fn send_many(&self) -> Result<(), Finding> {
        for response in futures_util::future::join_all((0..MANY).map(|_| self.send(self.get()))).await {
            self.is_ok(&response?)?;
        }
        Ok(())
    }

    /// Sends one GET request, which has to be answered by 200.
    pub(super) async fn succeeds(&self) -> Result<(), Finding> {
        self.is_ok(&self.send(self.get()).await?)
    }

    pub(super) fn is_ok(&self, response: &Response<Bytes>) -> Result<(), Finding> {
        let outcome = not_retried(response).map(|why| format!(", and its `Outcome` says: {why}"));
        ensure(response.status() == 200, || {
            let status = response.status().as_u16();
            format!("the caller got {status} and not 200{}.{}", outcome.unwrap_or_default(), self.arrived())
        })
    }

    /// Has a request be dropped as soon as `reached` is true.
    pub(super) async fn drop_when(&self, reached: impl Fn() -> bool) -> Result<(), Finding> {
        // The request itself has a deadline.
        let until = async {
            while !reached() {
                sleep(Duration::from_millis(2)).await;
            }
        };
        match select(Box::pin(self.send(self.get())), Box::pin(until)).await {
            Either::Left((Ok(response), _)) => {
                Err(Finding::failed(format!("a request that had to wait was answered by {}", response.status())))
            }
            Either::Left((Err(none), _)) => Err(none.into()),
            Either::Right(_) => Ok(()),
        }
    }

    /// Lists what the API has received, at the end of a sentence.
    pub(super) fn arrived(&self) -> String {
        let requests = self.api.requests();
        if requests.is_empty() {
            return " Nothing reached the API".to_owned();
        }
        let list: Vec<_> = requests.iter().take(4).map(ToString::to_string).collect();
        let more = if requests.len() > list.len() { "; and more" } else { "" };
        format!(" What reached the API: {}{more}", list.join("; "))
    }
}

/// Returns why a response says that its request was not sent again.
pub(super) fn not_retried(response: &Response<Bytes>) -> Option<&NotRetried> {
    response.extensions().get::<Outcome>()?.not_retried()
}
