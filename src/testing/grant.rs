//! The grants: which requests get a token, and which token.

use std::sync::Arc;

use crate::testing::assertion::{GRANT_TYPES, ID_JAG_TYPE, Signer, is_id_jag, verify};
use crate::testing::client::authenticate;
use crate::testing::issuer::State;
use crate::testing::request::TokenRequest;
use crate::testing::response::Refusal;
use crate::testing::settings::{ClientAuthentication, RefreshTokens, Settings};
use crate::testing::store::Session;

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";

/// The type of an assertion about a user for another issuer.
pub(super) const ID_JAG: &str = "urn:ietf:params:oauth:token-type:id-jag";

/// What a token request is granted.
pub(super) struct Grant {
    pub(super) session: Arc<Session>,
    /// The scope of the access token. A refresh can narrow it.
    pub(super) scope: String,
    /// Whether the response contains a refresh token.
    pub(super) refreshable: bool,
    /// The `issued_token_type` of the response, if it has one.
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
    settings: &Settings,
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
        Some(_) => Err(Refusal::new("unsupported_grant_type", "This issuer does not support this grant_type")),
        None => Err(Refusal::new("invalid_request", "The grant_type is missing")),
    }
}

/// The password grant (RFC 6749 §4.3).
fn password(settings: &Settings, state: &State, request: &TokenRequest) -> Result<Grant, Refusal> {
    let (Some(name), Some(password)) = (request.param("username"), request.param("password")) else {
        return Err(Refusal::new("invalid_request", "The username or the password is missing"));
    };
    if state.users.get(name).is_none_or(|right| right != password) {
        return Err(Refusal::new("invalid_grant", "Unknown user or wrong password"));
    }
    let scope = granted(request.param("scope"), &settings.scope)?;
    let refreshable = settings.refresh_tokens != RefreshTokens::None;
    Ok(Grant::new(name, scope, request, refreshable))
}

/// The refresh token grant (RFC 6749 §6).
///
/// It checks the scope first, so that a request refused for its scope does not use up the token.
fn refresh(settings: &Settings, state: &mut State, request: &TokenRequest) -> Result<Grant, Refusal> {
    const INVALID: Refusal = Refusal::new("invalid_grant", "Unknown, used or revoked refresh token");

    let token =
        request.param("refresh_token").ok_or(Refusal::new("invalid_request", "The refresh_token is missing"))?;
    let session = state.store.session(token).ok_or(INVALID)?;
    let scope = granted(request.param("scope"), &session.scope)?;
    let refreshable = settings.refresh_tokens == RefreshTokens::Rotating;
    if refreshable && !state.store.consume(token) {
        return Err(INVALID);
    }
    Ok(Grant { session, scope, refreshable, issued_type: None })
}

/// The client credentials grant (RFC 6749 §4.4), for confidential clients only and without a refresh token.
fn client_credentials(settings: &Settings, request: &TokenRequest) -> Result<Grant, Refusal> {
    if settings.client_authentication == ClientAuthentication::None {
        return Err(Refusal::new("unauthorized_client", "A public client must not use client credentials"));
    }
    let scope = granted(request.param("scope"), &settings.scope)?;
    Ok(Grant::new(&settings.client_id, scope, request, false))
}

/// The JWT bearer grant (RFC 7523 §2.1). The client signs an assertion about a user with one of its keys, or the issuer that is
/// trusted has signed it.
fn jwt_bearer(settings: &Settings, state: &mut State, now: i64, request: &TokenRequest) -> Result<Grant, Refusal> {
    let assertion = request.param("assertion").ok_or(Refusal::new("invalid_request", "The assertion is missing"))?;
    let (signer, types) =
        if is_id_jag(assertion) { (Signer::Provider, &[ID_JAG_TYPE][..]) } else { (Signer::Key, GRANT_TYPES) };
    let claims = verify(assertion, signer, types, settings, &mut state.used_assertions, now, request)
        .map_err(|why| Refusal::new("invalid_grant", why))?;
    let user = claims["sub"].as_str().filter(|sub| state.users.contains_key(*sub));
    let user = user.ok_or(Refusal::new("invalid_grant", "Unknown user"))?;
    let limit = claims["scope"].as_str().filter(|_| signer == Signer::Provider).unwrap_or(&settings.scope);
    let scope = granted(request.param("scope"), limit)?;
    Ok(Grant::new(user, scope, request, settings.refresh_tokens != RefreshTokens::None))
}

/// Token exchange (RFC 8693 §2.1).
///
/// It exchanges an access token of this issuer for another one of the same user, with the same scope or less, or for an ID-JAG. For
/// that, the access token takes the place of an ID token.
fn exchange(settings: &Settings, state: &State, request: &TokenRequest) -> Result<Grant, Refusal> {
    let requested = request.param("requested_token_type").unwrap_or(ACCESS_TOKEN);
    let accepted = if requested == ID_JAG { ID_TOKEN } else { ACCESS_TOKEN };
    let of_type = |token: &str, kind: &str| match (request.param(token), request.param(kind)) {
        (Some(token), Some(kind)) if kind == accepted || kind == ACCESS_TOKEN => {
            state.store.unrevoked(token).map(Some).ok_or("Unknown or revoked token")
        }
        (None, None) => Ok(None),
        _ => Err("A token has no type, or a type that is not accepted"),
    };
    let invalid = |why| Refusal::new("invalid_request", why);
    let subject = of_type("subject_token", "subject_token_type").map_err(invalid)?;
    let (user, limit) = subject.ok_or(invalid("The subject_token is missing"))?;
    of_type("actor_token", "actor_token_type").map_err(invalid)?;
    let issued_type = [ACCESS_TOKEN, ID_JAG].into_iter().find(|kind| *kind == requested);
    if issued_type.is_none() {
        return Err(invalid("The requested_token_type is not access_token or id-jag"));
    }
    let scope = granted(request.param("scope"), &limit)?;
    if requested == ID_JAG && request.param("audience").is_none() {
        return Err(invalid("The audience is missing"));
    }
    let refreshable = settings.refresh_tokens != RefreshTokens::None;
    Ok(Grant { issued_type, ..Grant::new(&user, scope, request, refreshable) })
}

/// Returns the requested scope if it is within the limit, or the whole limit if none is requested (RFC 6749 §3.3).
fn granted(requested: Option<&str>, limit: &str) -> Result<String, Refusal> {
    let Some(requested) = requested else {
        return Ok(limit.to_owned());
    };
    if requested.split(' ').all(|one| limit.split(' ').any(|allowed| one == allowed)) {
        Ok(requested.to_owned())
    } else {
        Err(Refusal::new("invalid_scope", "The scope exceeds what this client or user may have"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use crate::testing::issuer::Issuer;
    use crate::testing::settings::RefreshTokens;
    use crate::testing::test_client::{PASSWORD, bearer_headers, json_body, post_form};
    use crate::testing::token_status::TokenStatus;

    async fn token(issuer: &Issuer, form: &str) -> Value {
        json_body(post_form(issuer, "/token", form).await).await
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
            let response = post_form(&issuer, "/token", form).await;
            assert_eq!(response.status(), 400, "{form}");
            assert_eq!(response.headers()["cache-control"], "no-store");
            assert_eq!(json_body(response).await["error"], error, "{form}");
        }
    }

    #[tokio::test]
    async fn the_requested_scope_is_granted() {
        let issuer = Issuer::new();
        let body = token(&issuer, "grant_type=client_credentials&scope=user/Patient.rs").await;
        assert_eq!(body["scope"], "user/Patient.rs");
        assert_eq!(body.get("refresh_token"), None);
        let (scope, subject) = ("user/Patient.rs".to_owned(), "client1".to_owned());
        assert_eq!(issuer.check(&bearer_headers(&body)), TokenStatus::Accepted { scope, subject });
    }

    #[tokio::test]
    async fn a_kept_refresh_token_works_twice_and_a_refresh_returns_none() {
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
        assert!(issuer.check(&bearer_headers(&second)).is_accepted());

        assert_eq!(refresh(&issuer, &first).await["error"], "invalid_grant");
        assert_eq!(issuer.check(&bearer_headers(&second)), TokenStatus::Revoked);
        assert_eq!(refresh(&issuer, &second).await["error"], "invalid_grant");
        assert!(issuer.check(&bearer_headers(&token(&issuer, PASSWORD).await)).is_accepted());
    }

    #[tokio::test]
    async fn a_refresh_may_narrow_the_scope_but_not_widen_it() {
        let issuer = Issuer::builder().refresh_tokens(RefreshTokens::Rotating).build();
        let first = token(&issuer, &format!("{PASSWORD}&scope=user/Patient.rs")).await;
        let refresh_token = first["refresh_token"].as_str().unwrap();
        let form = format!("grant_type=refresh_token&refresh_token={refresh_token}&scope=user/Observation.rs");
        assert_eq!(token(&issuer, &form).await["error"], "invalid_scope");
        assert_eq!(refresh(&issuer, &first).await["scope"], "user/Patient.rs");
    }
}
