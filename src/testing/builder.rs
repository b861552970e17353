//! The builder of an issuer.

use std::time::Duration;

use serde::Serialize;

use crate::testing::issuer::Issuer;
use crate::testing::settings::{ClientAuthentication, RefreshTokens, Settings, TokenFormat};

/// A builder of an [`Issuer`], made by [`Issuer::builder`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until built"]
pub struct IssuerBuilder(Settings);

impl Issuer {
    /// Returns an issuer with the default settings of [`IssuerBuilder`].
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Returns a builder for an issuer with other settings.
    pub fn builder() -> IssuerBuilder {
        IssuerBuilder(Settings::default())
    }
}

impl Default for Issuer {
    fn default() -> Self {
        Self::new()
    }
}

impl IssuerBuilder {
    /// Sets the id and the secret of the one client. Default: `client1` with `client-secret`.
    pub fn client(mut self, id: impl Into<String>, secret: impl Into<String>) -> Self {
        self.0.client_id = id.into();
        self.0.client_secret = secret.into();
        self
    }

    /// Sets how the client must authenticate. Default: [`ClientAuthentication::Basic`].
    pub fn client_authentication(mut self, accepted: ClientAuthentication) -> Self {
        self.0.client_authentication = accepted;
        self
    }

    /// Sets the client's public keys, as a JWK Set (RFC 7517 §5). Default: none.
    ///
    /// The keys are P-256 or P-384 keys, and each needs a `kid`.
    ///
    /// # Panics
    /// When the set cannot be written as JSON.
    pub fn client_keys(mut self, set: impl Serialize) -> Self {
        self.0.client_keys = serde_json::to_value(set).expect("the key set is JSON");
        self
    }

    /// Trusts what this issuer asserts about its users in an ID-JAG (draft-ietf-oauth-identity-assertion-authz-grant), by the
    /// signing key that it has now. Default: trusts no other issuer.
    pub fn trusts(mut self, provider: &Issuer) -> Self {
        self.0.trusted_keys = provider.state().key.set();
        self
    }

    /// Adds a user. Default, if none is added: `user1` with `user-password`.
    pub fn user(mut self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.0.users.push((name.into(), password.into()));
        self
    }

    /// Sets the scope that is granted when a request asks for none. Default: `user/Patient.rs user/Observation.rs`.
    ///
    /// A request for a scope outside it is refused.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.0.scope = scope.into();
        self
    }

    /// Sets the lifetime of access tokens. Default: 1 h.
    ///
    /// `expires_in` gives it in whole seconds.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.0.lifetime = lifetime;
        self
    }

    /// Sets which refresh tokens are issued. Default: [`RefreshTokens::None`].
    pub fn refresh_tokens(mut self, refresh_tokens: RefreshTokens) -> Self {
        self.0.refresh_tokens = refresh_tokens;
        self
    }

    /// Sets the format of access tokens. Default: [`TokenFormat::Jwt`].
    pub fn token_format(mut self, format: TokenFormat) -> Self {
        self.0.token_format = format;
        self
    }

    /// Builds the issuer and starts its clock, which follows tokio's time.
    #[must_use]
    pub fn build(mut self) -> Issuer {
        if self.0.users.is_empty() {
            self = self.user("user1", "user-password");
        }
        Issuer::start(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_holds_no_secret() {
        let builder = Issuer::builder().client("me", "s3cret").user("you", "pa55word");
        let issuer = builder.clone().build();
        let shown = format!("{builder:?} {issuer:?}");
        assert!(!shown.contains("s3cret") && !shown.contains("pa55word"), "{shown}");
    }
}
