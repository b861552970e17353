//! The commands that a test gives the issuer.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::testing::failure::Failure;
use crate::testing::gate::{Barrier, Gate};
use crate::testing::issuer::Issuer;
use crate::testing::key::Key;
use crate::testing::script::Step;

/// The commands of a test.
impl Issuer {
    /// Fails the next `n` token requests.
    ///
    /// Calls are queued, in one order with [`answer_next`](Self::answer_next) and [`amend_next`](Self::amend_next).
    pub fn fail_next(&self, n: u64, failure: Failure) {
        self.state().script.push(n, Step::Fail(failure));
    }

    /// Fails each token request for which nothing else is scripted, until [`clear_failures`](Self::clear_failures).
    pub fn fail_until_cleared(&self, failure: Failure) {
        self.state().script.fail_until_cleared(failure);
    }

    /// Removes all scripted failures. Scripted responses stay.
    pub fn clear_failures(&self) {
        self.state().script.clear_failures();
    }

    /// Answers the next token request with 200 and exactly this JSON, whatever the request is.
    ///
    /// [`check`](Self::check) does not know a token from this JSON. Use [`amend_next`](Self::amend_next) to keep the issued
    /// token.
    ///
    /// # Panics
    /// When the value cannot be written as JSON.
    pub fn answer_next(&self, json: impl Serialize) {
        let json = serde_json::to_value(json).expect("the response is JSON");
        self.state().script.push(1, Step::Answer(json));
    }

    /// Answers the next token request by the rules and, if a token is issued, replaces these members of the response.
    ///
    /// For example, `json!({"expires_in": "3600", "scope": null})` sends the lifetime as a string and removes the scope.
    ///
    /// # Panics
    /// When the members cannot be written as JSON.
    pub fn amend_next(&self, members: impl Serialize) {
        let members = serde_json::to_value(members).expect("the members are JSON");
        self.state().script.push(1, Step::Amend(members));
    }

    /// Delays each token request by this duration of tokio's time before it is decided. Zero removes the delay.
    pub fn delay(&self, delay: Duration) {
        self.state().delay = delay;
    }

    /// Holds all token requests that arrive from now on, until the gate is released or dropped.
    ///
    /// A second gate holds the requests that arrive after it was made. The first one keeps the requests that it holds.
    pub fn hold(&self) -> Gate {
        let (gate, barrier) = Barrier::closed();
        self.state().gate = Some(barrier);
        gate
    }

    /// Sets whether the issuer returns the subject's newest access token again, even if it is expired or revoked.
    pub fn return_same_token(&self, on: bool) {
        self.state().same_token = on;
    }

    /// Sets whether the API on [loopback](Self::listen) sends its 401 before it reads the body. Default: `false`, it reads the
    /// whole body first.
    ///
    /// For tests of uploads: many servers reject a request as soon as its head has arrived, while the client still sends. After the
    /// 401, the API reads nothing for 100 ms. Then it reads and discards the rest, so that the 401 is not lost. An accepted
    /// request is read to its end in any case. The API in process, [`Issuer::api`], never reads a body.
    pub fn reject_before_reading(&self, on: bool) {
        self.state().rejects_before_reading = on;
    }

    /// Ends every session, which revokes all access tokens and refresh tokens issued so far.
    pub fn revoke_all(&self) {
        self.state().store.revoke_all();
    }

    /// Revokes the newest access token and nothing else.
    pub fn revoke_current(&self) {
        self.state().store.revoke_newest();
    }

    /// Replaces the signing key. JWTs signed with the old key are no longer accepted.
    pub fn rotate_keys(&self) {
        let key = Arc::new(Key::generate());
        self.state().key = key;
    }

    /// Changes a user's password, or adds a user. Tokens issued before stay valid.
    pub fn set_password(&self, user: impl Into<String>, password: impl Into<String>) {
        let (user, password) = (user.into(), password.into());
        self.state().users.insert(user, password);
    }

    /// Sets how many seconds the clock of `iat`, `exp` and `Date` is ahead of the correct time, or behind if negative.
    ///
    /// It does not change how long a token is accepted.
    pub fn set_clock_skew(&self, seconds: i64) {
        self.state().clock_skew = seconds;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::testing::settings::{RefreshTokens, TokenFormat};
    use crate::testing::test_client::{PASSWORD, bearer_headers, json_body, post_form};
    use crate::testing::token_status::TokenStatus;

    async fn token(issuer: &Issuer) -> Value {
        json_body(post_form(issuer, "/token", PASSWORD).await).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_expires_when_its_lifetime_is_over() {
        for format in [TokenFormat::Jwt, TokenFormat::Opaque] {
            let issuer = Issuer::builder().token_format(format).build();
            let headers = bearer_headers(&token(&issuer).await);
            tokio::time::advance(Duration::from_millis(3_599_999)).await;
            assert!(issuer.check(&headers).is_accepted());
            tokio::time::advance(Duration::from_millis(1)).await;
            assert_eq!(issuer.check(&headers), TokenStatus::Expired);
        }
    }

    #[tokio::test]
    async fn revoking_the_current_token_leaves_the_others() {
        let issuer = Issuer::new();
        let (old, new) = (bearer_headers(&token(&issuer).await), bearer_headers(&token(&issuer).await));
        issuer.revoke_current();
        assert!(issuer.check(&old).is_accepted());
        assert_eq!(issuer.check(&new), TokenStatus::Revoked);
        issuer.revoke_all();
        assert_eq!(issuer.check(&old), TokenStatus::Revoked);
    }

    #[tokio::test]
    async fn revoking_all_revokes_refresh_tokens_too() {
        let issuer = Issuer::builder().refresh_tokens(RefreshTokens::Kept).build();
        let refresh = token(&issuer).await["refresh_token"].as_str().unwrap().to_owned();
        issuer.revoke_all();
        let form = format!("grant_type=refresh_token&refresh_token={refresh}");
        assert_eq!(post_form(&issuer, "/token", &form).await.status(), 400);
    }

    #[tokio::test]
    async fn rotating_the_key_invalidates_jwts_but_not_opaque_tokens() {
        for (format, accepted) in [(TokenFormat::Jwt, false), (TokenFormat::Opaque, true)] {
            let issuer = Issuer::builder().token_format(format).build();
            let headers = bearer_headers(&token(&issuer).await);
            issuer.rotate_keys();
            assert_eq!(issuer.check(&headers).is_accepted(), accepted);
            assert!(issuer.check(&bearer_headers(&token(&issuer).await)).is_accepted());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_delay_uses_tokio_time() {
        let issuer = Issuer::new();
        issuer.delay(Duration::from_secs(5));
        let start = tokio::time::Instant::now();
        token(&issuer).await;
        assert_eq!(start.elapsed(), Duration::from_secs(5));
    }

    #[tokio::test]
    async fn only_the_changed_password_is_accepted() {
        let issuer = Issuer::new();
        issuer.set_password("user1", "new");
        assert_eq!(token(&issuer).await["error"], "invalid_grant");
        issuer.set_password("user1", "user-password");
        assert!(token(&issuer).await["access_token"].is_string());
    }
}
