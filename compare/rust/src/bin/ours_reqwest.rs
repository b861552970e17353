//! tower-bearer-reqwest: `send_with` in the place of `send`.

use compare::{Answer, BoxError, CLIENT, chunks, drive, secret, url};
use reqwest::{Body, Client, RequestBuilder};
use tower_bearer::{
    BearerAuthLayer,
    grant::{ClientAuth, ClientCredentials},
};
use tower_bearer_reqwest::{BearerClient, RequestBuilderExt};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let source = ClientCredentials::builder(url("/token")).client_auth(ClientAuth::basic(CLIENT, secret())).build()?;
    let client = Client::new();
    let api = BearerClient::new(client.clone(), BearerAuthLayer::new(source).origins([url("")])?);
    let send = move |request: RequestBuilder| -> Answer {
        let api = api.clone();
        Box::pin(async move {
            let response = request.send_with(&api).await?;
            let status = response.status().as_u16();
            response.bytes().await?;
            Ok(status)
        })
    };
    let (upload, uploader) = (send.clone(), client.clone());
    drive(
        move || send(client.get(url("/api"))),
        move || upload(uploader.post(url("/api")).body(Body::wrap_stream(chunks()))),
    )
    .await;
    Ok(())
}
