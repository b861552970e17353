//! What a test can command.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::gate::Barrier;
use super::key::Key;
use super::script::Step;
use super::{Failure, Gate, Issuer};

/// What it does on command.
impl Issuer {
    /// Fails the next `n` token requests. Calls queue up, together with scripted answers.
    pub fn fail_next(&self, n: u64, failure: Failure) {
        self.state().script.push(n, Step::Fail(failure));
    }

    /// Fails every token request for which nothing else is scripted, until [`clear_failures`](Self::clear_failures).
    pub fn fail_until_cleared(&self, failure: Failure) {
        self.state().script.stand(failure);
    }

    /// Forgets all failures still to come; scripted answers stay.
    pub fn clear_failures(&self) {
        self.state().script.clear_failures();
    }

    /// Answers the next token request with 200 and exactly this JSON, whatever it asks.
    ///
    /// A token invented here is unknown to [`check`](Self::check); [`amend_next`](Self::amend_next) keeps the real one.
    pub fn answer_next(&self, json: Value) {
        self.state().script.push(1, Step::Answer(json));
    }

    /// Answers the next token request by the rules, and if that yields a token, with these members put in place of the
    /// answer's own: `json!({"expires_in": "3600", "scope": null})` says the lifetime as a string and no scope.
    pub fn amend_next(&self, members: Value) {
        self.state().script.push(1, Step::Amend(members));
    }

    /// Lets each token request wait this long, on tokio's clock, before it is decided. Zero ends it.
    pub fn delay(&self, delay: Duration) {
        self.state().delay = delay;
    }

    /// Holds token requests that arrive from now on, until the gate is released or dropped.
    ///
    /// A second gate takes over later arrivals; the first keeps those that it holds.
    pub fn hold(&self) -> Gate {
        let (gate, barrier) = Barrier::closed();
        self.state().gate = Some(barrier);
        gate
    }

    /// While on, answers with the subject's newest access token again, byte for byte, even if it is expired or revoked.
    pub fn return_same_token(&self, on: bool) {
        self.state().same_token = on;
    }

    /// Ends every session: all access and refresh tokens issued so far are revoked.
    pub fn revoke_all(&self) {
        self.state().store.end_all();
    }

    /// Revokes the newest access token and nothing else.
    pub fn revoke_current(&self) {
        self.state().store.revoke_newest();
    }

    /// Signs with a new key from now on. JWTs signed before are no longer accepted.
    pub fn rotate_keys(&self) {
        let key = Arc::new(Key::generate());
        self.state().key = key;
    }

    /// Changes a user's password, or adds a user. Tokens issued before stay good.
    pub fn set_password(&self, user: impl Into<String>, password: impl Into<String>) {
        let (user, password) = (user.into(), password.into());
        self.state().users.insert(user, password);
    }

    /// Puts the clock that `iat`, `exp` and `Date` show this many seconds ahead of the truth, or behind.
    ///
    /// How long a token is accepted does not change.
    pub fn set_clock_skew(&self, seconds: i64) {
        self.state().clock_skew = seconds;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::ask::{PASSWORD, ask, bearer, json_body};
    use crate::testing::{RefreshTokens, Standing, TokenFormat};

    async fn token(issuer: &Issuer) -> Value {
        json_body(ask(issuer, "/token", PASSWORD).await).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_expires_when_its_lifetime_is_over() {
        for format in [TokenFormat::Jwt, TokenFormat::Opaque] {
            let issuer = Issuer::builder().token_format(format).build();
            let headers = bearer(&token(&issuer).await);
            tokio::time::advance(Duration::from_millis(3_599_999)).await;
            assert!(issuer.check(&headers).is_accepted());
            tokio::time::advance(Duration::from_millis(1)).await;
            assert_eq!(issuer.check(&headers), Standing::Expired);
        }
    }

    #[tokio::test]
    async fn revoking_the_current_token_leaves_the_others() {
        let issuer = Issuer::new();
        let (old, new) = (bearer(&token(&issuer).await), bearer(&token(&issuer).await));
        issuer.revoke_current();
        assert!(issuer.check(&old).is_accepted());
        assert_eq!(issuer.check(&new), Standing::Revoked);
        issuer.revoke_all();
        assert_eq!(issuer.check(&old), Standing::Revoked);
    }

    #[tokio::test]
    async fn revoking_all_revokes_refresh_tokens_too() {
        let issuer = Issuer::builder().refresh_tokens(RefreshTokens::Kept).build();
        let refresh = token(&issuer).await["refresh_token"].as_str().unwrap().to_owned();
        issuer.revoke_all();
        let form = format!("grant_type=refresh_token&refresh_token={refresh}");
        assert_eq!(ask(&issuer, "/token", &form).await.status(), 400);
    }

    #[tokio::test]
    async fn rotated_keys_invalidate_jwts_and_only_these() {
        for (format, standing) in [(TokenFormat::Jwt, false), (TokenFormat::Opaque, true)] {
            let issuer = Issuer::builder().token_format(format).build();
            let headers = bearer(&token(&issuer).await);
            issuer.rotate_keys();
            assert_eq!(issuer.check(&headers).is_accepted(), standing);
            assert!(issuer.check(&bearer(&token(&issuer).await)).is_accepted());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_delay_passes_on_tokio_time() {
        let issuer = Issuer::new();
        issuer.delay(Duration::from_secs(5));
        let start = tokio::time::Instant::now();
        token(&issuer).await;
        assert_eq!(start.elapsed(), Duration::from_secs(5));
    }

    #[tokio::test]
    async fn a_changed_password_is_the_one_that_counts() {
        let issuer = Issuer::new();
        issuer.set_password("user1", "new");
        assert_eq!(token(&issuer).await["error"], "invalid_grant");
        issuer.set_password("user1", "user-password");
        assert!(token(&issuer).await["access_token"].is_string());
    }
}
