//! The two layers of cf-gears-toolkit-auth, with one of its tokens.

use serde_json::json;
use tokio::runtime::Builder;
use toolkit_auth::{OAuthClientConfig, SecretString, oauth2::TokenProvider};
use toolkit_http::HttpClientConfig;
use tower_bearer::testing::Issuer;

use crate::TOKEN;

pub(crate) fn provider() -> TokenProvider {
    // Its worker must live as long as its tokens are used, which is until the end of the program.
    let runtime = Box::leak(Box::new(Builder::new_current_thread().enable_all().build().expect("a runtime")));
    runtime.block_on(async {
        let issuer = Issuer::new();
        issuer.answer_next(json!({ "access_token": TOKEN, "token_type": "Bearer", "expires_in": 172_800 }));
        let listening = issuer.listen().await.expect("a port");
        let provider = TokenProvider::new(OAuthClientConfig {
            token_endpoint: Some(listening.token_url().parse().expect("a URL")),
            client_id: "client1".to_owned(),
            client_secret: SecretString::new("client-secret"),
            http_config: Some(HttpClientConfig::for_testing()),
            ..Default::default()
        })
        .expect("a provider");
        provider.get().await.expect("a token");
        provider
    })
}
