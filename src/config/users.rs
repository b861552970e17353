//! Builds the grant that the settings describe for many users, whose tokens come with the requests.

#[cfg(feature = "client")]
use crate::grant::HttpClient;
use crate::{
    config::{
        grant::{in_settings, urn},
        token::{GrantKind, TokenConfig},
    },
    error::Error,
    grant::{HttpService, JwtBearer, OnBehalfOf, TokenExchange},
};

impl TokenConfig {
    /// Builds the grant for many users, each with the token of a request, and with the ready-made HTTPS client.
    ///
    /// The grant is `token_exchange`, without `subject_token`, or `jwt_bearer`, without `assertion` and `signed`. Without
    /// `subject_token_type`, the users' tokens are access tokens. `actor_token` is the same for all users.
    ///
    /// ```
    /// # use tower_bearer::config::{self, TokenConfig};
    /// # #[cfg(feature = "client")] {
    /// use tower_bearer::{BearerAuthLayer, grant::Subject, pool::UserPool};
    ///
    /// let token: TokenConfig = config::read(toml::Deserializer::parse(r#"
    ///     url = "https://auth.example.org/token"
    ///     grant = "token_exchange"
    ///     client_id = "gateway"
    ///     client_secret = { env = "GATEWAY_SECRET" }
    ///     audience = "https://api.example.org"
    /// "#)?)?;
    /// let pool = UserPool::new(token.for_users()?);
    /// let layer = BearerAuthLayer::on_behalf_of(pool, |head| head.bearer_token().map(Subject::new));
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When a setting is missing, wrong, or of no use for the grant or the client.
    #[cfg(feature = "client")]
    pub fn for_users(&self) -> Result<OnBehalfOf, Error> {
        self.for_users_with(HttpClient::builder().build()?)
    }

    /// Builds the grant for many users, with your own HTTP client.
    ///
    /// # Errors
    /// As for [`for_users`](Self::for_users).
    pub fn for_users_with(&self, http: impl HttpService) -> Result<OnBehalfOf, Error> {
        let kind = self.kind()?;
        let given = [
            ("subject_token", self.subject_token.is_some()),
            ("assertion", self.assertion.is_some()),
            ("signed", self.signed.is_some()),
        ];
        if let Some((key, _)) = given.into_iter().find(|(_, is_given)| *is_given) {
            return Err(self.wrong(key, "each request brings the token of its user; remove this key"));
        }
        let users = match kind {
            GrantKind::TokenExchange => {
                let mut builder = self.with_actor(TokenExchange::builder(self.server()?))?;
                if let Some(subject_type) = &self.subject_token_type {
                    builder = builder.subject_token_type(urn(subject_type));
                }
                self.with_common(builder)?.for_users_with(http)
            }
            GrantKind::JwtBearer => self.with_common(JwtBearer::builder(self.server()?))?.for_users_with(http),
            GrantKind::ClientCredentials | GrantKind::Password | GrantKind::RefreshToken => {
                let problem = "this grant takes no token of a user; use `token_exchange` or `jwt_bearer`";
                return Err(self.wrong("grant", problem));
            }
        };
        users.map_err(|error| self.place.error(in_settings(&error)))
    }
}
