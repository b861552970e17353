//! The grant that the options describe.

use tower_bearer::{
    BoxTokenSource, Error,
    grant::{ClientAuth, ClientCredentials, GrantBuilder, HttpClient, HttpService, PasswordGrant, Secret, flow::Flow},
};

use super::{CliError, Options};

/// The options of a grant. `--ca-file` is not among them, because it may be there for another server.
pub const GRANT_OPTIONS: [&str; 7] =
    ["token-url", "client-id", "client-auth", "username", "scope", "client-secret-file", "password-file"];

pub const GRANT_HELP: &str = "  --token-url URL            the URL of the token endpoint
  --client-id ID             the client's id at the authorization server
  --client-auth METHOD       basic-raw (without form encoding), basic, post or none [basic]
  --username NAME            get tokens for this user, with the password grant [for the client, with client credentials]
  --scope SCOPE              the scope to request, space-delimited [the server chooses]
  --client-secret-file FILE  a file with the client secret [the environment variable BEARER_CLIENT_SECRET]
  --password-file FILE       a file with the user's password [the environment variable BEARER_PASSWORD]
";

/// How to get a token.
pub struct GrantOptions {
    pub token_url: String,
    pub client: ClientAuth,
    /// A user's name and password. `None`: the token is the client's own.
    pub user: Option<(String, Secret)>,
    pub scope: Option<String>,
    pub revocation_url: Option<String>,
    /// PEM certificates to trust in addition to the system's.
    pub ca: Option<Vec<u8>>,
}

impl GrantOptions {
    /// Reads the options. `revocation` is the option that has the revocation URL, if there is one.
    pub fn from_options(options: &Options, revocation: Option<&str>) -> Result<Self, CliError> {
        let token_url = options.required("token-url")?;
        let id = options.required("client-id")?;
        let secret = || options.secret("client secret", "client-secret-file", "BEARER_CLIENT_SECRET");
        let client = match options.text("client-auth")?.as_deref().unwrap_or("basic") {
            "basic" => ClientAuth::basic(id, secret()?),
            "basic-raw" => ClientAuth::basic_raw(id, secret()?),
            "post" => ClientAuth::post(id, secret()?),
            "none" => ClientAuth::none(id),
            _ => return Err(CliError::usage("--client-auth must be basic-raw, basic, post or none")),
        };
        let user = match options.text("username")? {
            Some(name) => Some((name, options.secret("user's password", "password-file", "BEARER_PASSWORD")?)),
            None if options.has("password-file") => {
                return Err(CliError::usage("--password-file is of no use without --username"));
            }
            None => None,
        };
        let revocation_url = revocation.map(|name| options.text(name)).transpose()?.flatten();
        Ok(Self {
            token_url,
            client,
            user,
            scope: options.text("scope")?,
            revocation_url,
            ca: options.file("ca-file")?,
        })
    }

    /// Returns an HTTPS client that trusts the `--ca-file`.
    pub fn http_client(&self) -> Result<HttpClient, Error> {
        let http = HttpClient::builder();
        match &self.ca {
            Some(pem) => http.root_certificates(pem.clone()).build(),
            None => http.build(),
        }
    }

    /// Returns the password grant for a user, or client credentials without one.
    pub fn source(&self, http: impl HttpService) -> Result<BoxTokenSource, Error> {
        match &self.user {
            Some((name, password)) => {
                self.build(PasswordGrant::builder(&*self.token_url).credentials(name, password.clone()), http)
            }
            None => self.build(ClientCredentials::builder(&*self.token_url), http),
        }
    }

    fn build<F: Flow>(&self, mut grant: GrantBuilder<F>, http: impl HttpService) -> Result<BoxTokenSource, Error> {
        if let Some(scope) = &self.scope {
            grant = grant.scope(scope);
        }
        if let Some(url) = &self.revocation_url {
            grant = grant.revocation_url(url);
        }
        Ok(BoxTokenSource::new(grant.client_auth(self.client.clone()).build_with(http)?))
    }
}
