//! Where an assertion comes from: another party, or a key of this program.

use std::hash::Hasher;

#[cfg(feature = "jwt")]
use crate::grant::authentication::assertion::{Assertion, AssertionUse};
use crate::{
    error::Error,
    grant::{exchange::request_context::RequestContext, secrets::secret::Secret},
    secret_string::SecretString,
    source::SourceIdentity,
};

/// Where an assertion comes from.
#[derive(Clone, Debug)]
pub(crate) enum AssertionSource {
    Given(Secret),
    #[cfg(feature = "jwt")]
    Signed(Box<Assertion>),
}

#[cfg_attr(
    not(feature = "jwt"),
    expect(unused_variables, clippy::unnecessary_wraps, reason = "a given assertion needs no context and no check")
)]
impl AssertionSource {
    /// Returns the assertion for a grant (RFC 7523 §2.1).
    pub(crate) async fn for_grant(&self, context: &RequestContext<'_>) -> Result<SecretString, Error> {
        match self {
            Self::Given(secret) => secret.read().await,
            #[cfg(feature = "jwt")]
            Self::Signed(assertion) => assertion.jwt(context, AssertionUse::Grant).await,
        }
    }

    /// Returns the assertion that authenticates the client (RFC 7523 §2.2).
    pub(crate) async fn for_client(&self, context: &RequestContext<'_>) -> Result<SecretString, Error> {
        match self {
            Self::Given(secret) => secret.read().await,
            #[cfg(feature = "jwt")]
            Self::Signed(assertion) => assertion.jwt(context, AssertionUse::ClientAuthentication).await,
        }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        match self {
            Self::Given(_) => Ok(()),
            #[cfg(feature = "jwt")]
            Self::Signed(assertion) => assertion.check(),
        }
    }

    /// Returns the names of the authentication methods that this assertion can be.
    pub(crate) fn methods(&self) -> &'static [&'static str] {
        match self {
            Self::Given(_) => &["private_key_jwt", "client_secret_jwt"],
            #[cfg(feature = "jwt")]
            Self::Signed(assertion) => assertion.methods(),
        }
    }

    /// Hashes what identifies the party that it is about.
    pub(crate) fn hash_identity(&self, hash: &mut impl Hasher) {
        match self {
            Self::Given(secret) => secret.hash_identity(hash),
            #[cfg(feature = "jwt")]
            Self::Signed(assertion) => assertion.hash_identity(hash),
        }
    }

    /// Adds the party that it is about to an identity.
    pub(crate) async fn identify(&self, identity: SourceIdentity) -> Result<SourceIdentity, Error> {
        match self {
            Self::Given(secret) if secret.is_from_function() => Ok(identity.unnamed()),
            Self::Given(secret) => Ok(identity.with("assertion", secret.read().await?.expose())),
            #[cfg(feature = "jwt")]
            Self::Signed(assertion) => {
                Ok(assertion.identify(identity).with_secret("key", assertion.proof().await?.expose()))
            }
        }
    }

    /// Adds to an identity what proves who signed it; see [`Secret::proof`]. Another assertion proves no more than the one before, so
    /// that of a file is not read.
    #[cfg_attr(not(feature = "jwt"), expect(clippy::unused_async, reason = "only a signed assertion has a key"))]
    pub(crate) async fn prove(&self, identity: SourceIdentity) -> Result<SourceIdentity, Error> {
        match self {
            Self::Given(_) => Ok(identity),
            #[cfg(feature = "jwt")]
            Self::Signed(assertion) => Ok(identity.with_secret("key of the client", assertion.proof().await?.expose())),
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
