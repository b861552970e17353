//! What a token endpoint grants (RFC 6749 §5.1).

use std::time::SystemTime;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::{
    error::Error,
    grant::reply::{Refusal, text},
    token::{AccessToken, Lifetime},
};

/// A token, and what came with it.
pub(crate) struct Granted {
    pub(crate) token: AccessToken,
    pub(crate) refresh_token: Option<SecretString>,
    /// RFC 8693 §2.2.1.
    pub(crate) issued_token_type: Option<String>,
}

/// The members of an answer that matter (RFC 6749 §5.1, §5.2); others are ignored, a doubled one is an error.
#[derive(Deserialize)]
pub(crate) struct Fields {
    access_token: Option<SecretString>,
    token_type: Option<String>,
    #[serde(default, deserialize_with = "lifetime")]
    expires_in: Option<Lifetime>,
    #[serde(default, deserialize_with = "lifetime")]
    refresh_in: Option<Lifetime>,
    refresh_token: Option<SecretString>,
    #[serde(default, deserialize_with = "scope")]
    scope: Option<String>,
    #[serde(default, deserialize_with = "text")]
    issued_token_type: Option<String>,
    error: Option<String>,
    #[serde(default, deserialize_with = "text")]
    error_description: Option<String>,
}

impl Fields {
    /// Some servers send an error with status 200.
    pub(crate) fn refusal(&mut self) -> Option<Refusal> {
        let code = self.error.take().filter(|_| self.access_token.is_none())?;
        Some(Refusal { code, description: self.error_description.take() })
    }

    pub(crate) fn granted(self, date: Option<SystemTime>) -> Result<Granted, Error> {
        let Some(token) = self.access_token else { return Err(Error::not_a_token("there is no access_token in it")) };
        match self.token_type {
            Some(kind) if kind.eq_ignore_ascii_case("bearer") => {}
            Some(kind) if kind.eq_ignore_ascii_case("n_a") => {
                return Err(Error::not_a_token("its token_type is N_A: it is no access token (RFC 8693 §2.2.1)"));
            }
            Some(_) => return Err(Error::not_a_token("its token_type is not Bearer")),
            None => return Err(Error::not_a_token("it has no token_type (RFC 6749 §5.1)")),
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
        if let Some(date) = date {
            token = token.with_issuer_time(date);
        }
        // Some servers say that there is none by an empty one.
        let refresh_token = self.refresh_token.filter(|refresh_token| !refresh_token.expose_secret().is_empty());
        Ok(Granted { token, refresh_token, issued_token_type: self.issued_token_type })
    }
}

/// `scope` as a string or, against RFC 6749 §5.1, as an array of them. What is neither is as good as absent.
fn scope<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let join = |values: Vec<serde_json::Value>| {
        let scopes: Option<Vec<_>> = values.iter().map(serde_json::Value::as_str).collect();
        scopes.map(|scopes| scopes.join(" "))
    };
    Ok(match serde_json::Value::deserialize(from)? {
        serde_json::Value::String(scope) => Some(scope),
        serde_json::Value::Array(values) => join(values),
        _ => None,
    })
}

/// `expires_in` as a number, a number in a string, or a float. What is none of these is as good as absent.
fn lifetime<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Lifetime>, D::Error> {
    let value = serde_json::Value::deserialize(from)?;
    let seconds = match &value {
        serde_json::Value::Number(number) => number.as_f64(),
        serde_json::Value::String(text) => text.trim().parse::<f64>().ok().filter(|seconds| !seconds.is_nan()),
        _ => None,
    };
    Ok(seconds.map(Lifetime::from_secs_f64))
}
