//! Settings from TOML, JSON and environment variables.

use std::{fs, path::Path, time::Duration};

use http::Request;
use http_body_util::Full;
use serde::{Deserialize, de::DeserializeOwned};
use tower::{Layer, ServiceExt};
use tower_bearer::{
    BearerAuthLayer, Error, TokenCache,
    cache::Age,
    config::{self, CacheConfig, LayerConfig, PoolConfig, TokenConfig},
    replay::CloneBody,
    source::from_fn,
    testing::{Failure, Issuer, TokenRequest},
};

use crate::{
    scripted::{Answer, Api, Numbered, URI, challenge, get, status},
    support::{MINUTE, SECOND, obtain, scratch},
};

/// What a program may have.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    token: Option<TokenConfig>,
    #[serde(default)]
    cache: CacheConfig,
    #[serde(default)]
    layer: LayerConfig,
    pool: Option<PoolConfig>,
    size: Option<u16>,
}

fn toml<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    config::read(toml::Deserializer::parse(text).unwrap())
}

/// Returns the settings of a grant at the issuer that [`ask`] asks, with the client's secret in a file.
fn token(keys: &str) -> TokenConfig {
    let folder = scratch("client").parent().unwrap().to_owned();
    for (name, secret) in [("client", "client-secret"), ("user", "user-password")] {
        fs::write(folder.join(name), secret).unwrap();
    }
    let all = format!("url = \"https://issuer.test/token\"\nclient_id = \"client1\"\n{keys}");
    toml::<TokenConfig>(&all).unwrap().with_files_in(folder)
}

/// Gets a token from an issuer with default settings. Returns what the issuer was asked.
async fn ask(issuer: &Issuer, config: &TokenConfig) -> TokenRequest {
    let source = config.source_with(issuer.service()).unwrap();
    obtain(&source).await.unwrap_or_else(|error| panic!("{config:?}: {error}"));
    issuer.last_request().unwrap()
}

/// Returns the error of settings that are read and used.
fn wrong(text: &str) -> String {
    let source = toml::<Settings>(text).and_then(|settings| {
        let layer = BearerAuthLayer::new(Numbered::default());
        settings.layer.apply(layer, |_| CloneBody)?;
        settings.token.map(|token| token.source_with(Issuer::new().service())).transpose()
    });
    match source {
        Err(error) => {
            assert!(error.is_config());
            error.to_string()
        }
        Ok(_) => panic!("these settings are right: {text}"),
    }
}

const BASIC: &str = "client_secret = { file = \"client\" }";

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

const TOKEN: &str = "[token]\nurl = \"https://issuer.test/token\"\ngrant = \"client_credentials\"\nclient_id = \"c\"\nclient_secret = { env = \"PATH\" }\n";

#[test]
fn each_error_names_the_key_and_says_what_to_do() {
    let with = |line: &str| wrong(&format!("{TOKEN}{line}"));
    let instead = |key: &str, line: &str| {
        let rest: Vec<_> = TOKEN.lines().filter(|it| !it.starts_with(key)).collect();
        wrong(&format!("{}\n{line}", rest.join("\n")))
    };
    const FORM: &str =
        r#"{ file = "…" } with the path of a file, or { env = "…" } with the name of an environment variable"#;
    for (found, expected) in [
        // Keys.
        (with("clinet_id = \"x\""), "token.clinet_id: unknown key; did you mean `client_id`?"),
        (with("pasword = { env = \"X\" }"), "token.pasword: unknown key; did you mean `password`?"),
        (wrong("[tokne]\n"), "tokne: unknown key; did you mean `token`?"),
        (
            wrong("[layer]\nq = 1"),
            "layer.q: unknown key; use one of `origins`, `allow_plain_http`, `retry`, `replay_cap`, `keep_existing`, `check_scopes`, `header`, `scheme`, `reject_on`",
        ),
        (
            wrong("[cache.terminal_backoff]\nfirst = \"1s\"\nmx = \"2s\""),
            "cache.terminal_backoff.mx: unknown key; did you mean `max`?",
        ),
        (
            with("[token.signed]\nissuer = \"i\"\nsubjects = \"s\""),
            "token.signed.subjects: unknown key; did you mean `subject`?",
        ),
        (
            instead("client_secret", "client_secret = { fil = \"x\" }"),
            "token.client_secret.fil: unknown key; did you mean `file`?",
        ),
        (
            instead("client_id", "'$place' = \"x\""),
            "token.client_id: this key is missing; give the id under which the client is registered",
        ),
        // What is missing.
        (
            instead("url", ""),
            "token.url: this key is missing; give the token URL, or one of `issuer`, `fhir_server` and `protected_resource`",
        ),
        (
            instead("grant", ""),
            "token.grant: this key is missing; give one of `client_credentials`, `password`, `refresh_token`, `jwt_bearer`, `token_exchange`",
        ),
        (
            instead("client_id", ""),
            "token.client_id: this key is missing; give the id under which the client is registered",
        ),
        (
            instead("client_secret", ""),
            "token.client_secret: this key is missing; say where the client secret is: { file = \"…\" } or { env = \"…\" }",
        ),
        (
            instead("client_secret", "client_auth = \"assertion_from\""),
            "token.client_assertion: this key is missing; say where the assertion is: { file = \"…\" } or { env = \"…\" }",
        ),
        (instead("grant", "grant = \"password\""), "token.username: this key is missing; give the user's name"),
        (
            instead("grant", "grant = \"password\"\nusername = \"u\""),
            "token.password: this key is missing; say where the user's password is: { file = \"…\" } or { env = \"…\" }",
        ),
        (
            instead("grant", "grant = \"refresh_token\""),
            "token.refresh_token: this key is missing; say where the token is: { file = \"…\" } or { env = \"…\" }",
        ),
        (
            instead("grant", "grant = \"jwt_bearer\""),
            "token.assertion: this key is missing; say where the assertion is, or give `signed` to sign one here",
        ),
        (
            instead("grant", "grant = \"token_exchange\""),
            "token.subject_token: this key is missing; say where the token is: { file = \"…\" } or { env = \"…\" }",
        ),
        (
            instead("grant", "grant = \"token_exchange\"\nsubject_token = { env = \"X\" }"),
            "token.subject_token_type: this key is missing; give a URN, or one of `access_token`, `refresh_token`, `id_token`, `jwt`, `saml2`",
        ),
        (
            wrong("[cache]\nstale_before_expiry = { max = \"1m\" }"),
            "cache.stale_before_expiry.share: this key is missing; add it",
        ),
        // Secrets.
        (
            instead("client_secret", "client_secret = \"s3cret\""),
            &*format!("token.client_secret: the secret itself must not be in the settings; give {FORM}"),
        ),
        (
            with("password = 12345678"),
            &*format!("token.password: the secret itself must not be in the settings; give {FORM}"),
        ),
        (with("password = true"), &*format!("token.password: this is a boolean; give {FORM}")),
        (with("password = {}"), &*format!("token.password: this is empty; give {FORM}")),
        (with("password = { env = \"\" }"), &*format!("token.password: the name in this is empty; give {FORM}")),
        (
            with("password = { env = \"X\", file = \"x\" }"),
            "token.password: this has `file` and `env`; remove one of them",
        ),
        // Values.
        (instead("grant", "grant = \"pasword\""), "token.grant: unknown value; did you mean `password`?"),
        (
            instead("grant", "grant = 1"),
            "token.grant: this is not text; use one of `client_credentials`, `password`, `refresh_token`, `jwt_bearer`, `token_exchange`",
        ),
        (
            with("client_auth = \"q\""),
            "token.client_auth: unknown value; use one of `none`, `basic`, `basic_raw`, `post`, `secret`, `tls_client_auth`, `private_key_jwt`, `client_secret_jwt`, `backend_services`, `assertion_from`",
        ),
        (
            wrong("[cache]\nrenewal_deadline = 10"),
            "cache.renewal_deadline: this is a whole number; give a duration with its unit, such as \"90s\" or \"1h 30m\"",
        ),
        (
            wrong("[cache]\nrenewal_deadline = \"s3cret\""),
            "cache.renewal_deadline: this is not a duration; give numbers with their units, such as \"250ms\", \"90s\" or \"1h 30m\"",
        ),
        (
            wrong("[cache]\nstale_jitter = 1.5"),
            "cache.stale_jitter: this is not a share; give a number from 0 to 1, such as 0.25",
        ),
        (
            wrong("[cache]\nstale_jitter = nan"),
            "cache.stale_jitter: this is not a share; give a number from 0 to 1, such as 0.25",
        ),
        (
            wrong("[cache]\nrenewal_retries = \"s3cret\""),
            "cache.renewal_retries: this is text; give a whole number that is not negative",
        ),
        (
            wrong("[cache]\nmax_narrowed = -1"),
            "cache.max_narrowed: this value cannot be used; give a whole number that is not negative",
        ),
        (wrong("[layer]\nretry = \"s3cret\""), "layer.retry: this is text; give true or false"),
        (
            wrong("[layer]\nheader = \"s3cret:\""),
            "layer.header: this is not the name of a header; give one such as \"x-auth-token\"",
        ),
        (
            wrong("[layer]\nscheme = \"s3 cret\""),
            "layer.scheme: this is not one word; give the word that stands before the token, or \"none\"",
        ),
        (
            wrong("[layer]\nreject_on = [403, 200]"),
            "layer.reject_on[1]: this answer cannot reject a token; give an error status such as 403, \"invalid_token\", \"grpc\", or the path of a login page such as \"/login\"",
        ),
        (wrong("[layer]\nreject_on = 403"), "layer.reject_on: this is a whole number; give a list"),
        (
            wrong("[layer]\norigins = []"),
            "layer.origins: the list of origins is empty, so no request would carry the token: add the API's base URL",
        ),
        (
            wrong("[layer]\norigins = [\"api.test\"]"),
            "layer.origins: URL 1 of the origins has no http or https scheme; write it as https://api.example.org",
        ),
        (wrong("layer = 1"), "layer: this is a whole number; give a table"),
        (wrong("size = 70000"), "size: this value cannot be used; give a whole number that is not negative"),
        (
            wrong("[pool]\nidle = \"x\""),
            "pool.idle: this is not a duration; give numbers with their units, such as \"250ms\", \"90s\" or \"1h 30m\"",
        ),
        (
            instead("url", "url = \"http://issuer.test/token\""),
            "token.url: the token URL is plain http, which would send secrets unencrypted; use https, or set allow_plain_http = true if the network is private by other means",
        ),
        (
            instead("url", "url = \"issuer.test\""),
            "token.url: the token URL does not have an http or https scheme and a host; give a full URL, such as https://auth.example.org/oauth2/token",
        ),
        (
            instead("url", "issuer = \"https://a.test?s3cret\""),
            "token.issuer: the issuer has a query, which RFC 8414 §2 does not allow; remove it",
        ),
        (with("issuer = \"https://a.test\""), "token.issuer: `url` names the server already; remove one of them"),
        (
            with("revocation_url = \"issuer.test\""),
            "token.revocation_url: the revocation URL does not have an http or https scheme and a host; give a full URL, such as https://auth.example.org/oauth2/revoke",
        ),
        (
            with("scope = \"a\\\\b\""),
            "token.scope: the scope has a character that RFC 6749 §3.3 does not allow; use printable ASCII without quotes and backslashes",
        ),
        (
            with("resource = \"api\""),
            "token.resource: the resource is not an absolute URI without a fragment (RFC 8707 §2); write it as https://api.example.org",
        ),
        (
            with("params = { client_id = \"s3cret\" }"),
            "token: the parameter `client_id` is set by the grant; use the key for it, and remove it from `params`",
        ),
        (
            instead("client_id", "client_id = \"\""),
            "token.client_id: the client id is empty; give the id under which the client is registered",
        ),
        (
            instead("client_id", "client_id = \"a:b\"\nclient_auth = \"basic_raw\""),
            "token.client_id: a client id with a colon cannot be sent without encoding; use `basic` or `post`",
        ),
        // What is of no use.
        (
            with("username = \"s3cret\""),
            "token.username: this is of no use with grant = \"client_credentials\"; remove it, or change `grant`",
        ),
        (
            with("client_auth = \"none\""),
            "token.client_secret: this is of no use with client_auth = \"none\"; remove it, or change `client_auth`",
        ),
        (
            with("client_key_id = \"k\""),
            "token.client_key_id: this is of no use with client_auth = \"basic\"; remove it, or change `client_auth`",
        ),
    ] {
        assert_eq!(found, expected);
        assert!(!found.contains("s3cret") && !found.contains('\n'), "{found}");
    }
}

#[cfg(feature = "jwt")]
#[test]
fn an_error_of_a_signing_key_names_it() {
    let rest = TOKEN.replace("client_secret", "client_key");
    for (keys, expected) in [
        (
            "client_auth = \"private_key_jwt\"\nclient_key_algorithm = \"ES483\"",
            "token.client_key_algorithm: unknown value; did you mean `ES384`?",
        ),
        ("client_auth = \"backend_services\"", "token.client_key_id: this key is missing; give the `kid` of the key"),
    ] {
        assert_eq!(wrong(&format!("{rest}{keys}")), expected);
    }
    let not_for_clients = rest.replace("client_credentials", "password")
        + "username = \"u\"\npassword = { env = \"X\" }\nclient_auth = \"backend_services\"\nclient_key_id = \"k\"";
    assert_eq!(
        wrong(&not_for_clients),
        "token.client_auth: `backend_services` is only for grant = \"client_credentials\"; use `private_key_jwt`"
    );
}

#[cfg(not(feature = "jwt"))]
#[test]
fn a_client_that_signs_needs_the_feature() {
    let keys = TOKEN.replace("client_secret", "client_key") + "client_auth = \"private_key_jwt\"";
    assert_eq!(
        wrong(&keys),
        "token.client_auth: `private_key_jwt` needs the feature `jwt` of tower-bearer; build the program with it"
    );
}

#[test]
fn json_and_its_errors_are_read_in_the_same_way() {
    let read = |text: &str| config::read::<Settings>(&mut serde_json::Deserializer::from_str(text));
    assert_eq!(
        read(r#"{ "size": 70000000000 }"#).unwrap_err().to_string(),
        "size: this value cannot be used; give a whole number that is not negative"
    );
    assert_eq!(
        read(r#"{ "token": { "grants": null } }"#).unwrap_err().to_string(),
        "token.grants: unknown key; did you mean `grant`?"
    );
    assert_eq!(
        read(r#"{ "size": 1, "size": 2 }"#).unwrap_err().to_string(),
        "size: this key is here twice; remove one at line 1 column 19"
    );
    assert_eq!(read(r#"{ "size": s3cret }"#).unwrap_err().to_string(), "expected value at line 1 column 11");
    assert_eq!(read(r#"{ "pool": null, "token": { "username": null } }"#).unwrap().pool.is_none(), true);
    assert_eq!(read("[]").unwrap_err().to_string(), "this is a list; give a table");
}

#[test]
fn a_plain_deserializer_reads_the_same_settings() {
    let token: TokenConfig = toml::from_str(TOKEN.strip_prefix("[token]").unwrap()).unwrap();
    token.source_with(Issuer::new().service()).unwrap();
    let error = toml::from_str::<TokenConfig>("clinet_id = 1").unwrap_err().to_string();
    assert!(error.contains("clinet_id"), "{error}");
    let token: TokenConfig = toml::from_str("client_id = \"c\"").unwrap();
    let error = token.source_with(Issuer::new().service()).unwrap_err().to_string();
    assert!(error.starts_with("grant: this key is missing; "), "{error}");
}

fn from_vars<const N: usize>(variables: [(&str, &str); N]) -> Result<Settings, Error> {
    config::from_vars("APP_", variables)
}

#[tokio::test]
async fn variables_with_a_prefix_are_settings() {
    let password = scratch("password");
    fs::write(&password, "user-password").unwrap();
    let settings = from_vars([
        ("APP_TOKEN__URL", "https://issuer.test/token"),
        ("APP_token__Grant", "password"),
        ("APP_TOKEN__CLIENT_ID", "client1"),
        ("APP_TOKEN__CLIENT_AUTH", "none"),
        ("APP_TOKEN__USERNAME", "user1"),
        ("APP_TOKEN__PASSWORD__FILE", password.to_str().unwrap()),
        ("APP_TOKEN__SHOW_ERROR_DESCRIPTION", "true"),
        ("APP_TOKEN__PARAMS__TENANT", "7"),
        ("APP_CACHE__RENEWAL_DEADLINE", "1m 30s"),
        ("APP_CACHE__STALE_JITTER", "0.5"),
        ("APP_CACHE__RENEWAL_RETRIES", "2"),
        ("APP_LAYER__REJECT_ON", "403, /login"),
        ("APP_LAYER__ORIGINS", "https://a.test, https://b.test"),
        ("APP_POOL__MAX", "100000"),
        ("APP_POOL__IDLE", "1h"),
        ("APP_SIZE", "7"),
        ("OTHER_TOKEN__X", "not a setting"),
        ("APP_", "not a setting"),
    ])
    .unwrap();
    let issuer = Issuer::builder()
        .client("client1", "s")
        .client_authentication(tower_bearer::testing::ClientAuthentication::None)
        .build();
    let request = ask(&issuer, settings.token.as_ref().unwrap()).await;
    assert_eq!((request.param("username"), request.param("tenant")), (Some("user1"), Some("7")));
    let pool = settings.pool.as_ref().unwrap();
    assert_eq!((pool.max(), pool.idle(), pool.renewals_at_once()), (Some(100_000), Some(60 * MINUTE), None));
    assert_eq!(settings.size, Some(7));
    let builder = format!("{:?}", settings.cache.builder(Numbered::default()));
    assert!(builder.contains("renewal_deadline: 90s"), "{builder}");
    settings.layer.apply(BearerAuthLayer::new(Numbered::default()), |_| CloneBody).unwrap();
}

#[test]
fn an_error_names_the_variable() {
    const FORM: &str =
        r#"{ file = "…" } with the path of a file, or { env = "…" } with the name of an environment variable"#;
    for (name, value, expected) in [
        ("APP_TOKEN__CLINET_ID", "s3cret", "APP_TOKEN__CLINET_ID: unknown key; did you mean `client_id`?"),
        ("APP_SIZE", "s3cret", "APP_SIZE: this is text; give a whole number that is not negative"),
        ("APP_SIZE", "1.5", "APP_SIZE: this is a number; give a whole number that is not negative"),
        (
            "APP_LAYER",
            "s3cret",
            "APP_LAYER: this is a group; set the variables of its keys, such as APP_LAYER__ORIGINS",
        ),
        ("APP_LAYER__RETRY", "s3cret", "APP_LAYER__RETRY: this is text; give true or false"),
        (
            "APP_LAYER__REJECT_ON",
            "403,200",
            "APP_LAYER__REJECT_ON[1]: this answer cannot reject a token; give an error status such as 403, \"invalid_token\", \"grpc\", or the path of a login page such as \"/login\"",
        ),
        (
            "APP_TOKEN__PASSWORD",
            "s3cret",
            &format!("APP_TOKEN__PASSWORD: the secret itself must not be in the settings; give {FORM}"),
        ),
        (
            "APP_TOKEN__",
            "s3cret",
            "APP_TOKEN__: a key in this name is empty; write two underscores between two keys, and only there",
        ),
        ("APP_size", "1", "APP_SIZE: there are two variables of this name, in different case; unset one of them"),
        ("APP_SIZE__X", "1", "APP_SIZE__X: this is a value, and a part of another variable's name; unset one of them"),
        (
            "APP_CACHE__STALE_BEFORE_EXPIRY__MAX",
            "1m",
            "APP_CACHE__STALE_BEFORE_EXPIRY__SHARE: this key is missing; add it",
        ),
    ] {
        let rest =
            if name.eq_ignore_ascii_case("APP_SIZE") && value != "1" { "APP_CACHE__MAX_NARROWED" } else { "APP_SIZE" };
        let error = from_vars([(rest, "1"), (name, value)]).unwrap_err().to_string();
        assert_eq!(error, expected);
        assert!(!error.contains("s3cret"), "{error}");
    }
    let error = from_vars([("APP_TOKEN__GRANT", "password")]).unwrap().token.unwrap();
    let error = error.source_with(Issuer::new().service()).unwrap_err().to_string();
    assert!(error.starts_with("APP_TOKEN__URL: this key is missing"), "{error}");
}

#[test]
fn settings_show_no_secret() {
    let keys = "[token]\nurl = \"https://s3cret@issuer.test/s3cret?s3cret\"\nusername = \"s3cret\"\nclient_id = \"c\"\nparams = { otp = \"s3cret\" }\nclient_secret = { env = \"THE_VARIABLE\" }\npassword = { file = \"/the/file\" }\n[layer]\n[cache]\n[pool]\n";
    let shown = format!("{:?}", toml::<Settings>(keys).unwrap());
    assert!(!shown.contains("s3cret") && shown.contains("THE_VARIABLE") && shown.contains("/the/file"), "{shown}");
}

#[test]
fn a_secret_that_cannot_be_read_is_named_with_its_key() {
    let check = |line: &str| {
        let token: Settings = toml(&format!("[token]\n{line}")).unwrap();
        token.token.unwrap().with_files_in("/no/folder").check_secrets().unwrap_err().to_string()
    };
    assert_eq!(
        check("password = { env = \"TOWER_BEARER_NOT_SET\" }"),
        "token.password: the environment variable TOWER_BEARER_NOT_SET is not set, or is empty; set it to the secret"
    );
    assert_eq!(
        check("client_key = { file = \"x\" }"),
        "token.client_key: the file /no/folder/x cannot be read (No such file or directory (os error 2)); check the path and its permissions"
    );
    assert!(check("username = { file = \"/x\" }").starts_with("token.username: the file /x cannot be read"));
    assert!(
        check("signed = { issuer = \"\", subject = \"\", key = { file = \"x\" } }")
            .starts_with("token.signed.key: the file /no/folder/x ")
    );
    token(BASIC).check_secrets().unwrap();
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

#[test]
fn the_documented_settings_of_a_cache_are_its_defaults() {
    let documented = include_str!("../../src/config/cache.rs");
    let block = documented.split("/// ```toml\n").nth(1).unwrap().split("/// ```").next().unwrap();
    let text: String = block.lines().map(|line| line.trim_start_matches("///").to_owned() + "\n").collect();
    let config: CacheConfig = toml(&text).unwrap();
    let shown = |builder| format!("{builder:?}");
    assert_eq!(shown(config.builder(Numbered::default())), shown(TokenCache::builder(Numbered::default())));
    let names = format!("{config:?}");
    assert!(!names.contains("None"), "each key is documented: {names}");
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
    assert_eq!(caps, [7, 65_536]);

    let insecure = |text: &str| {
        let layer = toml::<LayerConfig>(text).unwrap().apply(BearerAuthLayer::new(Numbered::default()), |_| CloneBody);
        layer.unwrap().layer(Api::default()).oneshot(get("http://api.example.org/"))
    };
    assert!(insecure("").await.is_err() && insecure("allow_plain_http = true").await.is_ok());
}
