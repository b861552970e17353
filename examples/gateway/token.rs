//! The gateway's own token.

use std::time::Duration;

use tower_bearer::{
    BoxTokenSource, Error, PasswordGrant, TokenCache,
    grant::{ClientCredentials, GrantBuilder, HttpClient, flow::Flow},
};

use crate::{args::Auth, trouble::Trouble};

/// The password grant for a user, else the client's own.
///
/// # Errors
/// When a setting is wrong.
pub fn cache(mut auth: Auth, ca: Option<&[u8]>) -> Result<TokenCache, Trouble> {
    let mut http = HttpClient::builder();
    if let Some(pem) = ca {
        http = http.root_certificates(pem);
    }
    let source = http.build().and_then(|http| match auth.user.take() {
        Some((name, password)) => {
            source(PasswordGrant::builder(&auth.token_url).credentials(name, password), auth, http)
        }
        None => source(ClientCredentials::builder(&auth.token_url), auth, http),
    });
    Ok(TokenCache::new(source.map_err(|error| Trouble::usage(error.to_string()))?))
}

fn source<F: Flow>(mut grant: GrantBuilder<F>, auth: Auth, http: HttpClient) -> Result<BoxTokenSource, Error> {
    if let Some(scope) = auth.scope {
        grant = grant.scope(scope);
    }
    if let Some(url) = auth.revoke_url {
        grant = grant.revocation_url(url);
    }
    Ok(BoxTokenSource::new(grant.client_auth(auth.client).build_with(http)?))
}

/// Sees to it that there is a token, whether requests come or not: a gateway whose health probe fails gets none, and would
/// never ask.
pub async fn keep(cache: TokenCache) {
    loop {
        let wait = match cache.token().await {
            // One that may be used once is of no use here: its successors are for requests to ask for.
            Ok(_) if !cache.status().is_ready() => Duration::from_secs(60),
            Ok(_) => Duration::from_secs(1),
            // The cache logs why. Not the whole wait, which new credentials end.
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
        Err(error) => tracing::warn!(%error, "the token lives until it expires"),
    }
}
