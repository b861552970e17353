//! Settings from TOML, JSON and environment variables.

use std::{fs, time::Duration};

use http::Request;
use http_body_util::Full;
use serde::{Deserialize, de::DeserializeOwned};
use tower::{Layer, ServiceExt};
use tower_bearer::{
    BearerAuthLayer, Error, TokenCache, TokenPool,
    cache::Age,
    config::{self, CacheConfig, LayerConfig, PoolConfig, TokenConfig},
    replay::CloneBody,
    source::from_fn,
    testing::{Failure, Issuer, TokenRequest},
};

use crate::{
    pool::logged,
    scripted::{Answer, Api, Numbered, URI, challenge, get, status},
    support::{SECOND, obtain, scratch},
};

/// What a program may have.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) token: Option<TokenConfig>,
    #[serde(default)]
    pub(crate) cache: CacheConfig,
    #[serde(default)]
    pub(crate) layer: LayerConfig,
    pub(crate) pool: Option<PoolConfig>,
    pub(crate) size: Option<u16>,
}

pub(crate) fn toml<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    config::read(toml::Deserializer::parse(text).unwrap())
}

/// Returns the settings of a grant at the issuer that [`ask`] asks, with the client's secret in a file.
pub(crate) fn token(keys: &str) -> TokenConfig {
    let folder = scratch("client").parent().unwrap().to_owned();
    for (name, secret) in [("client", "client-secret"), ("user", "user-password")] {
        fs::write(folder.join(name), secret).unwrap();
    }
    let all = format!("url = \"https://issuer.test/token\"\nclient_id = \"client1\"\n{keys}");
    toml::<TokenConfig>(&all).unwrap().with_files_in(folder)
}

/// Gets a token from an issuer with default settings. Returns what the issuer was asked.
pub(crate) async fn ask(issuer: &Issuer, config: &TokenConfig) -> TokenRequest {
    let source = config.source_with(issuer.service()).unwrap();
    obtain(&source).await.unwrap_or_else(|error| panic!("{config:?}: {error}"));
    issuer.last_request().unwrap()
}

pub(crate) const BASIC: &str = "client_secret = { file = \"client\" }";

#[tokio::test]
async fn each_grant_is_one_that_the_issuer_knows() {
    let issuer = Issuer::builder()
        .client("client1", "client-secret")
        .user("user1", "user-password")
        .scope("patient/*.rs")
        .build();
    let request = ask(&issuer, &token(&format!("grant = \"client_credentials\"\n{BASIC}"))).await;
    assert_eq!(request.grant_type(), Some("client_credentials"));

    let password = "grant = \"password\"\nusername = \"user1\"\npassword = { file = \"user\" }";
    let request = ask(&issuer, &token(&format!("{password}\n{BASIC}\nscope = \"patient/*.rs\"\naudience = \"a\"\nresource = [\"https://b.test\", \"https://c.test\"]\nparams = {{ tenant = \"t\" }}"))).await;
    assert_eq!((request.grant_type(), request.param("username")), (Some("password"), Some("user1")));
    assert_eq!((request.param("scope"), request.param("audience")), (Some("patient/*.rs"), Some("a")));
    assert_eq!((request.param("tenant"), request.param("resource")), (Some("t"), Some("https://b.test")));

    // The answers to the next grants are given, so only the requests count.
    let body = r#"{ "access_token": "t", "token_type": "Bearer", "issued_token_type": "urn:ietf:params:oauth:token-type:jwt" }"#;
    let answer = || Failure::Answer { status: 200, content_type: "application/json".to_owned(), body: body.into() };
    let issuer = Issuer::new();
    issuer.fail_next(3, answer());
    let refresh = "grant = \"refresh_token\"\nrefresh_token = { file = \"user\" }\nclient_auth = \"none\"";
    let request = ask(&issuer, &token(refresh)).await;
    assert_eq!((request.grant_type(), request.param("refresh_token")), (Some("refresh_token"), Some("user-password")));
    assert_eq!((request.param("client_id"), request.header("authorization")), (Some("client1"), None));

    let assertion = "grant = \"jwt_bearer\"\nassertion = { file = \"user\" }\nclient_auth = \"none\"";
    let request = ask(&issuer, &token(assertion)).await;
    assert_eq!(request.grant_type(), Some("urn:ietf:params:oauth:grant-type:jwt-bearer"));
    assert_eq!(request.param("assertion"), Some("user-password"));

    let exchange = "grant = \"token_exchange\"\nclient_auth = \"none\"\nsubject_token = { file = \"user\" }\nsubject_token_type = \"jwt\"\nactor_token = { file = \"client\" }\nactor_token_type = \"urn:example\"\nrequested_token_type = \"access_token\"\naudience = [\"a\", \"b\"]";
    let request = ask(&issuer, &token(exchange)).await;
    assert_eq!(request.grant_type(), Some("urn:ietf:params:oauth:grant-type:token-exchange"));
    for (name, value) in [
        ("subject_token", "user-password"),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
        ("actor_token", "client-secret"),
        ("actor_token_type", "urn:example"),
        ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ("audience", "a"),
    ] {
        assert_eq!(request.param(name), Some(value), "{name}");
    }
    assert_eq!(request.params().iter().filter(|(name, _)| name == "audience").count(), 2);
}

#[tokio::test]
async fn the_client_authenticates_as_its_settings_say() {
    let issuer = Issuer::new();
    let body = r#"{ "access_token": "t", "token_type": "Bearer" }"#;
    issuer
        .fail_next(9, Failure::Answer { status: 200, content_type: "application/json".to_owned(), body: body.into() });
    let grant = "grant = \"client_credentials\"";
    for (keys, has_header, secret) in [
        (BASIC.to_owned(), true, None),
        (format!("{BASIC}\nclient_auth = \"basic\""), true, None),
        (format!("{BASIC}\nclient_auth = \"basic_raw\""), true, None),
        (format!("{BASIC}\nclient_auth = \"post\""), false, Some("client-secret")),
        (format!("{BASIC}\nclient_auth = \"secret\""), true, None),
        ("client_auth = \"none\"".to_owned(), false, None),
        ("client_auth = \"tls_client_auth\"".to_owned(), false, None),
    ] {
        let request = ask(&issuer, &token(&format!("{grant}\n{keys}"))).await;
        assert_eq!(request.header("authorization").is_some(), has_header, "{keys}");
        assert_eq!(request.param("client_secret"), secret, "{keys}");
    }
    let assertion = "client_auth = \"assertion_from\"\nclient_assertion = { file = \"user\" }\nclient_assertion_type = \"urn:example\"";
    let request = ask(&issuer, &token(&format!("{grant}\n{assertion}"))).await;
    assert_eq!(request.param("client_assertion"), Some("user-password"));
    assert_eq!(request.param("client_assertion_type"), Some("urn:example"));
}

#[cfg(feature = "jwt")]
#[tokio::test]
async fn assertions_are_signed_as_the_settings_say() {
    use std::path::Path;

    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
    use serde_json::{Value, json};

    let issuer = Issuer::new();
    let body = r#"{ "access_token": "t", "token_type": "Bearer" }"#;
    issuer
        .fail_next(3, Failure::Answer { status: 200, content_type: "application/json".to_owned(), body: body.into() });
    let key = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/client-key.pem");
    let key = format!("{{ file = {:?} }}", key.to_str().unwrap());
    let parts = |jwt: &str| -> Vec<Value> {
        let decoded = jwt.split('.').take(2).map(|part| BASE64_URL_SAFE_NO_PAD.decode(part).unwrap());
        decoded.map(|json| serde_json::from_slice(&json).unwrap()).collect()
    };

    let keys = format!(
        "grant = \"client_credentials\"\nclient_auth = \"private_key_jwt\"\nclient_key = {key}\nclient_key_id = \"k1\"\nclient_assertion_audience = \"https://a.test\"\nclient_assertion_lifetime = \"1m\""
    );
    let request = ask(&issuer, &token(&keys)).await;
    let [header, claims] = &parts(request.param("client_assertion").unwrap())[..] else { panic!() };
    assert_eq!((header["alg"].as_str(), header["kid"].as_str()), (Some("ES384"), Some("k1")));
    assert_eq!((&claims["iss"], &claims["sub"]), (&json!("client1"), &json!("client1")));
    assert_eq!(claims["aud"], "https://a.test");

    let keys = format!(
        "grant = \"client_credentials\"\nclient_auth = \"backend_services\"\nclient_key = {key}\nclient_key_id = \"k1\"\nscope = \"system/*.rs\""
    );
    let request = ask(&issuer, &token(&keys)).await;
    let [header, _] = &parts(request.param("client_assertion").unwrap())[..] else { panic!() };
    assert_eq!(header["typ"].as_str(), Some("JWT"));

    let keys = format!(
        "grant = \"jwt_bearer\"\nclient_auth = \"none\"\nsigned = {{ issuer = \"i\", subject = \"s\", key = {key}, key_id = \"k2\", key_algorithm = \"ES384\", audience = \"https://a.test\", issued_at = true }}"
    );
    let request = ask(&issuer, &token(&keys)).await;
    let [header, claims] = &parts(request.param("assertion").unwrap())[..] else { panic!() };
    assert_eq!(header["kid"].as_str(), Some("k2"));
    assert_eq!((&claims["iss"], &claims["sub"], claims["iat"].is_u64()), (&json!("i"), &json!("s"), true));
}

#[tokio::test]
async fn a_tenant_replaces_what_it_sets_and_drops_what_it_does_not_use() {
    let issuer = Issuer::builder()
        .client("client1", "client-secret")
        .user("acme", "user-password")
        .scope("patient/*.rs")
        .build();
    let common = token(&format!(
        "grant = \"password\"\nusername = \"user1\"\npassword = {{ env = \"TOWER_BEARER_NOT_SET\" }}\n{BASIC}\nscope = \"patient/*.rs\""
    ));
    let acme = token("username = \"acme\"\npassword = { file = \"user\" }");
    let request = ask(&issuer, &common.replaced_by(&acme)).await;
    assert_eq!((request.param("username"), request.param("scope")), (Some("acme"), Some("patient/*.rs")));

    // It names the server in another way, and uses another grant.
    let other: TokenConfig =
        toml("issuer = \"https://other.test\"\ngrant = \"client_credentials\"\nclient_auth = \"none\"").unwrap();
    common.replaced_by(&other).source_with(issuer.service()).unwrap();
    let useless: TokenConfig = toml("grant = \"client_credentials\"\nusername = \"u\"").unwrap();
    let error = common.replaced_by(&useless).source_with(issuer.service()).unwrap_err();
    assert!(error.to_string().starts_with("username: this is of no use with grant"), "{error}");
}

/// A token of the one must not be sent to the other.
#[tokio::test]
async fn a_tenant_with_another_server_does_not_take_over_where_tokens_are_revoked() {
    let common =
        token(&format!("grant = \"client_credentials\"\n{BASIC}\nrevocation_url = \"https://issuer.test/revoke\""));
    for (tenant, is_revoked) in [("scope = \"a\"", true), ("url = \"https://other.test/token\"", false)] {
        let issuer = Issuer::builder().client("client1", "client-secret").scope("a").build();
        let tenant: TokenConfig = toml(tenant).unwrap();
        let cache = TokenCache::new(common.replaced_by(&tenant).source_with(issuer.service()).unwrap());
        cache.token().await.unwrap();
        assert_eq!(cache.revoke().await.is_ok(), is_revoked);
    }
}

#[test]
fn the_documented_settings_of_a_cache_are_its_defaults() {
    let documented = include_str!("../../src/config/cache.rs");
    let block = documented.split("/// ```toml\n").nth(1).unwrap().split("/// ```").next().unwrap();
    let text: String = block.lines().map(|line| line.trim_start_matches("///").to_owned() + "\n").collect();
    // The name has no default.
    let name = "name = \"billing\"";
    assert!(documented.contains(&format!("`{name}`")));
    let config: CacheConfig = toml(&format!("{name}\n{text}")).unwrap();
    let shown = |builder| format!("{builder:?}");
    let defaults = TokenCache::builder(Numbered::default());
    assert_eq!(shown(config.builder(Numbered::default())), shown(defaults.name("billing")));
    let names = format!("{config:?}");
    assert!(!names.contains("None"), "each key is documented: {names}");
}

#[test]
fn the_name_of_a_cache_and_of_a_pool_are_settings() {
    let logs = logged(async {
        let cache: CacheConfig = toml("name = \"billing\"").unwrap();
        cache.builder(Numbered::default()).build().token().await.unwrap();
        let pool: PoolConfig = toml("name = \"tenants\"").unwrap();
        // The identities have the name of the pool.
        let pool = pool.apply(TokenPool::builder(move |_: &String| Ok(cache.builder(Numbered::default())))).build();
        pool.cache("acme").unwrap().token().await.unwrap();
    });
    let issued: Vec<_> = logs.lines().filter(|line| line.contains("token issued")).collect();
    assert_eq!(issued.len(), 2, "{logs}");
    assert!(issued[0].contains(r#"cache="billing""#) && issued[1].contains(r#"cache="tenants""#), "{logs}");
}

#[tokio::test(start_paused = true)]
async fn the_settings_of_a_cache_are_those_that_it_uses() {
    for (class, error, waits) in
        [("transient", Error::transient as fn(&'static str) -> Error, [3, 5]), ("terminal", Error::terminal, [3, 5])]
    {
        let text = format!("renewal_retries = 0\n{class}_backoff = {{ first = \"3s\", max = \"5s\" }}");
        let cache = toml::<CacheConfig>(&text).unwrap();
        let cache = cache.builder(from_fn(move |_| async move { Err(error("no")) })).build();
        for wait in waits {
            cache.token().await.unwrap_err();
            assert_eq!(cache.status().retry_in, Some(wait * SECOND), "{class}");
            tokio::time::sleep(wait * SECOND).await;
        }
    }

    let issuer = Issuer::new();
    issuer.fail_next(1, Failure::Status(400));
    issuer.fail_next(1, Failure::RetryAfter(503, "600".to_owned()));
    let grant = token("grant = \"client_credentials\"\nclient_auth = \"none\"").source_with(issuer.service()).unwrap();
    let cache: CacheConfig =
        toml("renewal_retries = 0\nunexplained_backoff = { first = \"3s\", max = \"5s\" }\nmax_retry_after = \"9s\"")
            .unwrap();
    let cache = cache.builder(grant).build();
    for wait in [3, 9] {
        cache.token().await.unwrap_err();
        assert_eq!(cache.status().retry_in, Some(wait * SECOND));
        tokio::time::sleep(wait * SECOND).await;
    }

    // A token that says nothing of its lifetime lives for a minute, and is stale and unused as the margins say.
    let text = "default_lifetime = \"60s\"\nstale_before_expiry = { max = \"30s\", share = 1 }\nstale_jitter = 0\nexpired_before_expiry = { max = \"20s\", share = 1.0 }";
    let cache = toml::<CacheConfig>(text).unwrap().builder(Numbered::default()).build();
    cache.token().await.unwrap();
    let mut ages = Vec::new();
    for _ in 0..3 {
        tokio::time::sleep(14 * SECOND + Duration::from_millis(1)).await;
        ages.push(cache.status().age);
    }
    assert_eq!(ages, [Age::Fresh, Age::Fresh, Age::Expired]);
}

/// A program that is applied to a layer, in front of an API with these answers. Returns the headers of each request.
async fn through(text: &str, answers: impl IntoIterator<Item = Answer>) -> Vec<http::HeaderMap> {
    let api = Api::answering(answers);
    let layer = toml::<LayerConfig>(text).unwrap();
    let layer = layer.apply(BearerAuthLayer::new(Numbered::default()), |_| CloneBody).unwrap();
    let request = Request::get(URI).header("x-own", "1").body(Full::<bytes::Bytes>::default()).unwrap();
    let _ = layer.layer(api.clone()).oneshot(request).await.unwrap();
    api.take_seen().into_iter().map(|seen| seen.head.headers).collect()
}

#[tokio::test]
async fn the_assumed_origin_is_set() {
    for (origin, sent) in [("https://api.test", "Bearer t1"), ("https://other.test", "none")] {
        let api = Api::default();
        let text = format!("origins = [\"https://api.test\"]\nassume_origin = \"{origin}\"");
        let layer = toml::<LayerConfig>(&text).unwrap();
        let layer = layer.apply(BearerAuthLayer::new(Numbered::default()), |_| CloneBody).unwrap();
        let _ = layer.layer(api.clone()).oneshot(Request::new(Full::<bytes::Bytes>::default())).await.unwrap();
        assert_eq!(api.take_authorizations(), [sent]);
    }
}

#[tokio::test]
async fn the_settings_of_a_layer_are_those_that_it_uses() {
    let sent = |seen: &[http::HeaderMap], name: &str| -> Vec<String> {
        seen.iter().map(|headers| headers.get(name).map_or("-", |value| value.to_str().unwrap()).to_owned()).collect()
    };
    assert_eq!(sent(&through("", [status(401)]).await, "authorization"), ["Bearer t1", "Bearer t2"]);
    assert_eq!(sent(&through("retry = false", [status(401)]).await, "authorization"), ["Bearer t1"]);
    assert_eq!(sent(&through("header = \"X-Token\"\nscheme = \"none\"", []).await, "x-token"), ["t1"]);
    assert_eq!(sent(&through("scheme = \"Zoho\"", []).await, "authorization"), ["Zoho t1"]);
    assert_eq!(sent(&through("origins = [\"https://other.test\"]", []).await, "authorization"), ["-"]);
    assert_eq!(sent(&through("header = \"x-own\"\nkeep_existing = true", []).await, "x-own"), ["1"]);
    let challenged = || [challenge(403, "Bearer error=invalid_token")];
    for (rule, answers, requests) in [
        ("[]", [status(403)], 1),
        ("[403]", [status(403)], 2),
        ("[\"403\"]", [status(403)], 2),
        ("[\"invalid_token\"]", [status(403)], 1),
        ("[\"invalid_token\"]", challenged(), 2),
    ] {
        assert_eq!(through(&format!("reject_on = {rule}"), answers).await.len(), requests, "{rule}");
    }
    let redirect = http::Response::builder().status(302).header("location", "/hub/login?next=1").body(Full::default());
    assert_eq!(through("reject_on = [\"/login\"]", [Answer::Say(redirect.unwrap())]).await.len(), 2);
    let grpc = http::Response::builder().header("content-type", "application/grpc").header("grpc-status", "16");
    assert_eq!(through("reject_on = [\"grpc\"]", [Answer::Say(grpc.body(Full::default()).unwrap())]).await.len(), 2);

    let layer: LayerConfig = toml("replay_cap = 7").unwrap();
    let mut caps = Vec::new();
    layer.apply(BearerAuthLayer::new(Numbered::default()), |cap| caps.push(cap)).unwrap();
    LayerConfig::default().apply(BearerAuthLayer::new(Numbered::default()), |cap| caps.push(cap)).unwrap();
    assert_eq!(caps, [7, 1_048_576]);

    let insecure = |text: &str| {
        let layer = toml::<LayerConfig>(text).unwrap().apply(BearerAuthLayer::new(Numbered::default()), |_| CloneBody);
        layer.unwrap().layer(Api::default()).oneshot(get("http://api.example.org/"))
    };
    assert!(insecure("").await.is_err() && insecure("allow_plain_http = true").await.is_ok());
}
