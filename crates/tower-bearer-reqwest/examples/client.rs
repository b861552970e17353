//! A reqwest client whose token is revoked. The authorization server and the API are on loopback.
//!
//! ```text
//! cargo run --package tower-bearer-reqwest --example client
//! ```

use tower_bearer::{
    BearerAuthLayer, BoxError, Outcome,
    grant::{ClientAuth, ClientCredentials},
    testing::Issuer,
};
use tower_bearer_reqwest::{BearerClient, RequestBuilderExt};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let issuer = Issuer::builder().client("my-client", "my-secret").build();
    let server = issuer.listen().await?;

    let source = ClientCredentials::builder(server.token_url())
        .client_auth(ClientAuth::basic("my-client", "my-secret"))
        .build()?;
    let client = reqwest::Client::new();
    let api = BearerClient::new(client.clone(), BearerAuthLayer::new(source).origins([server.url("/")])?);

    let patient = serde_json::json!({"resourceType": "Patient", "active": true});
    for retried in [false, true] {
        let request = client.post(server.url("/fhir/Patient")).json(&patient);
        let response = request.send_with(&api).await?.error_for_status()?;
        let outcome: Option<&Outcome> = response.extensions().get();
        println!("{} from {}: {outcome:?}", response.status(), response.url());
        assert_eq!(outcome.is_some_and(Outcome::retried), retried);
        println!("{}", response.text().await?);
        issuer.revoke_current();
    }
    assert_eq!(issuer.counts().token_requests, 2);
    Ok(())
}
