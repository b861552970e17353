//! Why a request has no response.

use std::{error::Error as StdError, fmt};

use tower_bearer::BoxError;

/// Why a request has no response.
///
/// It can be made from a [`reqwest::Error`]. So `?` works on `send_with(&api).await?.error_for_status()?.json().await?`, in a function
/// that returns this error.
///
/// ```
/// # use tower_bearer_reqwest::Error;
/// fn explain(error: &Error) -> &'static str {
///     match error {
///         Error::Token(error) if error.is_transient() => "no token now; try again later",
///         Error::Token(_) => "no token: the settings are wrong, or the issuer refused them",
///         Error::Request(error) if error.is_timeout() => "the API did not answer in time",
///         _ => "the API could not be reached",
///     }
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The token is missing, or must not go to this URL. The request was not sent.
    Token(tower_bearer::Error),
    /// reqwest's own error, unchanged.
    Request(reqwest::Error),
    /// The error of another layer of a tower stack, such as a timeout.
    Layer(BoxError),
}

impl Error {
    /// Sorts an error of a stack by its type.
    pub(crate) fn from_boxed(error: BoxError) -> Self {
        let error = match error.downcast::<reqwest::Error>() {
            Ok(error) => return Self::Request(*error),
            Err(error) => error,
        };
        let error = match error.downcast::<tower_bearer::Error>() {
            Ok(error) => return Self::Token(*error),
            Err(error) => error,
        };
        match error.downcast::<Self>() {
            Ok(error) => *error,
            Err(error) => Self::Layer(error),
        }
    }

    /// Returns the error of the token, if that is why there is no response.
    #[must_use]
    pub fn as_token_error(&self) -> Option<&tower_bearer::Error> {
        match self {
            Self::Token(error) => Some(error),
            _ => None,
        }
    }

    /// Returns reqwest's error, if that is why there is no response.
    #[must_use]
    pub fn as_reqwest_error(&self) -> Option<&reqwest::Error> {
        match self {
            Self::Request(error) => Some(error),
            _ => None,
        }
    }

    fn inner(&self) -> &(dyn StdError + 'static) {
        match self {
            Self::Token(error) => error,
            Self::Request(error) => error,
            Self::Layer(error) => &**error,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.inner(), f)
    }
}

/// Its text is that of the error inside, so its source is the source of that error.
impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.inner().source()
    }
}

impl From<reqwest::Error> for Error {
    fn from(error: reqwest::Error) -> Self {
        Self::Request(error)
    }
}

impl From<tower_bearer::Error> for Error {
    fn from(error: tower_bearer::Error) -> Self {
        Self::Token(error)
    }
}
