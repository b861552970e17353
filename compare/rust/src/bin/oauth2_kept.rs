//! oauth2's `exchange_client_credentials`. The program keeps the token until `expires_in` has passed, and sends by reqwest.

use std::sync::Arc;

use compare::{Answer, BoxError, CLIENT, chunks, drive, secret, status, url};
use oauth2::{ClientId, ClientSecret, TokenResponse, TokenUrl, basic::BasicClient};
use reqwest12::{Body, Client, RequestBuilder, redirect::Policy};
use tokio::{sync::RwLock, time::Instant};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let oauth = BasicClient::new(ClientId::new(CLIENT.to_owned()))
        .set_client_secret(ClientSecret::new(secret()))
        .set_token_uri(TokenUrl::new(url("/token"))?);
    let asking = Client::builder().redirect(Policy::none()).build()?;
    let kept = Arc::new(RwLock::new(None::<(String, Instant)>));

    let send = move |request: RequestBuilder| -> Answer {
        let (oauth, asking, kept) = (oauth.clone(), asking.clone(), kept.clone());
        Box::pin(async move {
            let now = Instant::now();
            let good = kept.read().await.clone().filter(|(_, end)| *end > now);
            let token = if let Some((token, _)) = good {
                token
            } else {
                let answer = oauth.exchange_client_credentials().request_async(&asking).await?;
                let token = answer.access_token().secret().clone();
                *kept.write().await = Some((token.clone(), now + answer.expires_in().unwrap_or_default()));
                token
            };
            status(request.bearer_auth(token).send().await?).await
        })
    };
    let (upload, client) = (send.clone(), Client::new());
    let uploader = client.clone();
    drive(
        move || send(client.get(url("/api"))),
        move || upload(uploader.post(url("/api")).body(Body::wrap_stream(chunks()))),
    )
    .await;
    Ok(())
}
