//! Discovery of an authorization server by its metadata (RFC 8414).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use serde_json::{Value, json};
use tower::{BoxError, ServiceExt, service_fn};
#[cfg(feature = "client")]
use tower_bearer::TokenCache;
#[cfg(feature = "jwt")]
use tower_bearer::grant::SigningKey;
use tower_bearer::{
    Reason, TokenSource,
    grant::{AuthorizationServer, ClientAuth, ClientCredentials, HttpService, Metadata},
    testing::{ClientAuthentication, Failure, Issuer},
};

use crate::support::obtain;

const ISSUER: &str = "https://issuer.test";

type Asked = Arc<Mutex<Vec<String>>>;

/// A host that serves these documents, each at its URL. Also returns the URLs that were requested.
fn host(documents: &[(&str, Value)]) -> (impl HttpService, Asked) {
    let asked = Asked::default();
    let log = Arc::clone(&asked);
    let documents: HashMap<_, _> = documents.iter().map(|(url, json)| ((*url).to_owned(), json.to_string())).collect();
    let service = service_fn(move |request: Request<Full<Bytes>>| {
        assert_eq!(request.method(), "GET");
        let url = request.uri().to_string();
        let found = documents.get(&url).cloned();
        log.lock().unwrap().push(url);
        async move {
            let answer = Response::builder().header("content-type", "application/json");
            let answer = answer.status(if found.is_some() { 200 } else { 404 });
            Ok::<_, BoxError>(answer.body(Full::<Bytes>::from(found.unwrap_or_default()))?)
        }
    });
    (service, asked)
}

fn document(issuer: &str) -> Value {
    json!({ "issuer": issuer, "token_endpoint": "https://issuer.test/token", "jwks_uri": "https://issuer.test/jwks" })
}

/// RFC 8414 §3.1, then OpenID Connect Discovery 1.0 §4.1.
#[tokio::test]
async fn the_document_is_looked_for_where_the_standards_put_it() {
    for (issuer, first, second) in [
        (
            "https://a.test",
            "https://a.test/.well-known/oauth-authorization-server",
            "https://a.test/.well-known/openid-configuration",
        ),
        (
            "https://a.test/t/1",
            "https://a.test/.well-known/oauth-authorization-server/t/1",
            "https://a.test/t/1/.well-known/openid-configuration",
        ),
        (
            "https://a.test/t/",
            "https://a.test/.well-known/oauth-authorization-server/t",
            "https://a.test/t/.well-known/openid-configuration",
        ),
    ] {
        let (http, asked) = host(&[(first, document(issuer))]);
        Metadata::discover_with(http, issuer).await.unwrap();
        assert_eq!(*asked.lock().unwrap(), [first]);
        let (http, asked) = host(&[(second, document(issuer))]);
        Metadata::discover_with(http, issuer).await.unwrap();
        assert_eq!(*asked.lock().unwrap(), [first, second]);
    }
}

/// SMART App Launch 2.2: the document is below the FHIR server's base URL, and its `issuer` is another server.
#[tokio::test]
async fn a_fhir_server_names_its_authorization_server() {
    for base in ["https://fhir.test/r4", "https://fhir.test/r4/"] {
        let mut smart = document("https://somebody.test");
        smart.as_object_mut().unwrap().remove("issuer");
        for smart in [smart, document("https://somebody.test")] {
            let (http, _) = host(&[("https://fhir.test/r4/.well-known/smart-configuration", smart)]);
            let server = Metadata::discover_smart_with(http, base).await.unwrap();
            assert_eq!(server.token_endpoint(), "https://issuer.test/token");
            assert_eq!(server.client_auth_methods().count(), 0, "it has no default");
        }
    }
}

/// RFC 8414 §2.
#[tokio::test]
async fn metadata_members_can_be_read() {
    let server = Metadata::discover_with(Issuer::new().service(), ISSUER).await.unwrap();
    assert_eq!(server.issuer(), Some(ISSUER));
    assert_eq!(server.token_endpoint(), "https://issuer.test/token");
    assert_eq!(server.revocation_endpoint(), Some("https://issuer.test/revoke"));
    assert_eq!(server.jwks_uri(), Some("https://issuer.test/jwks"));
    assert_eq!(server.client_auth_methods().collect::<Vec<_>>(), ["client_secret_basic"]);
    assert!(server.grant_types().iter().any(|grant| grant == "client_credentials"));
    assert_eq!(server.scopes(), ["user/Patient.rs", "user/Observation.rs"]);
}

/// The issuer must be exactly the same text (RFC 8414 §3.3).
#[tokio::test]
async fn the_metadata_of_another_issuer_is_not_used() {
    let url = "https://issuer.test/.well-known/oauth-authorization-server";
    for other in ["https://issuer.test/", "https://ISSUER.test", "https://evil.test", "http://issuer.test", ""] {
        let (http, asked) =
            host(&[(url, document(other)), ("https://issuer.test/.well-known/openid-configuration", document(ISSUER))]);
        let error = Metadata::discover_with(http, ISSUER).await.unwrap_err();
        assert!(error.to_string().contains("§3.3"), "{error}");
        assert_eq!(asked.lock().unwrap().len(), 1, "no other URL is tried");
    }
    let (http, _) = host(&[(url, json!({ "token_endpoint": "https://issuer.test/token" }))]);
    assert!(Metadata::discover_with(http, ISSUER).await.is_err());
}

#[tokio::test]
async fn an_unusable_metadata_document_is_an_error() {
    let url = "https://issuer.test/.well-known/oauth-authorization-server";
    for (name, wrong) in [
        ("token_endpoint", Value::Null),
        ("token_endpoint", json!(1)),
        ("token_endpoint", json!("/token")),
        ("token_endpoint", json!("http://issuer.test/token")),
        ("token_endpoint", json!("https://user:hidden@issuer.test/token")),
        ("token_endpoint", json!("http://127.0.0.1:2375/hidden")),
        ("token_endpoint", json!("https://issuer.test/token#hidden")),
        ("token_endpoint", json!("file:///etc/passwd")),
        ("x", serde_json::from_str(&format!("{}1{}", "[".repeat(100), "]".repeat(100))).unwrap()),
    ] {
        let mut document = document(ISSUER);
        document[name] = wrong;
        let (http, _) = host(&[(url, document)]);
        let error = Metadata::discover_with(http, ISSUER).await.unwrap_err();
        assert!(error.is_transient() || error.status().is_some(), "{name}: {error:?}");
        assert!(error.to_string().contains("metadata") && !error.to_string().contains("hidden"), "{error}");
    }
    let (http, _) = host(&[]);
    assert_eq!(Metadata::discover_with(http, ISSUER).await.unwrap_err().status().unwrap(), 404);
    for wrong in ["issuer.test", "http://issuer.test", "https://issuer.test?x=1", "https://issuer.test/#x"] {
        let (http, asked) = host(&[]);
        assert!(Metadata::discover_with(http, wrong).await.unwrap_err().is_config(), "{wrong}");
        assert!(asked.lock().unwrap().is_empty());
    }
}

/// Each member by itself: it is an error of what needs it.
#[tokio::test]
async fn an_odd_optional_member_is_an_error_only_of_what_needs_it() {
    let (place, token) = ("https://issuer.test/.well-known/oauth-authorization-server", "https://issuer.test/token");
    for (name, odd) in [
        ("revocation_endpoint", json!("http://issuer.test/hidden")),
        ("revocation_endpoint", json!("http://127.0.0.1:2375/hidden")),
        ("revocation_endpoint", json!(["hidden"])),
        ("jwks_uri", json!("http://issuer.test/hidden")),
        ("jwks_uri", json!({ "hidden": 1 })),
        ("token_endpoint_auth_methods_supported", json!("client_secret_basic")),
        ("token_endpoint_auth_methods_supported", json!([1, "hidden"])),
        ("grant_types_supported", json!("client_credentials")),
        ("scopes_supported", json!({ "openid": true })),
        ("scopes_supported", json!(null)),
    ] {
        let mut document = document(ISSUER);
        document[name] = odd;
        let (http, _) = host(&[(place, document.clone())]);
        let server = Metadata::discover_with(http, ISSUER).await.unwrap();
        assert_eq!((server.issuer(), server.token_endpoint()), (Some(ISSUER), token), "{name}");
        assert_eq!(server.revocation_endpoint(), None);
        assert_eq!(server.jwks_uri().is_none(), name == "jwks_uri");
        assert!(server.scopes().is_empty() && server.grant_types().is_empty());

        let issuer = Issuer::new();
        let grant = |auth| ClientCredentials::builder(&server).client_auth(auth);
        let basic = grant(ClientAuth::basic("client1", "client-secret")).build_with(issuer.service()).unwrap();
        let token = obtain(&basic).await.unwrap();
        let choosing = grant(ClientAuth::secret("client1", "client-secret")).build_with(issuer.service()).unwrap();
        let errors = [obtain(&choosing).await.err(), basic.revoke(&token).await.err().filter(|it| !it.is_config())];
        for (error, needed) in errors.iter().zip(["token_endpoint_auth_methods_supported", "revocation_endpoint"]) {
            assert_eq!(error.is_some(), name == needed, "{name}: {error:?}");
            let text = error.as_ref().map(ToString::to_string).unwrap_or_default();
            assert!(error.is_none() || (text.contains("metadata") && text.contains(needed)), "{text}");
            assert!(!text.contains("hidden"), "{text}");
        }
        let own = grant(ClientAuth::basic("client1", "client-secret")).revocation_url("https://issuer.test/revoke");
        own.build_with(issuer.service()).unwrap().revoke(&token).await.unwrap();
    }
}

/// Some servers answer every URL with some JSON, or with an error of their own.
#[tokio::test]
async fn a_first_place_that_answers_something_else_leads_to_the_second() {
    let first = "https://issuer.test/.well-known/oauth-authorization-server";
    let second = "https://issuer.test/.well-known/openid-configuration";
    for other in [
        json!({}),
        json!([]),
        json!({ "status": "ok" }),
        json!({ "issuer": ISSUER }),
        json!({ "issuer": 7, "token_endpoint": "https://issuer.test/other" }),
        json!({ "token_endpoint": "https://issuer.test/other" }),
    ] {
        let (http, asked) = host(&[(first, other.clone()), (second, document(ISSUER))]);
        let server = Metadata::discover_with(http, ISSUER).await.unwrap();
        assert_eq!(server.token_endpoint(), "https://issuer.test/token", "{other}");
        assert_eq!(*asked.lock().unwrap(), [first, second]);
        let (http, _) = host(&[(first, other)]);
        Metadata::discover_with(http, ISSUER).await.unwrap_err();
    }
    for (status, leads) in [(403, true), (500, true), (501, true), (502, false), (503, false), (429, false)] {
        let http = service_fn(move |request: Request<Full<Bytes>>| {
            let is_first = request.uri().path().ends_with("server");
            let answer = Response::builder().status(if is_first { status } else { 200 });
            let body = Full::<Bytes>::from(document(ISSUER).to_string());
            async move { Ok::<_, BoxError>(answer.body(body)?) }
        });
        assert_eq!(Metadata::discover_with(http, ISSUER).await.is_ok(), leads, "{status}");
    }
}

#[tokio::test]
async fn an_issuer_with_or_without_its_last_slash_is_shown_as_it_is() {
    for (asked, named) in [
        ("https://issuer.test", "https://issuer.test/"),
        ("https://issuer.test/", "https://issuer.test"),
        ("https://issuer.test/t", "https://issuer.test/t/"),
        ("https://issuer.test/t/", "https://issuer.test/t"),
    ] {
        let path = asked.trim_start_matches("https://issuer.test").trim_end_matches('/');
        let place = format!("https://issuer.test/.well-known/oauth-authorization-server{path}");
        let (http, _) = host(&[(&place, document(named))]);
        let error = Metadata::discover_with(http, asked).await.unwrap_err().to_string();
        let says = format!(
            "it is the metadata of {named}, and the issuer that was asked for is {asked} (RFC 8414 §3.3); they differ in the \
             slash at the end, so give the issuer as {named}"
        );
        assert!(error.contains(&says), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_is_away_is_not_asked_at_the_other_place() {
    let count = Arc::new(Mutex::new(0));
    let asked = Arc::clone(&count);
    let http = service_fn(move |_: Request<Full<Bytes>>| {
        *asked.lock().unwrap() += 1;
        async {
            Response::builder()
                .status(503)
                .header("retry-after", "9")
                .body(Full::<Bytes>::default())
                .map_err(BoxError::from)
        }
    });
    let error = Metadata::discover_with(http, ISSUER).await.unwrap_err();
    assert_eq!((*count.lock().unwrap(), error.retry_in().map(|wait| wait.as_secs())), (1, Some(9)));
}

#[tokio::test]
async fn a_grant_looks_its_server_up_once_and_not_before_it_needs_it() {
    let issuer = Issuer::new();
    let known = Metadata::discover_with(issuer.service(), ISSUER).await.unwrap();
    for (server, lookups) in [
        (AuthorizationServer::issuer(ISSUER), 1),
        (AuthorizationServer::smart("https://issuer.test/fhir"), 1),
        (AuthorizationServer::from(known), 0),
    ] {
        let before = issuer.counts().metadata;
        let make = || {
            let auth = ClientAuth::secret("client1", "client-secret");
            ClientCredentials::builder(server.clone()).client_auth(auth).build_with(issuer.service()).unwrap()
        };
        let (one, other) = (make(), make());
        assert_eq!(issuer.counts().metadata, before);
        for source in [&one, &one, &other] {
            obtain(source).await.unwrap();
        }
        assert_eq!(issuer.counts().metadata - before, lookups, "clones share the metadata");
    }
}

#[tokio::test]
async fn what_one_grant_allows_of_a_shared_server_another_need_not() {
    let mut document = document(ISSUER);
    document["token_endpoint"] = json!("http://issuer.test/token");
    let http = service_fn(move |request: Request<Full<Bytes>>| {
        let body = if request.method() == "GET" { document.to_string() } else { "{}".to_owned() };
        let answer = Response::builder().header("content-type", "application/json");
        async move { Ok::<_, BoxError>(answer.body(Full::<Bytes>::from(body))?) }
    });
    let server = AuthorizationServer::issuer(ISSUER);
    let grant = |plain_http| {
        let builder = ClientCredentials::builder(server.clone()).client_auth(ClientAuth::basic("c", "s"));
        builder.allow_plain_http(plain_http).build_with(http.clone()).unwrap()
    };
    assert!(obtain(&grant(true)).await.unwrap_err().to_string().contains("access_token"), "it was asked");
    let error = obtain(&grant(false)).await.unwrap_err();
    assert!(error.is_config() && error.to_string().contains("`allow_plain_http`"), "{error}");
}

/// A remote server could send the secrets to a service of this machine.
#[tokio::test]
async fn an_endpoint_on_loopback_that_a_remote_server_names_is_allowed_only_with_plain_http() {
    let document = json!({ "issuer": ISSUER, "token_endpoint": "http://127.0.0.1:1/token",
        "revocation_endpoint": "http://127.0.0.1:1/revoke" });
    let asked = Arc::new(Mutex::new(0));
    let count = Arc::clone(&asked);
    let http = service_fn(move |request: Request<Full<Bytes>>| {
        let token = r#"{"access_token":"t","token_type":"Bearer"}"#;
        let body = if request.method() == "GET" { document.to_string() } else { token.to_owned() };
        *count.lock().unwrap() += i32::from(request.method() == "POST");
        let answer = Response::builder().header("content-type", "application/json");
        async move { Ok::<_, BoxError>(answer.body(Full::<Bytes>::from(body))?) }
    });
    let server = AuthorizationServer::issuer(ISSUER);
    let grant = |plain_http| {
        let builder = ClientCredentials::builder(server.clone()).client_auth(ClientAuth::basic("client1", "s"));
        builder.allow_plain_http(plain_http).build_with(http.clone()).unwrap()
    };
    let token = obtain(&grant(true)).await.unwrap();
    let (strict, before) = (grant(false), *asked.lock().unwrap());
    for error in [obtain(&strict).await.unwrap_err(), strict.revoke(&token).await.unwrap_err()] {
        assert!(error.is_config() && error.to_string().contains("`allow_plain_http`"), "{error}");
    }
    assert_eq!(*asked.lock().unwrap(), before, "nothing was sent");
}

#[test]
fn a_token_url_with_a_port_that_is_not_a_port_is_refused_before_anything_is_sent() {
    for port in ["0", "65536", "99999", ""] {
        let builder = ClientCredentials::builder(format!("https://issuer.test:{port}/token"));
        let error = builder.client_auth(ClientAuth::none("c")).build_with(Issuer::new().service()).unwrap_err();
        assert!(error.is_config() && error.to_string().contains("port"), "{error}");
    }
}

#[tokio::test]
async fn a_token_endpoint_that_is_gone_is_looked_up_again() {
    let issuer = Issuer::new();
    let source = ClientCredentials::builder(AuthorizationServer::issuer(ISSUER));
    let source =
        source.client_auth(ClientAuth::basic("client1", "client-secret")).build_with(issuer.service()).unwrap();
    for (failure, again) in [
        (Failure::Status(404), 1),
        (Failure::Outage, 1),
        (Failure::Redirect("https://b.test/token".into()), 1),
        (Failure::Status(503), 0),
        (Failure::OAuth(400, "invalid_scope"), 0),
    ] {
        obtain(&source).await.unwrap();
        let before = issuer.counts().metadata;
        issuer.fail_next(1, failure);
        obtain(&source).await.unwrap_err();
        obtain(&source).await.unwrap();
        assert_eq!(issuer.counts().metadata - before, again);
    }
}

/// A missing list means `client_secret_basic` (RFC 8414 §2).
#[tokio::test]
async fn an_unsupported_client_authentication_is_an_error_before_it_is_sent() {
    #[cfg(feature = "jwt")]
    let key = || SigningKey::pem(include_str!("../../examples/data/client-key.pem"));
    let auths = || {
        [
            ("client_secret_basic", ClientAuth::basic("client1", "client-secret")),
            ("client_secret_basic", ClientAuth::basic_raw("client1", "client-secret")),
            ("client_secret_post", ClientAuth::post("client1", "client-secret")),
            #[cfg(feature = "jwt")]
            ("private_key_jwt", ClientAuth::private_key_jwt("client1", key())),
            #[cfg(feature = "jwt")]
            ("client_secret_jwt", ClientAuth::client_secret_jwt("client1", "a client secret of 32 bytes or so")),
        ]
    };
    for offered in ["client_secret_basic", "client_secret_post", "private_key_jwt", "client_secret_jwt", "absent"] {
        let mut document = document(ISSUER);
        if offered != "absent" {
            document["token_endpoint_auth_methods_supported"] = json!([offered, "hidden"]);
        }
        for (method, auth) in auths() {
            let (http, asked) =
                host(&[("https://issuer.test/.well-known/oauth-authorization-server", document.clone())]);
            let source = ClientCredentials::builder(Metadata::discover_with(http.clone(), ISSUER).await.unwrap());
            // A request that is not refused is sent to a host that does not accept POST.
            let source = source.client_auth(auth).build_with(service_fn(|_: Request<Full<Bytes>>| async {
                Ok::<_, BoxError>(Response::builder().status(500).body(Full::<Bytes>::default())?)
            }));
            let error = obtain(&source.unwrap()).await.unwrap_err();
            let is_taken = method == offered || (offered == "absent" && method == "client_secret_basic");
            assert_eq!(error.is_config(), !is_taken, "{method} where {offered}: {error}");
            if !is_taken {
                assert!(error.to_string().contains(method) && !error.to_string().contains("hidden"), "{error}");
            }
            assert_eq!(asked.lock().unwrap().len(), 1);
        }
    }
}

/// RFC 8705 §5.
#[tokio::test]
async fn a_client_that_authenticates_by_its_certificate_uses_the_endpoints_for_it() {
    let aliases = json!({
        "token_endpoint": "https://mtls.issuer.test/token",
        "revocation_endpoint": "https://mtls.issuer.test/revoke",
    });
    let tls = || ClientAuth::tls_client_auth("client1");
    for (aliases, auth, asked) in [
        (aliases.clone(), tls(), &["https://mtls.issuer.test/token", "https://mtls.issuer.test/revoke"][..]),
        (json!({}), tls(), &["https://issuer.test/token", "https://issuer.test/revoke"]),
        (aliases, ClientAuth::none("client1"), &["https://issuer.test/token", "https://issuer.test/revoke"]),
        (json!({ "token_endpoint": "http://127.0.0.1/" }), tls(), &[]),
        (json!("none"), ClientAuth::none("client1"), &["https://issuer.test/token", "https://issuer.test/revoke"]),
        (json!("none"), tls(), &[]),
    ] {
        let mut document = document(ISSUER);
        document["revocation_endpoint"] = json!("https://issuer.test/revoke");
        document["token_endpoint_auth_methods_supported"] = json!(["tls_client_auth"]);
        document["mtls_endpoint_aliases"] = aliases;
        let posted = Asked::default();
        let log = Arc::clone(&posted);
        let server = service_fn(move |request: Request<Full<Bytes>>| {
            let is_lookup = request.method() == "GET";
            if !is_lookup {
                log.lock().unwrap().push(request.uri().to_string());
            }
            let token = json!({ "access_token": "t1", "token_type": "Bearer" });
            let body = Full::<Bytes>::from(if is_lookup { &document } else { &token }.to_string());
            async move { Ok::<_, BoxError>(Response::builder().header("content-type", "application/json").body(body)?) }
        });
        let source = ClientCredentials::builder(AuthorizationServer::issuer(ISSUER)).client_auth(auth);
        let source = source.build_with(server).unwrap();
        match source.obtain(Reason::First).await {
            Ok(token) => source.revoke(&token).await.unwrap(),
            Err(error) => assert!(error.to_string().contains("mtls_endpoint_aliases"), "{error}"),
        }
        assert_eq!(*posted.lock().unwrap(), asked);
    }
}

#[tokio::test]
async fn an_unsupported_client_authentication_causes_another_lookup() {
    let (basic, post) = (Issuer::new(), Issuer::builder().client_authentication(ClientAuthentication::Post).build());
    let source = ClientCredentials::builder(AuthorizationServer::issuer(ISSUER));
    let source = source.client_auth(ClientAuth::basic("client1", "client-secret"));
    let lookups = post.clone();
    let changing = service_fn(move |request: Request<Full<Bytes>>| {
        // The server supports one authentication method at first, and the other one after that.
        let issuer = if lookups.counts().metadata == 0 { &lookups } else { &basic };
        issuer.service().oneshot(request)
    });
    let source = source.build_with(changing).unwrap();
    assert!(obtain(&source).await.unwrap_err().is_config());
    obtain(&source).await.unwrap();
    assert_eq!(post.counts().metadata, 1);
}

#[tokio::test]
async fn a_secret_goes_the_way_that_the_server_offers() {
    for (accepts, in_body) in [
        (ClientAuthentication::Basic, false),
        (ClientAuthentication::Either, false),
        (ClientAuthentication::Post, true),
    ] {
        let issuer = Issuer::builder().client_authentication(accepts).build();
        let source = ClientCredentials::builder(AuthorizationServer::issuer(ISSUER));
        let source = source.client_auth(ClientAuth::secret("client1", "client-secret"));
        obtain(&source.build_with(issuer.service()).unwrap()).await.unwrap();
        assert_eq!(issuer.last_request().unwrap().param("client_secret").is_some(), in_body);
    }
}

/// With the real client, over HTTP.
#[cfg(feature = "client")]
#[tokio::test]
async fn a_server_on_loopback_is_found_by_the_ready_made_client() {
    let issuer = Issuer::new();
    let server = issuer.listen().await.unwrap();
    let base = server.url("");
    let base = base.trim_end_matches('/');
    assert_eq!(Metadata::discover(base).await.unwrap().token_endpoint(), server.token_url());
    for found in [AuthorizationServer::issuer(base), AuthorizationServer::smart(server.url("/fhir"))] {
        let source = ClientCredentials::builder(found).client_auth(ClientAuth::basic("client1", "client-secret"));
        TokenCache::new(source.build().unwrap()).token().await.unwrap();
    }
}

/// The ready-made client does not know which part of the server it asks.
#[cfg(feature = "client")]
#[tokio::test]
async fn a_deadline_of_the_ready_made_client_names_the_part_that_did_not_answer() {
    use std::time::Duration;

    use tower_bearer::grant::HttpClient;

    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let client = HttpClient::builder().deadline(Duration::from_millis(100)).build().unwrap();
    let error = Metadata::discover_with(client, url).await.unwrap_err();
    assert!(error.is_timeout(), "{error}");
    assert!(error.to_string().starts_with("no answer from the metadata endpoint"), "{error}");
}
