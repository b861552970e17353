//! How one grant differs from the others.

use std::fmt;

use crate::{
    error::{Error, Presented},
    grant::exchange::{form::Form, request_context::RequestContext},
    secret_string::SecretString,
    source::SourceIdentity,
};

/// What one kind of grant sends: the type parameter of [`Grant`](crate::grant::Grant).
///
/// It is sealed: it cannot be implemented outside this crate. To get tokens in your own way, implement
/// [`TokenSource`](crate::TokenSource).
pub trait Flow: FlowBehavior {}

impl<F: FlowBehavior> Flow for F {}

/// The private part of [`Flow`].
pub trait FlowBehavior: Clone + Default + fmt::Debug + Send + Sync + 'static {
    const GRANT_TYPE: &'static str;

    /// What it presents in addition to the client's authentication.
    const PRESENTS: Presented;

    /// The parameters that may be given several times.
    const REPEATABLE: &'static [&'static str] = &["resource"];

    /// What the grant does with refresh tokens.
    const REFRESH: RefreshPolicy = RefreshPolicy::First;

    /// Whether the response must say what kind of token it contains (RFC 8693 §2.2.1).
    const REQUIRES_TOKEN_TYPE: bool = false;

    /// Checks the settings before anything is sent.
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Appends the parameters that only this grant sends.
    fn append_to(
        &self,
        form: &mut Form,
        context: &RequestContext<'_>,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Adds whose tokens it gets to an identity; see [`TokenSource::identity`](crate::TokenSource::identity).
    fn identify(&self, identity: SourceIdentity) -> impl Future<Output = Result<SourceIdentity, Error>> + Send {
        async { Ok(identity) }
    }

    /// Returns a number that changes when the user's credentials change.
    fn version(&self) -> u64 {
        0
    }

    /// Returns the refresh token that the user gave.
    fn initial_refresh_token(&self) -> impl Future<Output = Result<Option<SecretString>, Error>> + Send {
        async { Ok(None) }
    }

    /// Saves a new refresh token for the next run of the program. Returns whether it is saved.
    fn save(&self, refresh_token: &SecretString) -> impl Future<Output = bool> + Send {
        let _ = refresh_token;
        async { true }
    }
}

/// What a grant does with refresh tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshPolicy {
    /// A received refresh token is used first. If it is refused, the grant itself is used.
    First,
    /// The grant consists of a refresh token, and there is nothing else to use.
    Only,
    /// A refresh token that is received against RFC 6749 §4.4.3 is dropped.
    Never,
}
