//! Where the story plays, and who takes part.

use http::Uri;
use tower_bearer::SecretString;
use tower_bearer::grant::ClientAuth;

/// All that the story has to know, from the command line or from the scripted issuer.
pub struct Plan {
    pub token_url: String,
    pub api_url: Uri,
    pub revoke_url: Option<Uri>,
    pub client: Client,
    pub username: String,
    pub password: SecretString,
    pub scope: Option<String>,
    /// PEM of certificates to trust besides the system's.
    pub ca: Option<Vec<u8>>,
    pub requests: u32,
}

/// The client, as the issuer knows it.
pub struct Client {
    pub id: String,
    pub login: Login,
}

/// How the client authenticates at the issuer.
pub enum Login {
    Basic(SecretString),
    BasicRaw(SecretString),
    Post(SecretString),
    None,
}

impl Client {
    pub fn auth(&self) -> ClientAuth {
        match &self.login {
            Login::Basic(secret) => ClientAuth::basic(&self.id, secret.clone()),
            Login::BasicRaw(secret) => ClientAuth::basic_raw(&self.id, secret.clone()),
            Login::Post(secret) => ClientAuth::post(&self.id, secret.clone()),
            Login::None => ClientAuth::none(&self.id),
        }
    }
}

/// A URL as it may be shown: what is in its query, or before its host, may be secret.
pub fn shown(uri: &Uri) -> String {
    format!("{}://{}{}", uri.scheme_str().unwrap_or("http"), uri.host().unwrap_or("?"), {
        let port = uri.port().map_or_else(String::new, |port| format!(":{port}"));
        format!("{port}{}", uri.path())
    })
}
