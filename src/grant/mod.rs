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

mod builder;
mod client_auth;
mod credentials;
mod endpoint;
pub mod flow;
mod form;
mod granted;
#[cfg(feature = "client")]
mod http_client;
mod http_service;
mod params;
mod reply;
mod token_grant;

pub use builder::GrantBuilder;
pub use client_auth::ClientAuth;
pub use credentials::{Credentials, CredentialsProvider};
pub use flow::password::{PasswordGrant, PasswordGrantBuilder};
#[cfg(feature = "client")]
pub use http_client::{HttpClient, HttpClientBuilder, HttpClientError};
pub use http_service::HttpService;
pub use token_grant::Grant;
