//! What `docs/servers.md` says of APIs, row by row: which rule a server needs, what happens without it, and what a missing
//! permission costs.

use http::{StatusCode, header::WWW_AUTHENTICATE};
use serde_json::json;
use tower_bearer::{AccessToken, NotRetried, Outcome, Rejection, source::from_fn};

use super::api_tokens::{
    BUDGET, Call, Flaw, NO_RULE, Rule, Sdk, dead_tokens_are_renewed, dead_tokens_stay, get, post, required_scope,
    signed, text,
};

const ON_403: Rule = |layer| layer.reject_on(Rejection::status(StatusCode::FORBIDDEN));

/// Each refusal is a 403, so the rule also renews for a missing permission, within the budget.
async fn needs_a_rule_for_403(items: Call, admin: Call) {
    dead_tokens_stay(&items, NO_RULE, StatusCode::FORBIDDEN).await;
    dead_tokens_are_renewed(&items, ON_403).await;
    Sdk::with(Flaw::None, NO_RULE).is_forbidden(&admin, &items, StatusCode::FORBIDDEN, 1).await;
    Sdk::with(Flaw::None, ON_403).is_forbidden(&admin, &items, StatusCode::FORBIDDEN, BUDGET).await;
}

#[tokio::test]
#[ignore = "needs the servers of tests/real"]
async fn fastapi_with_the_jwt_bearer_class_of_tutorials_needs_a_rule_for_403() {
    needs_a_rule_for_403(get("FASTAPI_URL", "/jwt-bearer/items"), get("FASTAPI_URL", "/jwt-bearer/admin")).await;
}

#[tokio::test]
#[ignore = "needs the servers of tests/real"]
async fn django_rest_framework_with_sessions_first_needs_a_rule_for_403() {
    needs_a_rule_for_403(get("DJANGO_URL", "/session-first/items"), get("DJANGO_URL", "/session-first/admin")).await;
}

#[tokio::test]
#[ignore = "needs the servers of tests/real"]
async fn keycloak_connect_needs_a_rule_for_403() {
    needs_a_rule_for_403(get("KEYCLOAK_CONNECT_URL", "/items"), get("KEYCLOAK_CONNECT_URL", "/admin")).await;
}

#[tokio::test]
#[ignore = "needs the servers of tests/real"]
async fn django_rest_framework_with_tokens_first_needs_no_rule() {
    let (items, admin) = (get("DJANGO_URL", "/token-first/items"), get("DJANGO_URL", "/token-first/admin"));
    dead_tokens_are_renewed(&items, NO_RULE).await;
    Sdk::with(Flaw::None, NO_RULE).is_forbidden(&admin, &items, StatusCode::FORBIDDEN, 1).await;
}

/// The challenge is the same for a token that is not valid and for a missing scope. The token's own scopes tell them
/// apart.
#[tokio::test]
#[ignore = "needs the servers of tests/real"]
async fn fastapi_says_the_same_of_a_dead_token_and_of_a_missing_scope() {
    let [me, items, admin] = ["me", "items", "admin"].map(|path| get("FASTAPI_URL", &format!("/scopes/{path}")));
    dead_tokens_are_renewed(&me, NO_RULE).await;
    dead_tokens_are_renewed(&items, NO_RULE).await;

    let with_scope = |flaw| async move { Ok(AccessToken::with_scope(signed(flaw), "items")) };
    let dead = Sdk::new(from_fn(move |_| with_scope(Flaw::Expired)), NO_RULE);
    let refused = dead.call(&items).await;
    assert_eq!(refused.headers()[WWW_AUTHENTICATE], "Bearer scope=\"items\"");
    assert_eq!(dead.asked(), 2, "a token that has the scope is not valid");
    let known = Sdk::new(from_fn(move |_| with_scope(Flaw::None)), NO_RULE);
    known.is_forbidden(&admin, &items, StatusCode::UNAUTHORIZED, 1).await;
    let refused = known.call(&admin).await;
    assert_eq!(refused.headers()[WWW_AUTHENTICATE], "Bearer scope=\"admin\"");
    assert_eq!(required_scope(&refused), Some("admin"));
}

#[tokio::test]
#[ignore = "needs the servers of tests/real"]
async fn flask_jwt_extended_answers_422_to_a_token_of_an_old_key() {
    let [items, fresh, admin] = ["/items", "/fresh", "/admin"].map(|path| get("FLASK_URL", path));
    let rule: Rule = |layer| layer.reject_on(Rejection::status(StatusCode::UNPROCESSABLE_ENTITY));
    Sdk::with(Flaw::Expired, NO_RULE).retries(&items, StatusCode::OK).await;
    Sdk::with(Flaw::OldKey, NO_RULE).passes_on(&items, StatusCode::UNPROCESSABLE_ENTITY).await;
    dead_tokens_are_renewed(&items, rule).await;
    Sdk::with(Flaw::None, rule).is_forbidden(&admin, &items, StatusCode::FORBIDDEN, 1).await;
    Sdk::with(Flaw::None, rule).is_forbidden(&fresh, &items, StatusCode::UNAUTHORIZED, BUDGET).await;
}

/// A server error may come after the request was carried out, so a POST is not sent again. The next one has a new token.
#[tokio::test]
#[ignore = "needs the servers of tests/real"]
async fn passport_answers_500_to_a_dead_token_if_errors_are_passed_on() {
    let call = get("PASSPORT_URL", "/error");
    let rule: Rule = |layer| layer.reject_on(Rejection::status(StatusCode::INTERNAL_SERVER_ERROR));
    dead_tokens_stay(&call, NO_RULE, StatusCode::INTERNAL_SERVER_ERROR).await;
    dead_tokens_are_renewed(&call, rule).await;
    dead_tokens_are_renewed(&get("PASSPORT_URL", "/false"), NO_RULE).await;

    let (sdk, post) = (Sdk::with(Flaw::Expired, rule), post("PASSPORT_URL", "/error", &json!({})));
    let refused = sdk.call(&post).await;
    assert_eq!(refused.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let outcome: &Outcome = refused.extensions().get().unwrap();
    assert!(matches!(outcome.not_retried(), Some(NotRetried::NotIdempotent)), "{outcome:?}");
    assert_eq!(sdk.call(&post).await.status(), StatusCode::OK);
    assert_eq!(sdk.asked(), 2);
}

#[tokio::test]
#[ignore = "needs the servers of tests/real"]
async fn envoy_answers_403_with_invalid_token_to_another_audience() {
    let (items, admin) = (get("ENVOY_URL", "/items"), get("ENVOY_URL", "/admin"));
    let rule: Rule = |layer| layer.reject_on(Rejection::invalid_token());
    dead_tokens_are_renewed(&items, NO_RULE).await;
    let refused = Sdk::with(Flaw::OtherAudience, NO_RULE).passes_on(&items, StatusCode::FORBIDDEN).await;
    let challenge = refused.headers()[WWW_AUTHENTICATE].to_str().unwrap();
    assert!(challenge.starts_with("Bearer ") && challenge.ends_with("error=\"invalid_token\""), "{challenge}");
    Sdk::with(Flaw::OtherAudience, rule).retries(&items, StatusCode::OK).await;
    Sdk::with(Flaw::None, rule).is_forbidden(&admin, &items, StatusCode::FORBIDDEN, 1).await;
}

#[tokio::test]
#[ignore = "needs the servers of tests/real"]
async fn docker_registry_says_whether_the_token_or_its_scope_is_wrong() {
    let base = get("DOCKER_REGISTRY_URL", "/v2/");
    let [mine, other] = ["mine", "other"].map(|name| get("DOCKER_REGISTRY_URL", &format!("/v2/{name}/tags/list")));
    dead_tokens_are_renewed(&base, NO_RULE).await;
    // The challenge of a token that is not valid names the scope as well. The repository is empty, so it is not found.
    Sdk::with(Flaw::Expired, NO_RULE).retries(&mine, StatusCode::NOT_FOUND).await;
    let sdk = Sdk::with(Flaw::None, NO_RULE);
    sdk.is_forbidden(&other, &base, StatusCode::UNAUTHORIZED, 1).await;
    assert_eq!(required_scope(&sdk.call(&other).await), Some("repository:other:pull"));
}

#[tokio::test]
#[ignore = "needs the servers of tests/real"]
async fn apollo_server_needs_no_rule_if_its_context_throws_a_401() {
    let [ok, admin] = ["{ ok }", "{ admin }"].map(|query| post("APOLLO_URL", "/", &json!({ "query": query })));
    dead_tokens_are_renewed(&ok, NO_RULE).await;
    let forbidden = Sdk::with(Flaw::None, NO_RULE).passes_on(&admin, StatusCode::OK).await;
    assert!(text(forbidden).await.contains(r#""code":"FORBIDDEN""#));
}

/// No rule for the status and the fields sees it: this answer is like any other 200.
#[tokio::test]
#[ignore = "needs the servers of tests/real"]
async fn apollo_server_answers_200_to_a_dead_token_if_a_resolver_throws() {
    let call = post("APOLLO_RESOLVER_URL", "/", &json!({ "query": "{ ok }" }));
    for flaw in [Flaw::Expired, Flaw::OldKey] {
        let refused = Sdk::with(flaw, NO_RULE).passes_on(&call, StatusCode::OK).await;
        assert!(text(refused).await.contains(r#""code":"UNAUTHENTICATED""#));
    }
}

#[tokio::test]
#[ignore = "needs the servers of tests/real"]
async fn envoy_and_docker_registry_accept_a_token_for_a_minute_after_it_expired() {
    for call in [get("ENVOY_URL", "/items"), get("DOCKER_REGISTRY_URL", "/v2/")] {
        Sdk::with(Flaw::ExpiredJustNow, NO_RULE).passes_on(&call, StatusCode::OK).await;
        Sdk::with(Flaw::Expired, NO_RULE).retries(&call, StatusCode::OK).await;
    }
}

/// RFC 9110 §11.1 says that the case of a scheme does not matter. The layer writes `Bearer`, which all accept.
#[tokio::test]
#[ignore = "needs the servers of tests/real"]
async fn some_servers_refuse_the_scheme_in_lower_case() {
    let lower_case: Rule = |layer| layer.scheme("bearer").unwrap();
    for (call, refused) in [
        (get("FASTAPI_URL", "/jwt-bearer/items"), None),
        (get("KEYCLOAK_CONNECT_URL", "/items"), None),
        (get("DOCKER_REGISTRY_URL", "/v2/"), None),
        (get("FLASK_URL", "/items"), Some(StatusCode::UNAUTHORIZED)),
        (get("DJANGO_URL", "/token-first/items"), Some(StatusCode::UNAUTHORIZED)),
        (get("ENVOY_URL", "/items"), Some(StatusCode::UNAUTHORIZED)),
    ] {
        assert_eq!(Sdk::with(Flaw::None, NO_RULE).call(&call).await.status(), StatusCode::OK, "{call:?}");
        let status = Sdk::with(Flaw::None, lower_case).call(&call).await.status();
        assert_eq!(status, refused.unwrap_or(StatusCode::OK), "{call:?}");
    }
}
