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

mod assertion;
mod builder;
mod client_auth;
mod credentials;
mod discovery;
mod endpoint;
mod file;
pub mod flow;
mod form;
mod granted;
#[cfg(feature = "client")]
mod http_client;
mod http_service;
mod metadata;
mod params;
mod reply;
mod secret;
mod server;
#[cfg(feature = "jwt")]
mod signed_assertion;
#[cfg(feature = "jwt")]
mod signing_key;
mod token_grant;
mod url;

pub use builder::GrantBuilder;
pub use client_auth::ClientAuth;
pub use credentials::{Credentials, CredentialsProvider};
pub use flow::client_credentials::{ClientCredentials, ClientCredentialsBuilder};
pub use flow::jwt_bearer::{JwtBearer, JwtBearerBuilder};
pub use flow::password::{PasswordGrant, PasswordGrantBuilder};
pub use flow::refresh_token::{RefreshToken, RefreshTokenBuilder};
pub use flow::token_exchange::{TokenExchange, TokenExchangeBuilder, token_type};
#[cfg(feature = "client")]
pub use http_client::{HttpClient, HttpClientBuilder, HttpClientError};
pub use http_service::HttpService;
pub use metadata::Metadata;
pub use secret::Secret;
pub use server::AuthorizationServer;
#[cfg(feature = "jwt")]
pub use signed_assertion::Assertion;
#[cfg(feature = "jwt")]
pub use signing_key::{SigningAlgorithm, SigningKey};
pub use token_grant::Grant;
