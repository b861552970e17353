//! SMART Backend Services: a program without a user gets tokens with a private key, and reads from a FHIR server.
//!
//! ```text
//! cargo run --features jwt --example smart_backend      # offline, against the scripted issuer
//! cargo run --features jwt --example smart_backend -- --fhir https://fhir.example.org/r4 --client-id my-client \
//!     --key key.pem --key-id 2026-01 --scope system/Patient.rs --path /Patient
//! ```

use http::Request;
use http_body_util::{BodyExt, Full};
use tower::{BoxError, Layer, ServiceExt};
use tower_bearer::{
    BearerAuthLayer, TokenCache,
    grant::{AuthorizationServer, ClientCredentials, HttpClient, Secret, SigningKey},
    testing::{ClientAuthentication, Issuer},
};

struct Settings {
    fhir: String,
    client_id: String,
    key: Secret,
    key_id: String,
    scope: String,
    path: String,
}

impl Settings {
    fn offline(fhir: String) -> Self {
        Self {
            fhir,
            client_id: "backend".into(),
            key: include_str!("data/client-key.pem").into(),
            key_id: "client-key".into(),
            scope: "system/Patient.rs".into(),
            path: "/Patient".into(),
        }
    }

    fn with_arguments(mut self) -> Result<Self, lexopt::Error> {
        use lexopt::prelude::{Long, ValueExt};
        let mut arguments = lexopt::Parser::from_env();
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("fhir") => self.fhir = arguments.value()?.string()?,
                Long("client-id") => self.client_id = arguments.value()?.string()?,
                Long("key") => self.key = Secret::file(arguments.value()?),
                Long("key-id") => self.key_id = arguments.value()?.string()?,
                Long("scope") => self.scope = arguments.value()?.string()?,
                Long("path") => self.path = arguments.value()?.string()?,
                other => return Err(other.unexpected()),
            }
        }
        Ok(self)
    }
}

/// The issuer knows the client's public key, and no secret of it.
fn scripted_issuer() -> Result<Issuer, BoxError> {
    let keys: serde_json::Value = serde_json::from_str(include_str!("data/client-keys.json"))?;
    Ok(Issuer::builder()
        .client("backend", "")
        .client_authentication(ClientAuthentication::PrivateKeyJwt)
        .client_keys(keys)
        .scope("system/Patient.rs")
        .build())
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let issuer = scripted_issuer()?.listen().await?;
    let settings = Settings::offline(issuer.url("/fhir")).with_arguments()?;

    // This is all the code that an SDK needs. No request is sent yet. The first one will be for the server's metadata, which
    // has the URL of the token endpoint.
    let key = SigningKey::pem(settings.key).key_id(settings.key_id);
    let server = AuthorizationServer::smart(&settings.fhir);
    let source = ClientCredentials::backend_services(server, settings.client_id, key).scope(settings.scope).build()?;
    let cache = TokenCache::new(source);

    let api = BearerAuthLayer::with_cache(cache.clone()).layer(HttpClient::builder().build()?);

    for _ in 0..2 {
        let request = Request::get(format!("{}{}", settings.fhir, settings.path)).body(Full::default())?;
        let response = api.clone().oneshot(request).await?;
        println!("{} {}", settings.path, response.status());
        println!("  {} bytes", response.into_body().collect().await?.to_bytes().len());
    }
    let token = cache.token().await?;
    println!(
        "one token for both requests: number {}, scope {:?}, lifetime {:?}",
        token.generation(),
        token.scope(),
        token.lifetime()
    );

    match cache.revoke().await {
        Ok(()) => println!("the token is revoked"),
        Err(error) => println!("the token is not revoked: {error}"),
    }
    Ok(())
}
