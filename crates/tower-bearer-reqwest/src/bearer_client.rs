//! A client and its layer, as one service.

use std::{
    fmt,
    task::{Context, Poll},
};

use reqwest::{Body, Client, Request, Response};
use tower_bearer::{BearerAuth, BearerAuthLayer, TokenCache, replay::Replay};
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    error::Error,
    http_client::HttpClient,
    keep_body::KeepBody,
    reqwest_types::{ReqwestTypes, ReqwestTypesLayer, ResponseFuture},
    response_body::ResponseBody,
};

/// A [`reqwest::Client`] whose requests carry a bearer token. Clones are cheap, and share connections and token.
///
/// ```no_run
/// use tower_bearer::{BearerAuthLayer, grant::{ClientAuth, ClientCredentials}};
/// use tower_bearer_reqwest::{BearerClient, RequestBuilderExt};
///
/// # async fn sdk() -> Result<(), tower_bearer::BoxError> {
/// let source = ClientCredentials::builder("https://auth.example.org/oauth2/token")
///     .client_auth(ClientAuth::basic("client-id", std::env::var("CLIENT_SECRET")?))
///     .build()?;
/// let client = reqwest::Client::new();
/// let api = BearerClient::new(client.clone(), BearerAuthLayer::new(source).origins(["https://api.example.org"])?);
///
/// let response = client.get("https://api.example.org/fhir/Patient").send_with(&api).await?;
/// # Ok(()) }
/// ```
///
/// It is a tower service of [`reqwest::Request`], like the client itself. [`HttpClient`] is for stacks with other layers.
pub struct BearerClient<R = KeepBody> {
    client: Client,
    cache: TokenCache,
    service: ReqwestTypes<BearerAuth<HttpClient, R>>,
}

impl BearerClient {
    /// Creates a client that attaches tokens as `layer` says, and keeps bodies by [`KeepBody`].
    #[must_use]
    pub fn new(client: Client, layer: BearerAuthLayer) -> Self {
        Self::with_replay(client, layer.replay(KeepBody::new()))
    }
}

impl<R: Clone> BearerClient<R> {
    /// Creates a client that keeps bodies as the layer does: for [`BearerAuthLayer::without_retry`], a
    /// [cap](KeepBody::stream_cap) or a custom strategy.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "a layer that was just built is passed")]
    pub fn with_replay(client: Client, layer: BearerAuthLayer<R>) -> Self {
        let service = ReqwestTypesLayer.layer(layer.layer(HttpClient::new(client.clone())));
        Self { client, cache: layer.cache().clone(), service }
    }
}

impl<R> BearerClient<R> {
    /// Returns the client, to build requests with. What it sends itself has no token: send by
    /// [`send_with`](crate::RequestBuilderExt::send_with).
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Returns the cache of the layer, to share it or to read its [`status`](TokenCache::status).
    #[must_use]
    pub fn cache(&self) -> &TokenCache {
        &self.cache
    }
}

impl<R: Replay<Body> + Clone> Service<Request> for BearerClient<R> {
    type Response = Response;
    type Error = Error;
    type Future = ResponseFuture<tower_bearer::ResponseFuture<HttpClient, Body, ResponseBody, R>>;

    fn poll_ready(&mut self, task: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.service.poll_ready(task)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        self.service.call(request)
    }
}

impl<R> Clone for BearerClient<R> {
    fn clone(&self) -> Self {
        Self { client: self.client.clone(), cache: self.cache.clone(), service: self.service.clone() }
    }
}

impl<R: fmt::Debug> fmt::Debug for BearerClient<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BearerClient").field(&self.service).finish()
    }
}
