//! Issuing of tokens.

use serde_json::{Value, json};

use crate::testing::assertion::{ID_JAG_TYPE, ISSUER};
use crate::testing::clock::seconds;
use crate::testing::grant::{Grant, ID_JAG, decide};
use crate::testing::issuer::Issuer;
use crate::testing::key::random;
use crate::testing::request::TokenRequest;
use crate::testing::response::Refusal;
use crate::testing::settings::TokenFormat;
use crate::testing::store::AccessRecord;

/// How long an ID-JAG is valid, in seconds.
const ID_JAG_LIFETIME: i64 = 120;

impl Issuer {
    /// Decides on a token request, issues the token, and counts the outcome.
    pub(super) fn serve_token(&self, request: &TokenRequest) -> Result<Value, Refusal> {
        let decision = {
            let mut state = self.state();
            let now = self.clock().unix(state.clock_skew);
            decide(self.settings(), &mut state, now, request)
        };
        let answer = decision.map(|grant| self.issue(&grant));
        self.count_outcome(answer.is_ok());
        answer
    }

    fn issue(&self, grant: &Grant) -> Value {
        if grant.issued_type == Some(ID_JAG) {
            return self.id_jag(grant);
        }
        let (token, expires_in) = self.same_token(grant).unwrap_or_else(|| self.new_token(grant));
        let mut answer = json!({
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": expires_in,
            "scope": grant.scope,
        });
        if let Some(kind) = grant.issued_type {
            answer["issued_token_type"] = kind.into();
        }
        if grant.refreshable {
            let token = random(24);
            self.state().store.add_refresh(&token, grant.session.clone());
            answer["refresh_token"] = token.into();
        }
        answer
    }

    /// Issues an ID-JAG, which is not an access token (RFC 8693 §2.2.1).
    fn id_jag(&self, grant: &Grant) -> Value {
        let (key, skew) = {
            let state = self.state();
            (state.key.clone(), state.clock_skew)
        };
        let now = self.clock().unix(skew);
        let claims = json!({
            "iss": ISSUER,
            "sub": grant.session.subject,
            "aud": grant.session.audience,
            "client_id": self.settings().client_id,
            "scope": grant.scope,
            "iat": now,
            "exp": now.saturating_add(ID_JAG_LIFETIME),
            "jti": random(16),
        });
        json!({
            "access_token": key.sign_as(ID_JAG_TYPE, &claims),
            "issued_token_type": ID_JAG,
            "token_type": "N_A",
            "expires_in": ID_JAG_LIFETIME,
            "scope": grant.scope,
        })
    }

    /// Returns the newest token and its remaining lifetime, if `return_same_token` is set.
    fn same_token(&self, grant: &Grant) -> Option<(String, i64)> {
        let state = self.state();
        if !state.same_token {
            return None;
        }
        let (token, access) = state.store.newest_of(&grant.session.subject)?;
        let rest = access.expires.saturating_sub(self.clock().elapsed());
        Some((token.to_owned(), seconds(rest)))
    }

    /// Issues a new token. It signs without the lock, because signing is slow.
    fn new_token(&self, grant: &Grant) -> (String, i64) {
        let settings = self.settings();
        let (key, skew) = {
            let state = self.state();
            (state.key.clone(), state.clock_skew)
        };
        let lifetime = seconds(settings.lifetime);
        let (token, key) = match settings.token_format {
            TokenFormat::Opaque => (random(32), None),
            TokenFormat::Jwt => {
                let now = self.clock().unix(skew);
                let mut claims = json!({
                    "iss": ISSUER,
                    "sub": grant.session.subject,
                    "client_id": settings.client_id,
                    "scope": grant.scope,
                    "iat": now,
                    "exp": now.saturating_add(lifetime),
                    "jti": random(16),
                });
                match grant.session.audience.as_slice() {
                    [] => {}
                    [one] => claims["aud"] = one.as_str().into(),
                    several => claims["aud"] = several.into(),
                }
                (key.sign(&claims), Some(key.id().to_owned()))
            }
        };
        let access = AccessRecord {
            session: grant.session.clone(),
            scope: grant.scope.clone(),
            expires: self.clock().elapsed().saturating_add(settings.lifetime),
            key,
            revoked: false,
        };
        self.state().store.add_access(&token, access);
        (token, lifetime)
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;
    use crate::testing::test_client::{PASSWORD, json_body, post_form};

    async fn claims(issuer: &Issuer, form: &str) -> Value {
        let body = json_body(post_form(issuer, "/token", form).await).await;
        let payload = body["access_token"].as_str().unwrap().split('.').nth(1).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn two_tokens_of_the_same_instant_differ() {
        let issuer = Issuer::new();
        let (one, two) = (claims(&issuer, PASSWORD).await, claims(&issuer, PASSWORD).await);
        assert_eq!(one["iat"], two["iat"]);
        assert_ne!(one["jti"], two["jti"]);
    }

    #[tokio::test]
    async fn claims_match_the_grant() {
        let issuer = Issuer::new();
        let claims = claims(&issuer, &format!("{PASSWORD}&resource=https://api.test")).await;
        assert_eq!(claims["sub"], "user1");
        assert_eq!(claims["client_id"], "client1");
        assert_eq!(claims["aud"], "https://api.test");
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3600);
    }

    #[tokio::test(start_paused = true)]
    async fn a_skewed_clock_shows_in_the_token_and_the_date() {
        let issuer = Issuer::new();
        let right = claims(&issuer, PASSWORD).await["iat"].as_i64().unwrap();
        issuer.set_clock_skew(-600);
        assert_eq!(claims(&issuer, PASSWORD).await["iat"], right - 600);
        let response = post_form(&issuer, "/token", PASSWORD).await;
        let date = httpdate::parse_http_date(response.headers()["date"].to_str().unwrap()).unwrap();
        let date = date.duration_since(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(seconds(date), right - 600);
    }

    #[tokio::test(start_paused = true)]
    async fn a_repeated_token_has_its_remaining_lifetime() {
        let issuer = Issuer::new();
        let first = json_body(post_form(&issuer, "/token", PASSWORD).await).await;
        issuer.return_same_token(true);
        tokio::time::advance(std::time::Duration::from_secs(600)).await;
        let second = json_body(post_form(&issuer, "/token", PASSWORD).await).await;
        assert_eq!(second["access_token"], first["access_token"]);
        assert_eq!(second["expires_in"], 3000);
    }
}
