//! google-cloud-auth with a refresh token, since it has no client credentials for other issuers. Without an argument, its headers are
//! given to reqwest. `retry`: the same, with the retry policy of its documentation. `middleware`: its token is the source of reqwest-auth.

use std::env;

use compare::{Answer, BoxError, CLIENT, REFRESH_TOKEN, chunks, drive, secret, status, url};
use google_cloud_auth::credentials::{AccessTokenCredentials, CacheableResource, Credentials, user_account::Builder};
use google_cloud_gax::{
    exponential_backoff::ExponentialBackoff,
    retry_policy::{AlwaysRetry, RetryPolicyExt},
};
use http::Extensions;
use reqwest_auth::AuthorizationHeaderMiddleware;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use reqwest12::{Body, Client, Method};
use token_source::{TokenSource, TokenSourceProvider};

#[derive(Debug, Clone)]
struct Source(AccessTokenCredentials);

#[async_trait::async_trait]
impl TokenSource for Source {
    async fn token(&self) -> Result<String, BoxError> {
        Ok(format!("Bearer {}", self.0.access_token().await?.token))
    }
}

impl TokenSourceProvider for Source {
    fn token_source(&self) -> std::sync::Arc<dyn TokenSource> {
        std::sync::Arc::new(self.clone())
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let builder = Builder::new(serde_json::json!({
        "type": "authorized_user",
        "client_id": CLIENT,
        "client_secret": secret(),
        "refresh_token": REFRESH_TOKEN,
        "token_uri": url("/token"),
    }));
    let mode = env::args().nth(1);
    let (client, credentials): (ClientWithMiddleware, Option<Credentials>) = match mode.as_deref() {
        Some("middleware") => {
            let source = Source(builder.build_access_token_credentials()?);
            let middleware = AuthorizationHeaderMiddleware::from(source.token_source());
            (ClientBuilder::new(Client::new()).with(middleware).build(), None)
        }
        Some(_retry) => {
            let policy = AlwaysRetry.with_attempt_limit(3);
            let builder = builder.with_retry_policy(policy).with_backoff_policy(ExponentialBackoff::default());
            (Client::new().into(), Some(builder.build()?))
        }
        None => (Client::new().into(), Some(builder.build()?)),
    };

    let send = move |method, body: Option<Body>| -> Answer {
        let (client, credentials) = (client.clone(), credentials.clone());
        Box::pin(async move {
            let mut request = client.request(method, url("/api"));
            if let Some(credentials) = credentials {
                let CacheableResource::New { data, .. } = credentials.headers(Extensions::new()).await? else {
                    return Err("headers without a tag are always new".into());
                };
                request = request.headers(data);
            }
            if let Some(body) = body {
                request = request.body(body);
            }
            status(request.send().await?).await
        })
    };
    let upload = send.clone();
    drive(move || send(Method::GET, None), move || upload(Method::POST, Some(Body::wrap_stream(chunks())))).await;
    Ok(())
}
