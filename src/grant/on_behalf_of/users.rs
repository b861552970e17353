//! One grant that gets tokens for many users.

use std::{fmt, sync::Arc};

#[cfg(feature = "client")]
use crate::grant::exchange::http_client::HttpClient;
use crate::{
    error::Error,
    grant::{
        builder::GrantBuilder,
        exchange::http_service::HttpService,
        on_behalf_of::{
            subject::Subject,
            subject_key::{KeyMaker, SubjectKey},
            user_flow::UserFlow,
            user_grant::UserGrant,
            user_source::UserSource,
        },
    },
    secret_string::SecretString,
    source::{BoxTokenSource, SourceIdentity, TokenSource},
};

/// A [`TokenExchange`](crate::grant::TokenExchange) or [`JwtBearer`](crate::grant::JwtBearer) grant that gets tokens for many
/// users, each in exchange for the token of a request.
///
/// [`GrantBuilder::for_users`] makes it. All users share the server and its metadata, the client and its authentication, and the
/// HTTP client. Each user has a token source of their own.
///
/// A user's tokens end together with the token that they were exchanged for, where that is a JWT with an `exp`. After that, no more
/// is requested ([`Error::is_subject_expired`]). `exp` is read without verifying the token, by the local clock: whether the token is
/// right, the authorization server says. A gateway that has to know it before verifies the token itself.
///
/// It is cheap to clone.
///
/// ```
/// use tower_bearer::{BearerAuthLayer, grant::{ClientAuth, Subject, TokenExchange}};
///
/// # fn sdk() -> Result<(), tower_bearer::Error> {
/// # #[cfg(feature = "client")] {
/// let users = TokenExchange::builder("https://auth.example.org/oauth2/token")
///     .client_auth(ClientAuth::basic("gateway", "s3cret"))
///     .audience("https://api.example.org")
///     .for_users()?;
///
/// // One user's token came with a request:
/// let layer = BearerAuthLayer::new(users.source(Subject::new("mF_9.B5f-4.1JqM")));
/// # }
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct OnBehalfOf {
    grant: Arc<dyn UserGrant>,
    keys: Arc<KeyMaker>,
}

impl OnBehalfOf {
    /// Returns the token source of one user.
    #[must_use]
    pub fn source(&self, subject: Subject) -> BoxTokenSource {
        UserSource::new(Arc::clone(&self.grant), subject).boxed()
    }

    /// Returns the key by which a cache of many users keeps this user's token: a keyed hash of the tokens in `subject`.
    ///
    /// Each call of [`for_users`](GrantBuilder::for_users) draws a new random key for the hash. So the keys of two grants are
    /// different even for one subject, and a key means nothing in another process.
    #[must_use]
    pub fn key(&self, subject: &Subject) -> SubjectKey {
        self.keys.key(subject)
    }

    /// Gets a token that is the assertion of another grant.
    pub(crate) async fn assertion(&self, subject: &Subject) -> Result<SecretString, Error> {
        self.grant.obtain_assertion(subject).await
    }

    /// Returns whether the request says what the token is for: its type, or who gets it.
    pub(crate) fn names_target(&self) -> bool {
        self.grant.names_target()
    }

    pub(crate) fn credentials_version(&self) -> u64 {
        self.grant.credentials_version()
    }

    /// Returns what the tokens of all users share.
    pub(crate) async fn identity(&self) -> Result<SourceIdentity, Error> {
        self.grant.identity(None).await
    }

    pub(crate) fn client(&self) -> Option<u64> {
        self.grant.client()
    }
}

impl<F: UserFlow> GrantBuilder<F> {
    /// Builds the grant for many users, with the ready-made HTTPS client. The user's token is left out of the settings: each
    /// [`Subject`] has one.
    ///
    /// # Errors
    /// When a setting is missing or wrong.
    #[cfg(feature = "client")]
    pub fn for_users(self) -> Result<OnBehalfOf, Error> {
        let http = HttpClient::builder().build()?;
        self.for_users_with(http)
    }

    /// Builds the grant for many users, with your own HTTP client.
    ///
    /// # Errors
    /// When a setting is missing or wrong.
    pub fn for_users_with<C: HttpService>(self, http: C) -> Result<OnBehalfOf, Error> {
        let grant = self.build_checked(http, F::check_for_users)?;
        Ok(OnBehalfOf { grant: Arc::new(grant), keys: Arc::new(KeyMaker::new()?) })
    }
}

impl fmt::Debug for OnBehalfOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OnBehalfOf").field(&self.grant).finish()
    }
}
