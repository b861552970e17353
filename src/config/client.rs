//! How the client of a grant authenticates.

use serde::Deserialize;

/// A method of [`ClientAuth`](crate::grant::ClientAuth), by its name there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Method {
    None,
    #[default]
    Basic,
    BasicRaw,
    Post,
    Secret,
    TlsClientAuth,
    PrivateKeyJwt,
    ClientSecretJwt,
    BackendServices,
    AssertionFrom,
}

impl Method {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Basic => "basic",
            Self::BasicRaw => "basic_raw",
            Self::Post => "post",
            Self::Secret => "secret",
            Self::TlsClientAuth => "tls_client_auth",
            Self::PrivateKeyJwt => "private_key_jwt",
            Self::ClientSecretJwt => "client_secret_jwt",
            Self::BackendServices => "backend_services",
            Self::AssertionFrom => "assertion_from",
        }
    }

    pub(super) fn has_secret(self) -> bool {
        matches!(self, Self::Basic | Self::BasicRaw | Self::Post | Self::Secret | Self::ClientSecretJwt)
    }

    pub(super) fn has_key(self) -> bool {
        matches!(self, Self::PrivateKeyJwt | Self::BackendServices)
    }

    /// Returns whether it signs an assertion here, which needs the feature `jwt`.
    pub(super) fn signs(self) -> bool {
        self.has_key() || self == Self::ClientSecretJwt
    }
}
