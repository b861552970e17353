//! Assertions: given by somebody else, or signed here.

use secrecy::SecretString;

use crate::{
    error::Error,
    grant::{form::At, secret::Secret},
};

/// Where an assertion comes from.
#[derive(Clone, Debug)]
pub(crate) enum AssertionSource {
    Given(Secret),
    #[cfg(feature = "jwt")]
    Signed(Box<crate::grant::Assertion>),
}

#[cfg_attr(
    not(feature = "jwt"),
    expect(unused_variables, clippy::unnecessary_wraps, reason = "what is given needs no more")
)]
impl AssertionSource {
    pub(crate) async fn jwt(&self, at: &At<'_>) -> Result<SecretString, Error> {
        match self {
            Self::Given(secret) => secret.read().await,
            #[cfg(feature = "jwt")]
            Self::Signed(assertion) => assertion.jwt(at).await,
        }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        match self {
            Self::Given(_) => Ok(()),
            #[cfg(feature = "jwt")]
            Self::Signed(assertion) => assertion.check(),
        }
    }

    /// The names of the authentication methods that it may be.
    pub(crate) fn methods(&self) -> &'static [&'static str] {
        match self {
            Self::Given(_) => &["private_key_jwt", "client_secret_jwt"],
            #[cfg(feature = "jwt")]
            Self::Signed(assertion) => assertion.methods(),
        }
    }

    pub(crate) fn version(&self) -> u64 {
        match self {
            Self::Given(secret) => secret.version(),
            #[cfg(feature = "jwt")]
            Self::Signed(assertion) => assertion.version(),
        }
    }
}
