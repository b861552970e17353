//! The client that the tests use, and its issuer.

use tower::ServiceExt;
use tower_bearer::{
    BearerAuthLayer, NotRetried, Outcome,
    grant::{ClientAuth, ClientCredentials},
    testing::{Issuer, IssuerService, TokenFormat},
};
use tower_bearer_reqwest::BearerClient;

/// Returns an issuer of opaque tokens, which are faster to issue than JWTs.
pub(crate) fn issuer() -> Issuer {
    Issuer::builder().token_format(TokenFormat::Opaque).build()
}

/// Returns a layer with the tokens of `issuer`, which is asked in process.
pub(crate) fn layer(issuer: &Issuer) -> BearerAuthLayer {
    BearerAuthLayer::new(source(issuer))
}

pub(crate) fn source(issuer: &Issuer) -> ClientCredentials<IssuerService> {
    ClientCredentials::builder("https://issuer.test/token")
        .client_auth(ClientAuth::basic("client1", "client-secret"))
        .build_with(issuer.service())
        .unwrap()
}

/// Returns a client whose token is there, and was revoked by the issuer.
pub(crate) async fn revoked(issuer: &Issuer) -> BearerClient {
    let api = BearerClient::new(reqwest::Client::new(), layer(issuer));
    api.cache().token().await.unwrap();
    issuer.revoke_all();
    api
}

pub(crate) fn outcome(response: &reqwest::Response) -> Option<&Outcome> {
    response.extensions().get()
}

/// Returns whether the request was not sent again because its body could not be.
pub(crate) fn is_not_replayable(response: &reqwest::Response) -> bool {
    matches!(outcome(response).and_then(Outcome::not_retried), Some(NotRetried::NotReplayable))
}

/// Fails to compile for a future that cannot be spawned.
pub(crate) async fn spawned<F: Future<Output: Send + 'static> + Send + 'static>(future: F) -> F::Output {
    tokio::spawn(future).await.unwrap()
}

/// Calls a service as tower's users do.
pub(crate) async fn call<S: tower::Service<reqwest::Request> + Clone>(
    service: &S,
    request: reqwest::RequestBuilder,
) -> Result<S::Response, S::Error> {
    service.clone().oneshot(request.build().unwrap()).await
}
