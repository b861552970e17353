//! The grants: who gets which token.

use std::sync::Arc;

use super::answer::Refusal;
use super::assertion::{Signer, verify};
use super::client::authenticate;
use super::issuer::State;
use super::store::Session;
use super::{ClientAuthentication, IssuerBuilder, RefreshTokens, TokenRequest};

/// What a request has earned.
pub(super) struct Grant {
    pub(super) session: Arc<Session>,
    /// Of the access token; a refresh may narrow it.
    pub(super) scope: String,
    /// Whether a refresh token comes with it.
    pub(super) refreshable: bool,
    /// What the answer says that it is, if it says so.
    pub(super) issued_type: Option<&'static str>,
}

impl Grant {
    fn new(subject: &str, scope: String, request: &TokenRequest, refreshable: bool) -> Self {
        let audience = request.values("resource").chain(request.values("audience")).map(str::to_owned).collect();
        Self {
            session: Arc::new(Session::new(subject, scope.clone(), audience)),
            scope,
            refreshable,
            issued_type: None,
        }
    }
}

/// Decides on a token request by the rules.
pub(super) fn decide(
    settings: &IssuerBuilder,
    state: &mut State,
    now: i64,
    request: &TokenRequest,
) -> Result<Grant, Refusal> {
    if let Some(defect) = request.defect() {
        return Err(Refusal::new("invalid_request", defect));
    }
    authenticate(settings, state, now, request)?;
    match request.grant_type() {
        Some("password") => password(settings, state, request),
        Some("refresh_token") => refresh(settings, state, request),
        Some("client_credentials") => client_credentials(settings, request),
        Some("urn:ietf:params:oauth:grant-type:jwt-bearer") => jwt_bearer(settings, state, now, request),
        Some("urn:ietf:params:oauth:grant-type:token-exchange") => exchange(settings, state, request),
        Some(_) => Err(Refusal::new("unsupported_grant_type", "No such grant here")),
        None => Err(Refusal::new("invalid_request", "There is no grant_type")),
    }
}

/// RFC 6749 §4.3.
fn password(settings: &IssuerBuilder, state: &State, request: &TokenRequest) -> Result<Grant, Refusal> {
    let (Some(name), Some(password)) = (request.param("username"), request.param("password")) else {
        return Err(Refusal::new("invalid_request", "There is no username or no password"));
    };
    if state.users.get(name).is_none_or(|right| right != password) {
        return Err(Refusal::new("invalid_grant", "Unknown user or wrong password"));
    }
    let scope = granted(request.param("scope"), &settings.scope)?;
    let refreshable = settings.refresh_tokens != RefreshTokens::None;
    Ok(Grant::new(name, scope, request, refreshable))
}

/// RFC 6749 §6. The scope is looked at first, so that a request refused for it uses no token up.
fn refresh(settings: &IssuerBuilder, state: &mut State, request: &TokenRequest) -> Result<Grant, Refusal> {
    const INVALID: Refusal = Refusal::new("invalid_grant", "Unknown, used or revoked refresh token");

    let token = request.param("refresh_token").ok_or(Refusal::new("invalid_request", "There is no refresh_token"))?;
    let session = state.store.session(token).ok_or(INVALID)?;
    let scope = granted(request.param("scope"), &session.scope)?;
    let refreshable = settings.refresh_tokens == RefreshTokens::Rotating;
    if refreshable && !state.store.use_up(token) {
        return Err(INVALID);
    }
    Ok(Grant { session, scope, refreshable, issued_type: None })
}

/// RFC 6749 §4.4: for confidential clients only, and without a refresh token.
fn client_credentials(settings: &IssuerBuilder, request: &TokenRequest) -> Result<Grant, Refusal> {
    if settings.client_authentication == ClientAuthentication::None {
        return Err(Refusal::new("unauthorized_client", "A public client has no credentials"));
    }
    let scope = granted(request.param("scope"), &settings.scope)?;
    Ok(Grant::new(&settings.client_id, scope, request, false))
}

/// RFC 7523 §2.1: an assertion that the client signs with one of its keys, about a user.
fn jwt_bearer(settings: &IssuerBuilder, state: &mut State, now: i64, request: &TokenRequest) -> Result<Grant, Refusal> {
    let assertion = request.param("assertion").ok_or(Refusal::new("invalid_request", "There is no assertion"))?;
    let claims = verify(assertion, Signer::Key, settings, &mut state.assertions, now, request)
        .map_err(|why| Refusal::new("invalid_grant", why))?;
    let user = claims["sub"].as_str().filter(|sub| state.users.contains_key(*sub));
    let user = user.ok_or(Refusal::new("invalid_grant", "Unknown user"))?;
    let scope = granted(request.param("scope"), &settings.scope)?;
    Ok(Grant::new(user, scope, request, settings.refresh_tokens != RefreshTokens::None))
}

/// RFC 8693 §2.1: an access token of this issuer for another one of the same user, for no more than that.
fn exchange(settings: &IssuerBuilder, state: &State, request: &TokenRequest) -> Result<Grant, Refusal> {
    const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

    let of_type = |token: &str, kind: &str| match (request.param(token), request.param(kind)) {
        (Some(token), Some(ACCESS_TOKEN)) => state.store.alive(token).map(Some).ok_or("Unknown token"),
        (None, None) => Ok(None),
        _ => Err("A token without its type, or of a type that is not taken here"),
    };
    let invalid = |why| Refusal::new("invalid_request", why);
    let subject = of_type("subject_token", "subject_token_type").map_err(invalid)?;
    let (user, limit) = subject.ok_or(invalid("There is no subject_token"))?;
    of_type("actor_token", "actor_token_type").map_err(invalid)?;
    if request.param("requested_token_type").is_some_and(|kind| kind != ACCESS_TOKEN) {
        return Err(invalid("Only access tokens are issued here"));
    }
    let scope = granted(request.param("scope"), &limit)?;
    let refreshable = settings.refresh_tokens != RefreshTokens::None;
    Ok(Grant { issued_type: Some(ACCESS_TOKEN), ..Grant::new(&user, scope, request, refreshable) })
}

/// What was asked for, if it is within the limit; all of the limit, if nothing was (RFC 6749 §3.3).
fn granted(asked: Option<&str>, limit: &str) -> Result<String, Refusal> {
    let Some(asked) = asked else {
        return Ok(limit.to_owned());
    };
    if asked.split(' ').all(|one| limit.split(' ').any(|allowed| one == allowed)) {
        Ok(asked.to_owned())
    } else {
        Err(Refusal::new("invalid_scope", "More than this client or user may have"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use crate::testing::ask::{PASSWORD, ask, bearer, json_body};
    use crate::testing::{Issuer, RefreshTokens, Standing};

    async fn token(issuer: &Issuer, form: &str) -> Value {
        json_body(ask(issuer, "/token", form).await).await
    }

    async fn refresh(issuer: &Issuer, before: &Value) -> Value {
        let refresh = before["refresh_token"].as_str().unwrap();
        token(issuer, &format!("grant_type=refresh_token&refresh_token={refresh}")).await
    }

    #[tokio::test]
    async fn each_wrong_request_has_its_own_error() {
        let issuer = Issuer::new();
        for (form, error) in [
            ("grant_type=password&username=user1&password=wrong", "invalid_grant"),
            ("grant_type=password&username=user1", "invalid_request"),
            ("grant_type=password&username=user1&password=", "invalid_request"),
            ("grant_type=password&grant_type=password", "invalid_request"),
            ("username=user1", "invalid_request"),
            ("grant_type=telepathy", "unsupported_grant_type"),
            ("grant_type=client_credentials&scope=all", "invalid_scope"),
            ("grant_type=client_credentials&scope=user/patient.rs", "invalid_scope"),
            ("grant_type=refresh_token&refresh_token=made-up", "invalid_grant"),
        ] {
            let response = ask(&issuer, "/token", form).await;
            assert_eq!(response.status(), 400, "{form}");
            assert_eq!(response.headers()["cache-control"], "no-store");
            assert_eq!(json_body(response).await["error"], error, "{form}");
        }
    }

    #[tokio::test]
    async fn the_scope_asked_for_is_the_one_granted() {
        let issuer = Issuer::new();
        let body = token(&issuer, "grant_type=client_credentials&scope=user/Patient.rs").await;
        assert_eq!(body["scope"], "user/Patient.rs");
        assert_eq!(body.get("refresh_token"), None);
        let (scope, subject) = ("user/Patient.rs".to_owned(), "client1".to_owned());
        assert_eq!(issuer.check(&bearer(&body)), Standing::Accepted { scope, subject });
    }

    #[tokio::test]
    async fn a_kept_refresh_token_works_again_and_is_not_repeated() {
        let issuer = Issuer::builder().refresh_tokens(RefreshTokens::Kept).build();
        let first = token(&issuer, PASSWORD).await;
        for _ in 0..2 {
            let next = refresh(&issuer, &first).await;
            assert_ne!(next["access_token"], first["access_token"]);
            assert_eq!(next.get("refresh_token"), None);
        }
    }

    #[tokio::test]
    async fn a_rotating_refresh_token_used_twice_ends_the_session() {
        let issuer = Issuer::builder().refresh_tokens(RefreshTokens::Rotating).build();
        let first = token(&issuer, PASSWORD).await;
        let second = refresh(&issuer, &first).await;
        assert!(issuer.check(&bearer(&second)).is_accepted());

        assert_eq!(refresh(&issuer, &first).await["error"], "invalid_grant");
        assert_eq!(issuer.check(&bearer(&second)), Standing::Revoked);
        assert_eq!(refresh(&issuer, &second).await["error"], "invalid_grant");
        assert!(issuer.check(&bearer(&token(&issuer, PASSWORD).await)).is_accepted());
    }

    #[tokio::test]
    async fn a_refresh_may_narrow_the_scope_and_not_widen_it() {
        let issuer = Issuer::builder().refresh_tokens(RefreshTokens::Rotating).build();
        let first = token(&issuer, &format!("{PASSWORD}&scope=user/Patient.rs")).await;
        let refresh_token = first["refresh_token"].as_str().unwrap();
        let form = format!("grant_type=refresh_token&refresh_token={refresh_token}&scope=user/Observation.rs");
        assert_eq!(token(&issuer, &form).await["error"], "invalid_scope");
        assert_eq!(refresh(&issuer, &first).await["scope"], "user/Patient.rs");
    }
}
