//! Token sources that ask an authorization server (RFC 6749).
//!
//! | grant | gets tokens with |
//! |---|---|
//! | [`ClientCredentials`] | the client's own authentication; this includes SMART Backend Services |
//! | [`RefreshToken`] | a refresh token that was received when a user gave consent |
//! | [`TokenExchange`] | another party's token |
//! | [`JwtBearer`] | an assertion about a user |
//! | [`PasswordGrant`] | a user's password; see [below](#leaving-the-password-grant) |
//!
//! # The server
//!
//! [`AuthorizationServer`] is a token URL, or an issuer, a FHIR server or another API whose metadata contains the rest. The
//! responses of all its endpoints are untrusted input:
//!
//! - A response is read up to 1 MiB, and until a deadline.
//! - Redirects are not followed.
//! - JSON is known by its shape, whatever the content type says. What no one reads may be wrong: text that is not UTF-8, a
//!   member that comes twice.
//! - Only tokens that are sent as `Bearer` tokens are accepted ([`GrantBuilder::accept_token_type`]), and only if all their
//!   characters are visible ASCII.
//! - Of an error, only the code is kept.
//! - The other members of a successful response are kept for the caller
//!   ([`AccessToken::response`](crate::AccessToken::response)).
//!
//! # Many users
//!
//! [`TokenExchange`] and [`JwtBearer`] can be used for many users, whose tokens come with the requests of a gateway: with the feature
//! `on-behalf-of`, `for_users` of their builder makes an `OnBehalfOf`. [This page](crate::pool#a-token-for-each-user) says how.
//!
//! # The client
//!
//! [`ClientAuth`] says how the client authenticates, and [`Secret`] says where its secret is kept. With mutual TLS (RFC 8705)
//! the connection authenticates the client: the HTTP client has the certificate.
//!
//! ```
//! # #[cfg(feature = "client")]
//! # fn source() -> Result<(), Box<dyn std::error::Error>> {
//! use std::fs;
//! use tower_bearer::grant::{ClientAuth, ClientCredentials, HttpClient};
//!
//! let http = HttpClient::builder().client_certificate(fs::read("client.pem")?, fs::read("client-key.pem")?).build()?;
//! let source = ClientCredentials::builder("https://mtls.auth.example.org/oauth2/token")
//!     .client_auth(ClientAuth::tls_client_auth("client-id"))
//!     .build_with(http)?;
//! # Ok(()) }
//! ```
//!
//! The ready-made client (feature `client`) also uses the proxy that the environment names. `HttpClient` says how.
//!
#![doc = include_str!("../../docs/leaving_the_password_grant.md")]

mod authentication; // how the client authenticates; assertions and keys
mod builder; // what users set
mod exchange; // one HTTP request, and what its response holds
pub mod flow; // what each grant alone sends: a new grant goes here
#[cfg(feature = "on-behalf-of")]
mod on_behalf_of; // tokens for users, each in exchange for the token of a request
mod refresh_state; // the refresh token that a grant holds
mod saver; // saves refresh tokens, without delaying anything
mod secrets; // where secrets are kept: text, files, variables, functions
mod server; // token URL, metadata, discovery
mod token_grant; // a grant as a token source: refresh token first
mod turn; // one exchange of a refresh token at a time

pub use authentication::client_auth::ClientAuth;
#[cfg(feature = "jwt")]
pub use authentication::{assertion::Assertion, signing_key::SigningKey};
pub use builder::GrantBuilder;
pub use exchange::http_service::HttpService;
#[cfg(feature = "client")]
pub use exchange::{
    http_client::{HttpClient, HttpClientBody},
    http_client_builder::HttpClientBuilder,
};
pub use flow::client_credentials::{ClientCredentials, ClientCredentialsBuilder};
pub use flow::jwt_bearer::{JwtBearer, JwtBearerBuilder};
pub use flow::password::{PasswordGrant, PasswordGrantBuilder};
pub use flow::refresh_token::{RefreshToken, RefreshTokenBuilder};
pub use flow::token_exchange::{TokenExchange, TokenExchangeBuilder, token_type};
#[cfg(feature = "on-behalf-of")]
pub use on_behalf_of::{subject::Subject, subject_key::SubjectKey, users::OnBehalfOf};
pub use secrets::{
    credentials::{Credentials, CredentialsProvider},
    secret::Secret,
};
#[cfg(feature = "config")]
pub(crate) use secrets::{secret::read_variable, secret_file::read_file};
pub use server::{authorization_server::AuthorizationServer, metadata::Metadata};
pub use token_grant::Grant;

#[cfg(feature = "jwt")]
pub use crate::verify::algorithm::SigningAlgorithm;
