//! The authorization server of an API, found by what the API says (RFC 9728).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{Request, Response, header::WWW_AUTHENTICATE};
use http_body_util::Full;
use serde_json::{Value, json};
use tower::{BoxError, service_fn};
use tower_bearer::{
    Error, ResourceMetadata,
    grant::{AuthorizationServer, ClientAuth, ClientCredentials, HttpService, Metadata},
    testing::{ClientAuthentication, Issuer},
};

use crate::{
    scripted::{challenge, outcome, status, world},
    support::obtain,
};

const API: &str = "https://api.example.org/v1";
const WELL_KNOWN: &str = "https://api.example.org/.well-known/oauth-protected-resource/v1";
const ISSUER: &str = "https://auth.example.com";
const ISSUER_WELL_KNOWN: &str = "https://auth.example.com/.well-known/oauth-authorization-server";

type Asked = Arc<Mutex<Vec<String>>>;

/// Hosts that serve these documents, and answer 401 with this challenge everywhere else. Also returns the requested URLs.
fn hosts(documents: &[(&str, Value)], challenge: &'static str) -> (impl HttpService, Asked) {
    let asked = Asked::default();
    let log = Arc::clone(&asked);
    let documents: HashMap<_, _> = documents.iter().map(|(url, json)| ((*url).to_owned(), json.to_string())).collect();
    let service = service_fn(move |request: Request<Full<Bytes>>| {
        assert!(request.method() == "GET" && !request.headers().contains_key("authorization"));
        let url = request.uri().to_string();
        let found = documents.get(&url).cloned();
        log.lock().unwrap().push(url);
        async move {
            let answer = match found {
                Some(_) => Response::builder().header("content-type", "application/json"),
                None => Response::builder().status(401).header(WWW_AUTHENTICATE, challenge),
            };
            Ok::<_, BoxError>(answer.body(Full::<Bytes>::from(found.unwrap_or_default()))?)
        }
    });
    (service, asked)
}

fn resource(api: &str, issuer: &str) -> Value {
    json!({ "resource": api, "authorization_servers": [issuer, "https://second.example.com"] })
}

fn server(issuer: &str) -> Value {
    json!({ "issuer": issuer, "token_endpoint": "https://auth.example.com/token" })
}

async fn discovered(documents: &[(&str, Value)], challenge: &'static str) -> (Result<Metadata, Error>, Vec<String>) {
    let (http, asked) = hosts(documents, challenge);
    let found = Metadata::discover_protected_resource_with(http, API).await;
    let asked = asked.lock().unwrap().clone();
    (found, asked)
}

/// RFC 9728 §3.1.
#[tokio::test]
async fn an_api_names_its_authorization_server_at_its_well_known_place() {
    let documents = [(WELL_KNOWN, resource(API, ISSUER)), (ISSUER_WELL_KNOWN, server(ISSUER))];
    let (found, asked) = discovered(&documents, "Bearer").await;
    assert_eq!(found.unwrap().issuer(), Some(ISSUER));
    assert_eq!(asked, [WELL_KNOWN, ISSUER_WELL_KNOWN]);
}

/// RFC 9728 §5.1.
#[tokio::test]
async fn where_there_is_none_the_api_is_asked_without_a_token_and_its_challenge_says_where_it_is() {
    const ELSEWHERE: &str = "https://api.example.org/metadata";
    let documents = [(ELSEWHERE, resource(API, ISSUER)), (ISSUER_WELL_KNOWN, server(ISSUER))];
    let (found, asked) =
        discovered(&documents, "Basic, Bearer resource_metadata=\"https://api.example.org/metadata\"").await;
    assert_eq!(found.unwrap().issuer(), Some(ISSUER));
    assert_eq!(asked, [WELL_KNOWN, API, ELSEWHERE, ISSUER_WELL_KNOWN]);
}

#[tokio::test]
async fn metadata_at_another_origin_is_not_fetched() {
    for challenge in [
        "Bearer resource_metadata=\"https://evil.example/metadata\"",
        "Bearer resource_metadata=\"http://api.example.org/metadata\"",
        "Bearer resource_metadata=\"https://api.example.org:8443/metadata\"",
        "Bearer resource_metadata=\"https://api.example.org@evil.example/metadata\"",
        "Bearer resource_metadata=\"https://169.254.169.254/metadata\"",
        "Bearer resource_metadata=\"/metadata\"",
        "Bearer",
    ] {
        let (found, asked) = discovered(&[], challenge).await;
        let error = found.unwrap_err();
        assert!(error.status().is_some_and(|status| status == 401) && error.to_string().contains("the URL of the API"));
        assert_eq!(asked, [WELL_KNOWN, API], "{challenge}");
    }
}

/// RFC 9728 §3.3.
#[tokio::test]
async fn the_metadata_of_another_api_is_not_used() {
    for other in ["https://api.example.org/v2", "https://api.example.org/v1/", "https://API.example.org/v1", "v1", ""] {
        let documents = [(WELL_KNOWN, resource(other, ISSUER)), (ISSUER_WELL_KNOWN, server(ISSUER))];
        let (found, asked) = discovered(&documents, "Bearer").await;
        let error = found.unwrap_err().to_string();
        assert!(error.contains("the API's metadata") && error.contains("§3.3"), "{error}");
        assert_eq!(asked, [WELL_KNOWN]);
    }
}

/// RFC 9728 §7.7.
#[tokio::test]
async fn an_api_cannot_lead_the_client_into_a_private_network() {
    for issuer in [
        "http://auth.example.com",
        "http://127.0.0.1:2375",
        "https://127.0.0.1",
        "https://10.0.0.1:8443/tenant",
        "https://169.254.169.254/latest",
        "https://2130706433",
        "https://[::1]",
        "https://localhost",
        "https://vault",
        "https://metadata.google.internal",
        "https://user:hidden@auth.example.com",
        "file:///etc/passwd",
        "auth.example.com",
    ] {
        let (found, asked) = discovered(&[(WELL_KNOWN, resource(API, issuer))], "Bearer").await;
        let error = found.unwrap_err().to_string();
        assert!(error.contains("the API's metadata") && !error.contains("hidden"), "{error}");
        assert_eq!(asked, [WELL_KNOWN], "{issuer}");
    }
    for (name, endpoint) in [
        ("token_endpoint", "https://10.0.0.1/token"),
        ("revocation_endpoint", "https://localhost/revoke"),
        ("jwks_uri", "https://metadata.google.internal/jwks"),
        ("mtls_endpoint_aliases", "https://192.168.0.1/token"),
    ] {
        let mut server = server(ISSUER);
        server[name] = match name {
            "mtls_endpoint_aliases" => json!({ "token_endpoint": endpoint }),
            _ => endpoint.into(),
        };
        let documents = [(WELL_KNOWN, resource(API, ISSUER)), (ISSUER_WELL_KNOWN, server)];
        let error = discovered(&documents, "Bearer").await.0.unwrap_err().to_string();
        assert!(error.contains("the authorization server's metadata") && error.contains("private network"), "{error}");
    }
}

#[tokio::test]
async fn an_api_in_a_private_network_may_name_a_server_there() {
    let api = "https://10.0.0.7/v1";
    let issuer = "https://auth.internal";
    let (http, _) = hosts(
        &[
            ("https://10.0.0.7/.well-known/oauth-protected-resource/v1", resource(api, issuer)),
            ("https://auth.internal/.well-known/oauth-authorization-server", server(issuer)),
        ],
        "Bearer",
    );
    assert_eq!(Metadata::discover_protected_resource_with(http, api).await.unwrap().issuer(), Some(issuer));
}

#[tokio::test]
async fn an_api_that_names_no_server_or_something_else_is_an_error() {
    for document in [
        json!({ "resource": API }),
        json!({ "resource": API, "authorization_servers": [] }),
        json!({ "authorization_servers": [ISSUER] }),
        json!([]),
    ] {
        let (found, _) = discovered(&[(WELL_KNOWN, document.clone())], "Bearer").await;
        assert!(found.unwrap_err().to_string().contains("the API's metadata"), "{document}");
    }
    // The issuer has to confirm its name (RFC 8414 §3.3).
    let documents = [(WELL_KNOWN, resource(API, ISSUER)), (ISSUER_WELL_KNOWN, server("https://other.example.com"))];
    assert!(discovered(&documents, "Bearer").await.0.unwrap_err().to_string().contains("§3.3"));
    for wrong in ["api.example.org", "http://api.example.org", "https://api.example.org/#x"] {
        let (http, asked) = hosts(&[], "Bearer");
        assert!(Metadata::discover_protected_resource_with(http, wrong).await.unwrap_err().is_config(), "{wrong}");
        assert!(asked.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_grant_gets_its_token_from_the_server_that_the_api_names() {
    let issuer = Issuer::builder().client_authentication(ClientAuthentication::Basic).build();
    let service = issuer.service();
    let http = service_fn(move |request: Request<Full<Bytes>>| {
        let service = service.clone();
        async move {
            if request.uri() == WELL_KNOWN {
                let document = resource(API, "https://issuer.test").to_string();
                let answer = Response::builder().header("content-type", "application/json");
                return Ok::<_, BoxError>(answer.body(Full::<Bytes>::from(document))?);
            }
            Ok(tower::ServiceExt::oneshot(service, request).await?)
        }
    });
    let source = ClientCredentials::builder(AuthorizationServer::protected_resource(API))
        .client_auth(ClientAuth::secret("client1", "client-secret"))
        .build_with(http)
        .unwrap();
    obtain(&source).await.unwrap();
    assert_eq!(issuer.counts().issued, 1);
    assert!(
        ClientCredentials::builder(AuthorizationServer::protected_resource("http://api.example.org"))
            .client_auth(ClientAuth::secret("client1", "client-secret"))
            .build_with(Issuer::new().service())
            .is_err()
    );
}

/// RFC 9728 §5.1.
#[tokio::test]
async fn the_url_of_the_apis_metadata_is_in_the_extensions_of_a_401_or_403() {
    const URL: &str = "https://api.example.org/.well-known/oauth-protected-resource";
    const SAYS: &str = "DPoP algs=ES256, Bearer error=\"insufficient_scope\", \
                        resource_metadata=\"https://api.example.org/.well-known/oauth-protected-resource\"";
    for code in [401, 403] {
        let world = world([challenge(code, SAYS), status(401), challenge(code, SAYS)]);
        let first = world.get().await;
        assert_eq!(first.extensions().get().map(ResourceMetadata::url), Some(URL));
        let second = world.get().await;
        assert!(outcome(&second).retried());
        assert_eq!(second.extensions().get().map(ResourceMetadata::url), Some(URL));
    }
    for (code, says) in [(403, "Bearer resource_metadata=\"\""), (403, "Bearer"), (400, SAYS)] {
        let world = world([challenge(code, says)]);
        assert_eq!(world.get().await.extensions().get::<ResourceMetadata>(), None, "{says}");
    }
}
