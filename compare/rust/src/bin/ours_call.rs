//! tower-bearer's `TokenCache::call` with a client of reqwest.

use compare::{BoxError, CLIENT, chunks, drive, secret, url};
use reqwest::{Body, Client, RequestBuilder};
use tower_bearer::{
    Judged, TokenCache,
    grant::{ClientAuth, ClientCredentials},
};

async fn call(cache: TokenCache, request: impl Fn() -> RequestBuilder) -> Result<u16, BoxError> {
    let response = cache
        .call(
            |token| request().bearer_auth(token.secret()).send(),
            |response| Judged::head(response.status(), response.headers()),
        )
        .await??;
    let status = response.status().as_u16();
    response.bytes().await?;
    Ok(status)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let source = ClientCredentials::builder(url("/token")).client_auth(ClientAuth::basic(CLIENT, secret())).build()?;
    let cache = TokenCache::new(source);
    let client = Client::new();
    let (uploading, uploader) = (cache.clone(), client.clone());
    drive(
        move || {
            let client = client.clone();
            Box::pin(call(cache.clone(), move || client.get(url("/api"))))
        },
        move || {
            let client = uploader.clone();
            Box::pin(call(uploading.clone(), move || client.post(url("/api")).body(Body::wrap_stream(chunks()))))
        },
    )
    .await;
    Ok(())
}
