//! The members of a token response that are not tokens of this client's own.

use serde::de::DeserializeOwned;

use crate::{error::Error, secret_string::SecretString};

/// The most that is kept of them, in bytes of JSON. They live as long as the token.
const MAX_KEPT: usize = 64 << 10;

/// The members of a token response except the access token and the refresh token. `Debug` is not implemented: an
/// `id_token` or a launch context is as secret as the token.
#[derive(Clone, Default)]
pub(crate) enum ResponseMembers {
    /// The token did not come in a token response.
    #[default]
    Absent,
    /// A JSON object.
    Kept(SecretString),
    TooLong,
}

impl ResponseMembers {
    /// Keeps a JSON object, unless it is too long.
    pub(crate) fn keep(json: SecretString) -> Self {
        if json.expose().len() > MAX_KEPT { Self::TooLong } else { Self::Kept(json) }
    }

    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let json = match self {
            Self::Absent => "{}",
            Self::Kept(json) => json.expose(),
            Self::TooLong => {
                return Err(Error::unreadable_members(
                    "its other members are longer than 64 KiB and were not kept; ask the server for less",
                ));
            }
        };
        // The parser's error is not passed on: it quotes what it does not expect.
        serde_json::from_str(json).map_err(|_| {
            Error::unreadable_members(
                "its other members do not fit the type that they are read as; make what may be absent an `Option`, and \
                 compare the types with the server's documentation",
            )
        })
    }
}
