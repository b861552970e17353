//! What a grant has to say for itself.

use std::fmt;

use secrecy::SecretString;

use crate::{
    error::Error,
    grant::form::{At, Form},
};

/// How one grant differs from the others. Sealed: a way of one's own to get tokens is a
/// [`TokenSource`](crate::TokenSource).
pub trait Flow: Clone + Default + fmt::Debug + Send + Sync + 'static {
    #[doc(hidden)]
    const GRANT_TYPE: &'static str;

    /// The parameters that may be given several times.
    #[doc(hidden)]
    const REPEATABLE: &'static [&'static str] = &["resource"];

    /// What becomes of refresh tokens.
    #[doc(hidden)]
    const REFRESH: Refresh = Refresh::First;

    /// Whether the answer has to say what kind of token it is (RFC 8693 §2.2.1).
    #[doc(hidden)]
    const NAMES_ITS_TYPE: bool = false;

    /// What is missing or wrong, before anything is sent.
    #[doc(hidden)]
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Appends what this grant alone sends.
    #[doc(hidden)]
    fn fill(&self, form: &mut Form, at: &At<'_>) -> impl Future<Output = Result<(), Error>> + Send;

    /// A number that changes when the user's credentials do.
    #[doc(hidden)]
    fn version(&self) -> u64 {
        0
    }

    /// The refresh token that was there from the start.
    #[doc(hidden)]
    fn first_refresh_token(&self) -> impl Future<Output = Result<Option<SecretString>, Error>> + Send {
        async { Ok(None) }
    }

    /// A new refresh token came, which the next run of the program will want. Whether it is safe.
    #[doc(hidden)]
    fn save(&self, refresh_token: &SecretString) -> impl Future<Output = bool> + Send {
        let _ = refresh_token;
        async { true }
    }
}

/// What a grant does with refresh tokens.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// One that came is used before the grant itself is, and the grant itself when it is refused.
    First,
    /// The grant is a refresh token, and has nothing else.
    Only,
    /// One that comes against RFC 6749 §4.4.3 is dropped.
    Never,
}
