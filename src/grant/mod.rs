//! Sources that ask an authorization server (RFC 6749).
//!
//! # The password grant
//!
//! [`PasswordGrant`] is here because the first API needs it. RFC 9700 §2.4 says that it **must not be used** for anything
//! new: it hands the user's password to every client. When your authorization server offers another grant, take that:
//! a grant is a [`TokenSource`](crate::TokenSource), so nothing else changes.
//!
//! # The token endpoint is hostile input
//!
//! An answer is read up to 1 MiB and a deadline; redirects are not followed; only JSON is read; only `Bearer` tokens, in
//! characters that may stand in a header, are taken; of an error only its code is kept.

mod client_auth;
mod credentials;
mod endpoint;
#[cfg(feature = "client")]
mod http_client;
mod password;

pub use client_auth::ClientAuth;
pub use credentials::{Credentials, CredentialsProvider};
pub use endpoint::HttpService;
#[cfg(feature = "client")]
pub use http_client::{HttpClient, HttpClientBuilder, HttpClientError};
pub use password::{PasswordGrant, PasswordGrantBuilder};
