//! The settings of a grant for many users.

use tower_bearer::{
    AccessToken, TokenCache,
    config::CacheConfig,
    grant::{Subject, token_type},
    source::from_fn,
    testing::{Failure, Issuer},
};

use crate::{
    settings::{BASIC, token, toml},
    support::{obtain, values},
};

const EXCHANGE: &str = "grant = \"token_exchange\"";

#[tokio::test]
async fn a_grant_for_users_sends_what_its_settings_say() {
    let issuer = Issuer::new();
    let body = r#"{ "access_token": "t", "token_type": "Bearer", "issued_token_type": "urn:ietf:params:oauth:token-type:access_token" }"#;
    issuer
        .fail_next(3, Failure::Answer { status: 200, content_type: "application/json".to_owned(), body: body.into() });
    let keys = format!(
        "{EXCHANGE}\n{BASIC}\nsubject_token_type = \"jwt\"\nactor_token = {{ file = \"user\" }}\nactor_token_type = \"id_token\"\n\
         requested_token_type = \"access_token\"\naudience = [\"a\", \"b\"]\nresource = \"https://c.test\"\nscope = \"s\"\n\
         params = {{ tenant = \"t\" }}"
    );
    let users = token(&keys).for_users_with(issuer.service()).unwrap();
    obtain(&users.source(Subject::new("of ada"))).await.unwrap();
    let request = issuer.last_request().unwrap();
    for (name, value) in [
        ("subject_token", "of ada"),
        ("subject_token_type", token_type::JWT),
        ("actor_token", "user-password"),
        ("actor_token_type", token_type::ID_TOKEN),
        ("requested_token_type", token_type::ACCESS_TOKEN),
        ("resource", "https://c.test"),
        ("scope", "s"),
        ("tenant", "t"),
    ] {
        assert_eq!(request.param(name), Some(value), "{name}");
    }
    assert_eq!(values(&request, "audience"), ["a", "b"]);

    let users = token(&format!("{EXCHANGE}\n{BASIC}")).for_users_with(issuer.service()).unwrap();
    obtain(&users.source(Subject::new("of ada"))).await.unwrap();
    let request = issuer.last_request().unwrap();
    assert_eq!(request.param("subject_token_type"), Some(token_type::ACCESS_TOKEN));
    assert_eq!((request.param("actor_token"), request.param("requested_token_type")), (None, None));

    let bearer = format!("grant = \"jwt_bearer\"\n{BASIC}\nscope = \"s\"");
    let users = token(&bearer).for_users_with(issuer.service()).unwrap();
    obtain(&users.source(Subject::new("of bob"))).await.unwrap();
    let request = issuer.last_request().unwrap();
    assert_eq!((request.param("assertion"), request.param("scope")), (Some("of bob"), Some("s")));
}

#[test]
fn each_wrong_setting_of_a_grant_for_users_is_named_with_what_to_do() {
    let issuer = Issuer::new();
    let place = "{ file = \"s3cret\" }";
    for (keys, line) in [
        (
            "grant = \"client_credentials\"".to_owned(),
            "grant: this grant takes no token of a user; use `token_exchange` or `jwt_bearer`",
        ),
        (
            "grant = \"password\"".to_owned(),
            "grant: this grant takes no token of a user; use `token_exchange` or `jwt_bearer`",
        ),
        (
            format!("{EXCHANGE}\nsubject_token = {place}"),
            "subject_token: each request brings the token of its user; remove this key",
        ),
        (
            format!("grant = \"jwt_bearer\"\nassertion = {place}"),
            "assertion: each request brings the token of its user; remove this key",
        ),
        (
            format!("grant = \"jwt_bearer\"\nsigned = {{ issuer = \"i\", subject = \"s\", key = {place} }}"),
            "signed: each request brings the token of its user; remove this key",
        ),
        (
            "grant = \"jwt_bearer\"\nsubject_token_type = \"jwt\"".to_owned(),
            "subject_token_type: this is of no use with grant = \"jwt_bearer\"; remove it, or change `grant`",
        ),
        (
            format!("{EXCHANGE}\nactor_token_type = \"jwt\""),
            "actor_token_type: this is of no use without `actor_token`; remove it, or add that",
        ),
        (
            format!("{EXCHANGE}\nactor_token = {place}"),
            "actor_token_type: this key is missing; give a URN, or one of `access_token`, `refresh_token`, `id_token`, `jwt`, `saml2`",
        ),
        (
            format!("{EXCHANGE}\nissuer = \"https://auth.test\""),
            "issuer: `url` names the server already; remove one of them",
        ),
    ] {
        let error = token(&format!("{keys}\n{BASIC}")).for_users_with(issuer.service()).unwrap_err();
        assert!(error.is_config());
        assert_eq!(error.to_string(), line);
    }
}

#[tokio::test]
async fn the_settings_of_a_cache_apply_to_a_builder() {
    let config: CacheConfig = toml("default_lifetime = \"90s\"\nstale_jitter = 0.0").unwrap();
    let source = from_fn(async |_| AccessToken::new("t"));
    let cache = config.apply(TokenCache::builder(source)).build();
    cache.token().await.unwrap();
    let left = cache.status().expires_in.unwrap().as_secs();
    assert!((60..=90).contains(&left), "{left}");
}
