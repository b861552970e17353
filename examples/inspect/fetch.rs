//! A token by the password grant.

use tokio::runtime;
use tower_bearer::{
    AccessToken, Error, PasswordGrant, Reason, TokenSource,
    grant::{HttpClient, PasswordGrantBuilder},
};

use crate::{args::Grant, trouble::Trouble};

pub fn token(grant: Grant) -> Result<AccessToken, Trouble> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Trouble::failed(error.to_string()))?;
    runtime.block_on(obtain(grant)).map_err(|error| {
        if error.is_config() { Trouble::usage(error.to_string()) } else { Trouble::failed(error.to_string()) }
    })
}

async fn obtain(grant: Grant) -> Result<AccessToken, Error> {
    let mut http = HttpClient::builder();
    if let Some(pem) = grant.ca {
        http = http.root_certificates(pem);
    }
    let mut builder: PasswordGrantBuilder =
        PasswordGrant::builder(grant.token_url).client_auth(grant.auth).credentials(grant.username, grant.password);
    if let Some(scope) = grant.scope {
        builder = builder.scope(scope);
    }
    builder.build_with(http.build()?)?.obtain(Reason::First).await
}

#[cfg(test)]
mod tests {
    use tower_bearer::{Claims, grant::ClientAuth, testing::Issuer};

    use super::*;

    #[tokio::test]
    async fn a_token_is_had_by_the_password_grant() {
        let listening = Issuer::new().listen().await.unwrap();
        let grant = Grant {
            token_url: listening.token_url(),
            auth: ClientAuth::basic("client1", "client-secret"),
            username: "user1".into(),
            password: "user-password".into(),
            scope: Some("user/Patient.rs".into()),
            ca: None,
        };
        let token = obtain(grant).await.unwrap();
        assert_eq!(token.claims::<Claims>().unwrap().sub.as_deref(), Some("user1"));
        assert_eq!(token.scope(), Some("user/Patient.rs"));
    }
}
