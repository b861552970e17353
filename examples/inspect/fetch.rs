//! Gets a token from an authorization server.

use tokio::runtime;
use tower_bearer::{AccessToken, Error, Reason, TokenSource};

use crate::cli::{CliError, GrantOptions};

pub fn token(grant: &GrantOptions) -> Result<AccessToken, CliError> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CliError::failed(error.to_string()))?;
    Ok(runtime.block_on(obtain(grant))?)
}

async fn obtain(grant: &GrantOptions) -> Result<AccessToken, Error> {
    grant.source(grant.http_client()?)?.obtain(Reason::First).await
}

#[cfg(test)]
mod tests {
    use tower_bearer::{Claims, grant::ClientAuth, testing::Issuer};

    use super::*;

    #[tokio::test]
    async fn a_user_gets_a_token_with_the_password_grant() {
        let listening = Issuer::new().listen().await.unwrap();
        let grant = GrantOptions {
            token_url: listening.token_url(),
            client: ClientAuth::basic("client1", "client-secret"),
            user: Some(("user1".into(), "user-password".into())),
            scope: Some("user/Patient.rs".into()),
            revocation_url: None,
            ca: None,
        };
        let token = obtain(&grant).await.unwrap();
        assert_eq!(token.claims::<Claims>().unwrap().sub.as_deref(), Some("user1"));
        assert_eq!(token.scope(), Some("user/Patient.rs"));
    }
}
