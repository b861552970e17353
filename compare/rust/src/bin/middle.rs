//! middle's `HttpClient`. The authorizer is built by the first request, and by the next one if that failed.

use std::sync::Arc;

use compare::{Answer, BoxError, CLIENT, chunks, drive, secret, status, url};
use middle::{BasicClientCredentialAuthorizer, HttpClient};
use reqwest12::{Body, Method};
use tokio::sync::OnceCell;

type Client = HttpClient<BasicClientCredentialAuthorizer>;

async fn build() -> Result<Client, BoxError> {
    let authorizer =
        BasicClientCredentialAuthorizer::basic_builder(CLIENT, &secret(), url("/token").parse()?).build().await?;
    Ok(HttpClient::new(authorizer))
}

#[tokio::main]
async fn main() {
    let client = Arc::new(OnceCell::new());
    let send = move |method, body: Option<Body>| -> Answer {
        let client = client.clone();
        Box::pin(async move {
            let client = client.get_or_try_init(build).await?;
            let mut request = client.request(method, url("/api"))?;
            if let Some(body) = body {
                request = request.body(body);
            }
            status(request.send().await?).await
        })
    };
    let upload = send.clone();
    drive(move || send(Method::GET, None), move || upload(Method::POST, Some(Body::wrap_stream(chunks())))).await;
}
