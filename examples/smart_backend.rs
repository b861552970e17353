//! SMART Backend Services: a program without a user gets tokens with a private key, and reads from a FHIR server.
//!
//! ```text
//! cargo run --features jwt --example smart_backend      # offline, against the scripted issuer
//! cargo run --features jwt --example smart_backend -- --fhir https://fhir.example.org/r4 --client-id my-client \
//!     --key key.pem --key-id 2026-01 --scope system/Patient.rs --path /Patient
//! cargo run --features jwt --example smart_backend -- --help
//! ```

use http::Request;
use http_body_util::{BodyExt, Full};
use tower::{BoxError, Layer, ServiceExt};
use tower_bearer::{
    BearerAuthLayer, Lifetime, TokenCache,
    grant::{AuthorizationServer, ClientCredentials, HttpClient, Secret, SigningKey},
    testing::{ClientAuthentication, Issuer},
};

const HELP: &str = "\
Gets a token with a private key (SMART Backend Services), and sends two requests to a FHIR server. Without options it runs
offline, against a scripted issuer.

Options:
  --fhir URL          the base URL of the FHIR server, whose metadata names the token endpoint
  --client-id ID      the id that the server gave to this client
  --key PEM           the file of the private key: RSA or P-384
  --key-id KID        the name of the key in the client's key set
  --scope SCOPE       default: system/Patient.rs
  --path PATH         what is requested, below the base URL. Default: /Patient
  --help              print this text";

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

    /// Reads the command line. Returns `None` for `--help`.
    fn with_arguments(mut self) -> Result<Option<Self>, lexopt::Error> {
        use lexopt::prelude::{Long, Short, ValueExt};
        let mut arguments = lexopt::Parser::from_env();
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("fhir") => self.fhir = arguments.value()?.string()?,
                Long("client-id") => self.client_id = arguments.value()?.string()?,
                Long("key") => self.key = Secret::file(arguments.value()?),
                Long("key-id") => self.key_id = arguments.value()?.string()?,
                Long("scope") => self.scope = arguments.value()?.string()?,
                Long("path") => self.path = arguments.value()?.string()?,
                Long("help") | Short('h') => return Ok(None),
                other => return Err(other.unexpected()),
            }
        }
        Ok(Some(self))
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
    let Some(settings) = Settings::offline(issuer.url("/fhir")).with_arguments()? else {
        println!("{HELP}");
        return Ok(());
    };

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
        "one token for both requests: number {}, scope {}, lifetime {}",
        token.generation(),
        token.scope().unwrap_or("unknown"),
        match token.lifetime() {
            Lifetime::For(lifetime) => format!("{lifetime:?}"),
            Lifetime::AlreadyExpired => "already over".into(),
            _ => "unknown".into(),
        }
    );

    match cache.revoke().await {
        Ok(()) => println!("the token is revoked"),
        Err(error) => println!("the token is not revoked: {error}"),
    }
    Ok(())
}
