//! The response of a token endpoint (RFC 6749 §5).

use std::time::SystemTime;

use serde::Deserialize;

use crate::{
    error::Error,
    grant::exchange::{lenient, reply::Refusal},
    secret_string::SecretString,
    token::{AccessToken, Lifetime},
};

/// An issued token, and what came with it.
pub(crate) struct Granted {
    pub(crate) token: AccessToken,
    pub(crate) refresh_token: Option<SecretString>,
    /// The type of the token (RFC 8693 §2.2.1).
    pub(crate) issued_token_type: Option<String>,
}

/// The members of the response that are used (RFC 6749 §5.1, §5.2). Others are ignored; a duplicate member is an error.
#[derive(Deserialize)]
pub(crate) struct TokenResponse {
    #[serde(default, deserialize_with = "lenient::secret")]
    access_token: Option<SecretString>,
    token_type: Option<String>,
    #[serde(default, deserialize_with = "lenient::lifetime")]
    expires_in: Option<Lifetime>,
    #[serde(default, deserialize_with = "lenient::lifetime")]
    refresh_in: Option<Lifetime>,
    #[serde(default, deserialize_with = "lenient::secret")]
    refresh_token: Option<SecretString>,
    #[serde(default, deserialize_with = "lenient::scope")]
    scope: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    issued_token_type: Option<String>,
    error: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    error_description: Option<String>,
}

impl TokenResponse {
    /// Takes the refusal out of the response. Some servers send one with status 200.
    pub(crate) fn take_refusal(&mut self) -> Option<Refusal> {
        let code = self.error.take().filter(|_| self.access_token.is_none())?;
        Some(Refusal { code, description: self.error_description.take() })
    }

    /// Checks the response and turns it into a token.
    pub(crate) fn into_granted(self, server_time: Option<SystemTime>) -> Result<Granted, Error> {
        let Some(token) = self.access_token else { return Err(Error::unusable_response("it has no access_token")) };
        match self.token_type {
            Some(kind) if kind.eq_ignore_ascii_case("bearer") => {}
            Some(kind) if kind.eq_ignore_ascii_case("n_a") => {
                return Err(Error::unusable_response(
                    "its token_type is N_A: it is not an access token (RFC 8693 §2.2.1)",
                ));
            }
            Some(_) => return Err(Error::unusable_response("its token_type is not Bearer")),
            None => return Err(Error::unusable_response("it has no token_type (RFC 6749 §5.1)")),
        }
        let mut token = AccessToken::new(token)?;
        if let Some(lifetime) = self.expires_in {
            token = token.with_expires_in(lifetime);
        }
        if let Some(Lifetime::For(age)) = self.refresh_in {
            token = token.with_refresh_in(age);
        }
        if let Some(scope) = self.scope {
            token = token.with_scope(scope);
        }
        if let Some(server_time) = server_time {
            token = token.with_issuer_time(server_time);
        }
        // Some servers send an empty refresh token when there is none.
        let refresh_token = self.refresh_token.filter(|refresh_token| !refresh_token.expose().is_empty());
        Ok(Granted { token, refresh_token, issued_token_type: self.issued_token_type })
    }
}
