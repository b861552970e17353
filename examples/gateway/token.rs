//! The gateway's tokens.

use std::time::Duration;

use http::{HeaderMap, HeaderName};
use tower_bearer::{BearerAuthLayer, TokenCache};

use crate::{
    cli::{CliError, GrantOptions},
    identity::Identity,
    problem::Problem,
    tenants::Tenants,
    users::Users,
};

/// The tokens that the gateway has.
#[derive(Clone)]
pub enum Tokens {
    /// Requests are forwarded without one.
    None,
    /// One for all requests.
    One(TokenCache),
    /// One for each tenant.
    Tenants(Tenants),
    /// One for each user.
    Users(Users),
}

impl Tokens {
    pub fn layer(&self) -> Option<BearerAuthLayer> {
        match self {
            Self::None => None,
            Self::One(cache) => Some(BearerAuthLayer::with_cache(cache.clone())),
            Self::Tenants(tenants) => Some(tenants.layer()),
            Self::Users(users) => Some(users.layer()),
        }
    }

    /// Takes the identity of a request out of its headers. Returns `None` if all requests have the same token, or none.
    ///
    /// # Errors
    /// When the request has no identity.
    pub fn identify(&self, headers: &mut HeaderMap) -> Result<Option<Identity>, Problem> {
        match self {
            Self::None | Self::One(_) => Ok(None),
            Self::Tenants(tenants) => tenants.take(headers).map(Some).ok_or(Problem::Tenant),
            Self::Users(users) => users.take(headers).map(Some).ok_or(Problem::NoUser),
        }
    }

    /// Returns the header from which the identity is taken.
    pub fn identity_header(&self) -> Option<&HeaderName> {
        match self {
            Self::None | Self::One(_) => None,
            Self::Tenants(tenants) => Some(&tenants.header),
            Self::Users(users) => Some(&users.header),
        }
    }

    /// Forgets all tokens and failures. Returns whether there are any tokens.
    pub fn reset(&self) -> bool {
        match self {
            Self::None => return false,
            Self::One(cache) => cache.reset(),
            Self::Tenants(tenants) => tenants.pool.reset(),
            Self::Users(users) => users.pool.identities().reset(),
        }
        true
    }

    /// Returns how long no token is requested for a request of this identity.
    pub fn retry_in(&self, identity: Option<&Identity>) -> Option<Duration> {
        match (self, identity) {
            (Self::One(cache), _) => cache.status().retry_in,
            (Self::Tenants(tenants), Some(Identity::Tenant(name))) => tenants.retry_in(&name.0),
            (Self::Users(users), Some(Identity::User(subject))) => users.retry_in(subject),
            _ => None,
        }
    }

    /// Tells the authorization server that the tokens are not used any more. Many are revoked at once. What is not revoked within
    /// `limit` stays valid.
    pub async fn revoke(&self, limit: Duration) {
        let revocation = async {
            match self {
                Self::None => Ok(()),
                Self::One(cache) => cache.revoke().await,
                Self::Tenants(tenants) => tenants.pool.revoke().await,
                Self::Users(users) => users.pool.identities().revoke().await,
            }
        };
        let Ok(revoked) = tokio::time::timeout(limit, revocation).await else {
            return tracing::warn!(
                ?limit,
                "not all tokens are revoked in time; the others are valid until they expire"
            );
        };
        match revoked {
            Ok(()) if matches!(self, Self::None) => {}
            Ok(()) => tracing::info!("the token is revoked"),
            Err(error) => tracing::warn!(%error, "the token is not revoked; it is valid until it expires"),
        }
    }
}

/// Returns a cache for the token of the grant.
///
/// # Errors
/// When a setting is wrong.
pub fn cache(grant: &GrantOptions) -> Result<TokenCache, CliError> {
    let source = grant.source(grant.http_client()?)?;
    Ok(TokenCache::new(source))
}
