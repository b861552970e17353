//! A grant for many users, whatever its flow and its HTTP client.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    pin::Pin,
};

use crate::{
    error::Error,
    grant::{
        exchange::http_service::HttpService,
        on_behalf_of::{subject::Subject, user_flow::UserFlow},
        token_grant::Grant,
    },
    secret_string::SecretString,
    source::{Narrowing, Reason, SourceIdentity, TokenSource},
    token::AccessToken,
};

pub(crate) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// A grant for many users. What they share is in it: the server and its metadata, the client, and the HTTP client.
pub(crate) trait UserGrant: fmt::Debug + Send + Sync + 'static {
    /// Gets a token for one user, by an exchange of the user's token.
    fn obtain<'a>(&'a self, subject: &'a Subject, to: Option<&'a Narrowing>) -> BoxFuture<'a, AccessToken>;

    /// Gets a token that is the assertion of another grant.
    fn obtain_assertion<'a>(&'a self, subject: &'a Subject) -> BoxFuture<'a, SecretString>;

    fn revoke<'a>(&'a self, token: &'a AccessToken) -> BoxFuture<'a, ()>;

    /// Returns a number that changes when the client's credentials change.
    fn credentials_version(&self) -> u64;

    /// Returns whether the request says what the token is for: its type, or who gets it.
    fn names_target(&self) -> bool;

    /// Returns a number for the client, and for those of the grants before this one.
    fn client(&self) -> Option<u64>;

    fn issuer(&self) -> Option<u64>;

    /// Returns what the tokens of all users share, if they are narrowed like this.
    fn identity<'a>(&'a self, to: Option<&'a Narrowing>) -> BoxFuture<'a, SourceIdentity>;
}

impl<F: UserFlow, C: HttpService> UserGrant for Grant<F, C> {
    fn obtain<'a>(&'a self, subject: &'a Subject, to: Option<&'a Narrowing>) -> BoxFuture<'a, AccessToken> {
        Box::pin(async move {
            let grant = self.once(self.flow().for_user(subject)?, to);
            TokenSource::obtain(&grant, Reason::First).await
        })
    }

    fn obtain_assertion<'a>(&'a self, subject: &'a Subject) -> BoxFuture<'a, SecretString> {
        Box::pin(async move {
            let flow = self.flow().for_user(subject)?;
            let granted = self.once(flow, None).obtain_assertion().await?;
            let (wanted, issued) = (self.flow().requested_type(), granted.issued_token_type.as_deref());
            if wanted.is_some() && wanted != issued {
                return Err(Error::unusable_response(
                    "its issued_token_type is not the type that was requested; check that the server supports that type",
                ));
            }
            Ok(granted.token.secret().into())
        })
    }

    fn revoke<'a>(&'a self, token: &'a AccessToken) -> BoxFuture<'a, ()> {
        Box::pin(TokenSource::revoke(self, token))
    }

    fn credentials_version(&self) -> u64 {
        TokenSource::credentials_version(self)
    }

    fn names_target(&self) -> bool {
        self.flow().requested_type().is_some() || self.has_param("audience") || self.has_param("resource")
    }

    fn client(&self) -> Option<u64> {
        let own = TokenSource::client(self)?;
        Some(self.flow().client_before().map_or(own, |before| combined(before, own)))
    }

    fn issuer(&self) -> Option<u64> {
        TokenSource::issuer(self)
    }

    fn identity<'a>(&'a self, to: Option<&'a Narrowing>) -> BoxFuture<'a, SourceIdentity> {
        Box::pin(async move {
            let grant = self.once(self.flow().clone(), to);
            Ok(TokenSource::identity(&grant).await?.unwrap_or_default())
        })
    }
}

fn combined(one: u64, other: u64) -> u64 {
    let mut hash = DefaultHasher::new();
    (one, other).hash(&mut hash);
    hash.finish()
}
