//! Rejections that are not a 401 by default, and missing scopes that look like one.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header::LOCATION};
use http_body_util::Full;
use tokio::time::advance;
use tower::{Layer, ServiceExt, service_fn};
use tower_bearer::{
    AccessToken, BearerAuthLayer, Error, InsufficientScope, NotRetried, Outcome, Reason, Rejection, TokenSource,
    Verdict,
    replay::{CloneBody, NoReplay, Replay},
};

use crate::scripted::{Answer, Api, Numbered, Strict, URI, World, challenge, get, outcome, send, status, world};
use crate::support;

/// A source of `t1`, `t2` and so on, that were granted this scope.
#[derive(Clone, Default)]
struct Granting {
    scope: Option<&'static str>,
    asked: Arc<AtomicU64>,
}

impl Granting {
    fn scope(scope: impl Into<Option<&'static str>>) -> Self {
        Self { scope: scope.into(), asked: Arc::default() }
    }
}

impl TokenSource for Granting {
    async fn obtain(&self, _why: Reason) -> Result<AccessToken, Error> {
        let number = self.asked.fetch_add(1, SeqCst) + 1;
        let token = AccessToken::new(format!("t{number}"))?;
        Ok(self.scope.map_or(token.clone(), |scope| token.with_scope(scope)))
    }
}

fn rejecting(status: u16) -> Rejection {
    Rejection::status(StatusCode::from_u16(status).unwrap())
}

fn redirect(location: &str) -> Answer {
    let answer = Response::builder().status(302).header(LOCATION, location);
    Answer::Say(answer.body(Full::default()).unwrap())
}

fn granted(answer: &Response<Full<Bytes>>) -> Option<&InsufficientScope> {
    answer.extensions().get()
}

#[tokio::test]
async fn a_dead_token_that_the_api_tells_by_another_status_is_renewed_and_the_request_sent_again() {
    for code in [400, 403, 419, 422, 440, 498, 500] {
        let World { api, source, layer } = world([status(200), status(code)]);
        let mut service = layer.reject_on(rejecting(code)).layer(Strict::new(api.clone()));
        send(&mut service, get(URI)).await.unwrap();
        let answer = send(&mut service, get(URI)).await.unwrap();
        assert!(answer.status() == 200 && outcome(&answer).retried(), "{code}");
        assert_eq!(api.take_authorizations(), ["Bearer t1", "Bearer t1", "Bearer t2"]);
        assert_eq!(source.asked(), 2);
    }
}

#[tokio::test]
async fn a_redirect_to_the_login_page_is_a_rejection_and_another_redirect_is_not() {
    let World { api, source, layer } = world([redirect("/files/1"), redirect("/hub/login?next=%2Ffiles")]);
    let mut service = layer.reject_on(Rejection::redirect_to("/login")).layer(Strict::new(api.clone()));
    assert_eq!(send(&mut service, get(URI)).await.unwrap().status(), 302);
    let answer = send(&mut service, get(URI)).await.unwrap();
    assert!(answer.status() == 200 && outcome(&answer).retried());
    assert_eq!(source.asked(), 2);
}

#[tokio::test]
async fn invalid_token_is_a_rejection_with_whatever_status_if_that_is_set() {
    for code in [400, 403] {
        let World { api, layer, .. } = world([status(code), challenge(code, "Bearer error=\"invalid_token\"")]);
        let mut service = layer.reject_on(Rejection::invalid_token()).layer(Strict::new(api.clone()));
        assert_eq!(send(&mut service, get(URI)).await.unwrap().status(), code);
        assert_eq!(send(&mut service, get(URI)).await.unwrap().status(), 200);
        assert_eq!(api.take_authorizations(), ["Bearer t1", "Bearer t1", "Bearer t2"]);
    }
}

#[tokio::test]
async fn rules_build_on_each_other() {
    let grpc = Response::builder().header("grpc-status", 16).body(Full::default()).unwrap();
    for custom_first in [true, false] {
        let answers = [Answer::Say(grpc.clone()), status(403), redirect("/login"), status(401), status(418)];
        let World { api, source, layer } = world(answers.into_iter().flat_map(|answer| [answer, status(200)]));
        let layer = if custom_first { layer.judge_by(Verdict::grpc) } else { layer };
        let layer = layer.reject_on(rejecting(403)).reject_on(Rejection::redirect_to("login"));
        let layer = if custom_first { layer } else { layer.judge_by(Verdict::grpc) };
        let mut service = layer.layer(Strict::new(api));
        for _ in 0..4 {
            assert!(outcome(&send(&mut service, get(URI)).await.unwrap()).retried());
        }
        assert_eq!(send(&mut service, get(URI)).await.unwrap().status(), 418);
        assert_eq!(source.asked(), 5);
    }
}

/// RFC 6750 §3.1, RFC 9470 §3.
#[tokio::test]
async fn an_api_that_says_what_is_missing_does_not_reject_under_any_rule() {
    for code in [400, 403, 422] {
        for says in ["Bearer error=insufficient_scope", "Bearer error=insufficient_user_authentication"] {
            let World { api, source, layer } = world([challenge(code, says)]);
            let layer = layer.reject_on(rejecting(code)).reject_on(Rejection::invalid_token());
            let answer = send(&mut layer.layer(Strict::new(api)), get(URI)).await.unwrap();
            assert!(!outcome(&answer).retried() && outcome(&answer).not_retried().is_some(), "{says}");
            assert_eq!(source.asked(), 1);
        }
    }
}

/// RFC 9110 §9.2.2: the server may have carried out the request before it failed.
#[tokio::test]
async fn after_a_server_error_only_an_idempotent_request_is_sent_again_and_the_token_is_renewed_for_both() {
    for (method, retried) in [
        (Method::GET, true),
        (Method::PUT, true),
        (Method::DELETE, true),
        (Method::POST, false),
        (Method::PATCH, false),
    ] {
        let World { api, source, layer } = world([status(500)]);
        let mut service = layer.reject_on(rejecting(500)).layer(Strict::new(api.clone()));
        let request = Request::builder().method(&method).uri(URI).body(Full::from("text")).unwrap();
        let answer = send(&mut service, request).await.unwrap();
        assert_eq!(outcome(&answer).retried(), retried, "{method}");
        let is_held_back = matches!(outcome(&answer).not_retried(), Some(NotRetried::NotIdempotent));
        assert_eq!((answer.status() == 500, is_held_back), (!retried, !retried), "{method}");
        send(&mut service, get(URI)).await.unwrap();
        assert_eq!((source.asked(), api.take_authorizations().pop().as_deref()), (2, Some("Bearer t2")));
    }
}

/// Sends a hundred requests each to an endpoint that the token may not use and to one that it may. Returns how often the
/// source was asked.
async fn tokens_for_a_missing_permission(code: u16, layer: impl Fn(BearerAuthLayer) -> BearerAuthLayer) -> u64 {
    let source = Numbered::default();
    let api = service_fn(move |request: support::Ask| async move {
        let code = if request.uri().path() == "/forbidden" { code } else { 200 };
        Ok::<_, Infallible>(Response::builder().status(code).body(Full::<Bytes>::default()).unwrap())
    });
    let service = layer(BearerAuthLayer::new(source.clone())).layer(api);
    for _ in 0..100 {
        for (path, expected) in [("/forbidden", code), ("/", 200)] {
            assert_eq!(service.clone().oneshot(support::ask(path)).await.unwrap().status(), expected);
            advance(Duration::from_millis(50)).await;
        }
    }
    source.asked()
}

#[tokio::test(start_paused = true)]
async fn a_missing_permission_under_a_rule_costs_no_more_than_a_401_of_the_same_endpoint() {
    let by_401 = tokens_for_a_missing_permission(401, |layer| layer).await;
    assert!(by_401 <= 6, "{by_401}");
    for code in [400, 403, 422, 500] {
        assert_eq!(tokens_for_a_missing_permission(code, |layer| layer).await, 1, "without a rule");
        let by_rule = tokens_for_a_missing_permission(code, |layer| layer.reject_on(rejecting(code))).await;
        assert_eq!(by_rule, by_401, "{code}");
    }
}

/// Sends a request with a token that was granted this scope, to an API that rejects the first one in this way. Returns whether
/// the request was sent again, and what the answer says.
async fn answered(scope: Option<&'static str>, code: u16, says: &'static str) -> (bool, Option<InsufficientScope>) {
    let source = Granting::scope(scope);
    let layer = BearerAuthLayer::new(source.clone()).reject_on(rejecting(403));
    let answer = send(&mut layer.layer(Strict::new(Api::answering([challenge(code, says)]))), get(URI)).await.unwrap();
    let retried = answer.extensions().get().is_some_and(Outcome::retried);
    assert_eq!(source.asked.load(SeqCst), if retried { 2 } else { 1 });
    let is_insufficient = matches!(outcome(&answer).not_retried(), Some(NotRetried::InsufficientScope));
    assert_eq!((is_insufficient, answer.status() == 200), (!retried, retried));
    (retried, granted(&answer).cloned())
}

/// `FastAPI` documents such an answer for a missing scope, and gives the same one for an expired token.
#[tokio::test]
async fn a_401_that_names_a_scope_is_an_insufficiency_if_the_token_is_known_to_lack_it() {
    for code in [401, 403] {
        for says in
            ["Bearer scope=\"items\"", "Basic realm=x, bearer Scope=items", "Bearer realm=\"x\" scope=\"items me\""]
        {
            let (retried, missing) = answered(Some("me"), code, says).await;
            let missing = missing.unwrap();
            assert!(!retried && missing.required().unwrap().starts_with("items"), "{says}");
            assert_eq!(missing.missing().unwrap().to_string(), "items", "{says}");
            assert_eq!(missing.granted().unwrap().to_string(), "me", "{says}");
        }
    }
}

#[tokio::test]
async fn a_401_that_names_a_scope_is_a_rejection_unless_the_token_is_known_to_lack_it() {
    const ITEMS: &str = "Bearer scope=\"items\"";
    for (scope, says) in [
        (Some("items me"), ITEMS),
        (None, ITEMS),
        (Some(""), ITEMS),
        (Some("me"), "Bearer"),
        (Some("me"), "Bearer scope=\"\""),
        (Some("me"), "Basic scope=items"),
        (Some("me"), "Bearer scope=\"items\", error=\"invalid_token\""),
        (Some("me"), "Bearer scope=\"items\" error=\"invalid_token\""),
        (Some("patient/*.read"), "Bearer scope=\"patient/Observation.rs\""),
    ] {
        for code in [401, 403] {
            assert_eq!(answered(scope, code, says).await, (true, None), "{scope:?} {says}");
        }
    }
}

/// Sends `requests` to an API that answers the first two attempts, without and with a scope that the token lacks, and rejects
/// the third. Returns the last answer, and how often the source was asked.
async fn after_a_missing_scope<R>(requests: u32, replay: R) -> (Response<Full<Bytes>>, u64)
where
    R: Replay<Full<Bytes>> + Clone,
{
    let (source, bare) = (Granting::scope("me"), || challenge(401, "Bearer"));
    let api = Api::answering([bare(), challenge(401, "Bearer scope=\"items\""), bare()]);
    let mut service = BearerAuthLayer::new(source.clone()).replay(replay).layer(Strict::new(api));
    let mut last = Response::default();
    for _ in 0..requests {
        last = send(&mut service, get(URI)).await.unwrap();
        advance(Duration::from_millis(10)).await;
    }
    (last, source.asked.load(SeqCst))
}

/// The token may be dead as well: then every endpoint that names a scope gives this answer.
#[tokio::test(start_paused = true)]
async fn an_answer_that_only_shows_a_missing_scope_does_not_prove_the_token() {
    let (last, asked) = after_a_missing_scope(2, CloneBody).await;
    assert!(matches!(outcome(&last).not_retried(), Some(NotRetried::BudgetSpent)) && asked == 2, "{asked}");
    let (last, asked) = after_a_missing_scope(3, NoReplay).await;
    assert!(last.status() == 401 && asked == 2, "{asked}");
}

#[tokio::test]
async fn a_challenge_that_no_grammar_allows_is_understood() {
    let world = world([challenge(403, "Bearer scope=\"admin\" error=\"insufficient_scope\"")]);
    let answer = world.get().await;
    assert_eq!(granted(&answer).unwrap().required(), Some("admin"));
    assert!(matches!(outcome(&answer).not_retried(), Some(NotRetried::InsufficientScope)));

    let insufficient = "error=insufficient_scope,error_description=Not enough";
    world.api.will(challenge(403, insufficient));
    assert!(granted(&world.get().await).is_some());
    world.api.will(challenge(401, insufficient));
    assert!(granted(&world.get().await).is_some());
    assert_eq!(world.source.asked(), 1);

    world.api.will(challenge(401, "error=invalid_request,error_description=Invalid request"));
    assert!(outcome(&world.get().await).retried());
}

/// What the layer concludes from an answer to a token that was granted `read`: "accepted", "rejected" or "insufficient".
async fn concluded(rule: Option<Rejection>, status: u16, says: &'static str) -> &'static str {
    let layer = BearerAuthLayer::new(Granting::scope("read"));
    let layer = rule.into_iter().fold(layer, BearerAuthLayer::reject_on);
    let api = Api::answering([challenge(200, ""), challenge(status, says)]);
    let mut service = layer.layer(Strict::new(api));
    send(&mut service, get(URI)).await.unwrap();
    let answer = send(&mut service, get(URI)).await.unwrap();
    match answer.extensions().get::<Outcome>() {
        None => "accepted",
        Some(outcome) if outcome.retried() => "rejected",
        Some(_) => "insufficient",
    }
}

#[tokio::test]
async fn the_answers_of_real_servers_are_understood() {
    let (invalid, none) = (Rejection::invalid_token, None::<Rejection>);
    for (server, status, says, rule, expected) in [
        ("keycloak-connect 26.1.1, dead", 403, "", none.clone(), "accepted"),
        ("keycloak-connect 26.1.1, dead", 403, "", Some(rejecting(403)), "rejected"),
        ("flask-jwt-extended 4.7.4, another key", 422, "", none.clone(), "accepted"),
        ("flask-jwt-extended 4.7.4, another key", 422, "", Some(rejecting(422)), "rejected"),
        ("axum 0.8.9, examples/jwt, dead", 400, "", Some(rejecting(400)), "rejected"),
        ("passport-http-bearer 1.0.1, done(err)", 500, "", Some(rejecting(500)), "rejected"),
        ("FastAPI 0.165.0, expired", 401, "Bearer", none.clone(), "rejected"),
        ("FastAPI 0.165.0, scope missing", 401, "Bearer scope=\"items\"", none.clone(), "insufficient"),
        ("FastAPI 0.165.0, expired, scope there", 401, "Bearer scope=\"read\"", none.clone(), "rejected"),
        (
            "docker-registry 2.8.2, expired",
            401,
            "Bearer realm=\"http://127.0.0.1/t\",service=\"reg\",scope=\"repository:foo:pull\",error=\"invalid_token\"",
            none.clone(),
            "rejected",
        ),
        (
            "docker-registry 2.8.2, no right to pull",
            401,
            "Bearer realm=\"http://127.0.0.1/t\",service=\"reg\",scope=\"repository:foo:pull\",error=\"insufficient_scope\"",
            none.clone(),
            "insufficient",
        ),
        ("actix-web-httpauth 0.8.3", 401, "Bearer scope=\"admin\" error=\"invalid_token\"", none.clone(), "rejected"),
        (
            "actix-web-httpauth 0.8.3",
            403,
            "Bearer scope=\"admin\" error=\"insufficient_scope\"",
            none.clone(),
            "insufficient",
        ),
        ("RabbitMQ 3.10.8, dead", 401, "Basic realm=\"RabbitMQ Management\"", none.clone(), "rejected"),
        ("RabbitMQ 3.10.8, not an administrator", 401, "", none.clone(), "rejected"),
        (
            "LemonLDAP::NG 2.16.1, dead",
            401,
            "error=invalid_request,error_description=Invalid request",
            none.clone(),
            "rejected",
        ),
        (
            "Envoy 1.40.0, audience",
            403,
            "Bearer realm=\"http://a/ok\", error=\"invalid_token\"",
            none.clone(),
            "accepted",
        ),
        (
            "Envoy 1.40.0, audience",
            403,
            "Bearer realm=\"http://a/ok\", error=\"invalid_token\"",
            Some(invalid()),
            "rejected",
        ),
        ("Envoy 1.40.0, RBAC", 403, "", Some(invalid()), "accepted"),
        (
            "Flask-HTTPAuth 4.8.1, role missing",
            403,
            "Bearer realm=\"Authentication Required\"",
            none.clone(),
            "accepted",
        ),
        (
            "Authlib 1.9.10, no token",
            401,
            "bearer error=\"missing_authorization\", error_description=\"x\"",
            none,
            "rejected",
        ),
    ] {
        assert_eq!(concluded(rule, status, says).await, expected, "{server}: {status} {says}");
    }
}
