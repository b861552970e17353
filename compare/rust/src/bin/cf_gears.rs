//! cf-gears-toolkit-auth on the client of cf-gears-toolkit-http, which sends whole buffers. Without an argument: `with_bearer_auth`.
//! `refresh`: `with_bearer_auth_auto_refresh`. `often`: the same, with `min_invalidation_interval` of 1 second.

use std::{env, time::Duration};

use bytes::Bytes;
use compare::{Answer, BoxError, CLIENT, drive, secret, url};
use toolkit_auth::{BearerAuthAutoRefreshOpts, HttpClientBuilderExt, OAuthClientConfig, SecretString, TokenProvider};
use toolkit_http::{HttpClientBuilder, HttpClientConfig, RequestBuilder, TransportSecurity};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let loopback = |mut config: HttpClientConfig| {
        config.transport = TransportSecurity::AllowInsecureHttp;
        config
    };
    let provider = TokenProvider::new(OAuthClientConfig {
        token_endpoint: Some(url("/token").parse()?),
        client_id: CLIENT.to_owned(),
        client_secret: SecretString::new(secret()),
        // Up to five minutes by default; without it, the time of a renewal is known.
        jitter_max: Duration::ZERO,
        http_config: Some(loopback(HttpClientConfig::token_endpoint())),
        ..Default::default()
    })?;
    let builder = HttpClientBuilder::with_config(loopback(HttpClientConfig::default()));
    let client = match env::args().nth(1).as_deref() {
        Some("refresh") => builder.with_bearer_auth_auto_refresh(provider),
        Some("often") => {
            let min_invalidation_interval = Duration::from_secs(1);
            let options = BearerAuthAutoRefreshOpts { min_invalidation_interval, ..Default::default() };
            builder.with_bearer_auth_auto_refresh_opts(provider, options)
        }
        _ => builder.with_bearer_auth(provider),
    }
    .build()?;

    let send = |request: RequestBuilder| -> Answer {
        Box::pin(async move {
            let response = request.send().await?;
            let status = response.status().as_u16();
            let _ = response.bytes().await;
            Ok(status)
        })
    };
    let uploader = client.clone();
    drive(
        move || send(client.get(&url("/api"))),
        move || send(uploader.post(&url("/api")).body_bytes(Bytes::from(vec![b'x'; 1_000_000]))),
    )
    .await;
    Ok(())
}
