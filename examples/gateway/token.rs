//! The gateway's own token.

use std::time::Duration;

use tower_bearer::TokenCache;

use crate::cli::{CliError, GrantOptions};

/// Returns a cache for the token of the grant.
///
/// # Errors
/// When a setting is wrong.
pub fn cache(grant: &GrantOptions) -> Result<TokenCache, CliError> {
    let source = grant.source(grant.http_client()?)?;
    Ok(TokenCache::new(source))
}

/// Gets a token and keeps it fresh, also when there are no requests.
///
/// A load balancer sends no requests to a gateway that is not ready, and without requests the cache does not get a token.
pub async fn keep_ready(cache: TokenCache) {
    loop {
        let wait = match cache.token().await {
            // The token had already expired. Requests get their own; another one here would not help.
            Ok(_) if !cache.status().is_ready() => Duration::from_secs(60),
            Ok(_) => Duration::from_secs(1),
            // The cache logs the error. The wait is short, because new credentials end the cache's backoff.
            Err(_) => {
                let wait = cache.status().retry_in.unwrap_or_default();
                wait.clamp(Duration::from_millis(100), Duration::from_secs(1))
            }
        };
        tokio::time::sleep(wait).await;
    }
}

pub async fn revoke(cache: &TokenCache) {
    match cache.revoke().await {
        Ok(()) => tracing::info!("the token is revoked"),
        Err(error) => tracing::warn!(%error, "the token is not revoked; it is valid until it expires"),
    }
}
