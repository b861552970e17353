//! What is wrong with settings, in one line each.

use tower_bearer::{
    BearerAuthLayer,
    config::{self, TokenConfig},
    replay::CloneBody,
    testing::Issuer,
};

use crate::{
    scripted::Numbered,
    settings::{BASIC, Settings, token, toml},
};

pub(crate) const FORM: &str =
    r#"{ file = "…" } with the path of a file, or { env = "…" } with the name of an environment variable"#;

const TOKEN: &str = "[token]\nurl = \"https://issuer.test/token\"\ngrant = \"client_credentials\"\nclient_id = \"c\"\nclient_secret = { env = \"PATH\" }\n";

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

/// Returns the error of a token's settings with one more line.
fn with(line: &str) -> String {
    wrong(&format!("{TOKEN}{line}"))
}

/// Returns the error of a token's settings with a line in place of that of a key.
fn instead(key: &str, line: &str) -> String {
    let rest: Vec<_> = TOKEN.lines().filter(|it| !it.starts_with(key)).collect();
    wrong(&format!("{}\n{line}", rest.join("\n")))
}

fn check<const N: usize>(errors: [(String, &str); N]) {
    for (found, expected) in errors {
        assert_eq!(found, expected);
        assert!(!found.contains("s3cret") && !found.contains('\n'), "{found}");
    }
}

#[test]
fn an_unknown_key_is_an_error_that_names_the_nearest_one() {
    check([
        (with("clinet_id = \"x\""), "token.clinet_id: unknown key; did you mean `client_id`?"),
        (with("pasword = { env = \"X\" }"), "token.pasword: unknown key; did you mean `password`?"),
        (wrong("\"a\\nb\\u001b\" = 1"), "\"a?b?\": unknown key; use one of `token`, `cache`, `layer`, `pool`, `size`"),
        (wrong("[tokne]\n"), "tokne: unknown key; did you mean `token`?"),
        (
            wrong("[layer]\nq = 1"),
            "layer.q: unknown key; use one of `origins`, `assume_origin`, `allow_plain_http`, `retry`, `replay_cap`, `keep_existing`, `check_scopes`, `header`, `scheme`, `reject_on`",
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
        (instead("client_id", "'$place' = \"x\""), "token.\"$place\": unknown key; remove it"),
    ]);
}

#[test]
fn what_is_missing_is_named_with_what_to_give() {
    check([
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
    ]);
}

#[test]
fn a_secret_in_the_settings_is_an_error() {
    check([
        (
            instead("client_secret", "client_secret = \"s3cret\""),
            &format!("token.client_secret: the secret itself must not be in the settings; give {FORM}"),
        ),
        (
            with("password = 12345678"),
            &format!("token.password: the secret itself must not be in the settings; give {FORM}"),
        ),
        (
            with("password = 123456789012345678901234"),
            &format!("token.password: the secret itself must not be in the settings; give {FORM}"),
        ),
        (with("password = true"), &format!("token.password: this is a boolean; give {FORM}")),
        (with("password = {}"), &format!("token.password: this is empty; give {FORM}")),
        (with("password = { env = \"\" }"), &format!("token.password: the name in this is empty; give {FORM}")),
        (
            with("password = { env = \"X\", file = \"x\" }"),
            "token.password: this has `file` and `env`; remove one of them",
        ),
    ]);
}

#[test]
fn a_wrong_value_is_named_and_not_shown() {
    check([
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
        (wrong("[cache]\nname = \"\""), "cache.name: this is empty; give a name, or remove the key"),
        (wrong("[pool]\nname = 7"), "pool.name: this is a whole number; give text"),
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
        (
            wrong("[layer]\nreject_on = [100]"),
            "layer.reject_on[0]: this answer cannot reject a token; give an error status such as 403, \"invalid_token\", \"grpc\", or the path of a login page such as \"/login\"",
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
        (
            wrong("[layer]\nassume_origin = \"https://*.api.test\""),
            "layer.assume_origin: the assumed origin has a wildcard in it; name one host, such as https://api.example.org",
        ),
        (wrong("layer = 1"), "layer: this is a whole number; give a table"),
        (wrong("size = 70000"), "size: this value cannot be used; give a whole number that is not negative"),
        (
            wrong("[pool]\nidle = \"x\""),
            "pool.idle: this is not a duration; give numbers with their units, such as \"250ms\", \"90s\" or \"1h 30m\"",
        ),
    ]);
}

#[test]
fn a_value_that_the_grant_refuses_is_named() {
    check([
        (
            instead("url", "url = \"http://issuer.test/token\""),
            "token.url: the token URL at http://issuer.test is plain http, which would send secrets unencrypted; use https, or set allow_plain_http = true if the network is private by other means",
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
            "token.params.client_id: the parameter `client_id` is set by the grant; use the key for it, and remove it from `params`",
        ),
        (
            instead("client_id", "client_id = \"\""),
            "token.client_id: the client id is empty; give the id under which the client is registered",
        ),
        (
            instead("client_id", "client_id = \"a:b\"\nclient_auth = \"basic_raw\""),
            "token.client_id: a client id with a colon cannot be sent without encoding; use `basic` or `post`",
        ),
    ]);
}

#[test]
fn a_value_that_cannot_work_is_an_error_too() {
    check([
        (
            wrong("[layer]\nheader = \"Content-Length\""),
            "layer.header: HTTP itself uses this header; give another one such as \"x-auth-token\"",
        ),
        (
            wrong("[layer]\nheader = \"host\""),
            "layer.header: HTTP itself uses this header; give another one such as \"x-auth-token\"",
        ),
        (with("deadline = \"0s\""), "token.deadline: this leaves no time at all; give more than 0"),
        (
            wrong("[cache]\nrenewal_deadline = \"0s\""),
            "cache.renewal_deadline: this leaves no time at all; give more than 0",
        ),
        (with("username = \"\""), &format!("token.username: this is empty; give text, {FORM}")),
        (
            with("client_auth = { basic = \"s3cret\" }"),
            "token.client_auth.basic: this is text; give the name alone, as text",
        ),
        (with("params = { \"a b\" = 1 }"), "token.params.\"a b\": this is a whole number; give text"),
        (
            with("audience = [\"a\", \"b\"]"),
            "token.audience: the parameter `audience` is given twice, which RFC 6749 §3.2 does not allow; give it once",
        ),
    ]);
}

#[test]
fn what_is_of_no_use_is_an_error() {
    check([
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
    ]);
}

#[test]
fn a_secret_that_cannot_be_read_is_one_line() {
    let folder = std::env::temp_dir();
    for (place, expected) in [
        (
            r#"{ env = "A\nB" }"#.to_owned(),
            "client_secret: the environment variable A?B is not set, or is empty; set it to the secret".to_owned(),
        ),
        (
            format!("{{ file = '{}' }}", folder.display()),
            format!("client_secret: {} is a folder; give the path of the file in it", folder.display()),
        ),
    ] {
        let config = toml::<TokenConfig>(&format!("client_secret = {place}")).unwrap();
        assert_eq!(config.check_secrets().unwrap_err().to_string(), expected);
    }
}

/// A tenant's settings, and the common ones.
#[test]
fn an_error_of_a_setting_that_is_taken_over_names_where_it_is() {
    #[derive(serde::Deserialize)]
    struct Both {
        token: TokenConfig,
        tenant: TokenConfig,
    }
    for (common, tenant, expected) in [
        ("url = \"issuer.test\"", "client_id = \"c\"", "token.url: the token URL does not have"),
        ("url = \"https://a.test\"", "client_id = \"c\"\nurl = \"b.test\"", "tenant.url: the token URL does not have"),
        ("url = \"https://a.test\"\nclient_id = \"\"", "scope = \"a\"", "token.client_id: the client id is empty"),
        ("url = \"https://a.test\"", "scope = \"a\"", "tenant.client_id: this key is missing"),
    ] {
        let text =
            format!("[token]\ngrant = \"client_credentials\"\nclient_auth = \"none\"\n{common}\n[tenant]\n{tenant}");
        let Both { token, tenant } = toml(&text).unwrap();
        let error = token.replaced_by(&tenant).source_with(Issuer::new().service()).unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}");
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
    assert!(read(r#"{ "pool": null, "token": { "username": null } }"#).unwrap().pool.is_none());
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
