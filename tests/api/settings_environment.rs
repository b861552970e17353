//! Settings from environment variables.

use std::fs;

use tower_bearer::{
    BearerAuthLayer, Error, TokenPool, config,
    replay::CloneBody,
    testing::{ClientAuthentication, Issuer},
};

use crate::{
    scripted::Numbered,
    settings::{Settings, ask},
    settings_errors::FORM,
    support::scratch,
};

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
        ("APP_POOL__IDLE", "30m"),
        ("APP_POOL__RENEWALS_AT_ONCE", "7"),
        ("APP_SIZE", "7"),
        ("OTHER_TOKEN__X", "not a setting"),
        ("APP_", "not a setting"),
    ])
    .unwrap();
    let issuer = Issuer::builder().client("client1", "s").client_authentication(ClientAuthentication::None).build();
    let request = ask(&issuer, settings.token.as_ref().unwrap()).await;
    assert_eq!((request.param("username"), request.param("tenant")), (Some("user1"), Some("7")));
    let pool = settings.pool.unwrap().apply(TokenPool::builder(|_: &String| Ok(Numbered::default())));
    let shown = format!("{pool:?}");
    assert_eq!(shown, "TokenPoolBuilder { max_identities: 100000, idle: 1800s, max_renewals: 7, .. }");
    assert_eq!(settings.size, Some(7));
    let builder = format!("{:?}", settings.cache.builder(Numbered::default()));
    assert!(builder.contains("renewal_deadline: 90s"), "{builder}");
    settings.layer.apply(BearerAuthLayer::new(Numbered::default()), |_| CloneBody).unwrap();
}

#[test]
fn an_error_names_the_variable() {
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
