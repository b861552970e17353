//! Sources that ask an authorization server (RFC 6749).
//!
//! | grant | gets tokens with |
//! |---|---|
//! | [`ClientCredentials`] | the client's own authentication; SMART Backend Services among them |
//! | [`RefreshToken`] | a refresh token that a user's consent brought |
//! | [`TokenExchange`] | somebody else's token |
//! | [`JwtBearer`] | an assertion about a user |
//! | [`PasswordGrant`] | a user's password; see [below](#leaving-the-password-grant) |
//!
//! # The server
//!
//! [`AuthorizationServer`] is a token URL, or an issuer or FHIR server whose metadata says the rest. An answer of any of its
//! endpoints is hostile input: it is read up to 1 MiB and a deadline; redirects are not followed; only JSON is read; only
//! `Bearer` tokens, in characters that may stand in a header, are taken; of an error only its code is kept.
//!
//! # The client
//!
//! [`ClientAuth`] says how it authenticates, and [`Secret`] where its secret is kept. With mutual TLS (RFC 8705) the
//! connection authenticates: give an HTTP client that has a certificate.
//!
//! ```
//! use bytes::Bytes;
//! use http_body_util::Full;
//! use hyper_rustls::HttpsConnectorBuilder;
//! use hyper_util::{client::legacy::Client, rt::TokioExecutor};
//! use rustls::{ClientConfig, RootCertStore, crypto::ring};
//! use rustls::pki_types::{CertificateDer, PrivateKeyDer};
//! use tower_bearer::grant::{ClientAuth, ClientCredentials};
//!
//! # fn source(
//! #     roots: RootCertStore,
//! #     certificates: Vec<CertificateDer<'static>>,
//! #     key: PrivateKeyDer<'static>,
//! # ) -> Result<(), tower::BoxError> {
//! let tls = ClientConfig::builder_with_provider(ring::default_provider().into())
//!     .with_safe_default_protocol_versions()?
//!     .with_root_certificates(roots)
//!     .with_client_auth_cert(certificates, key)?;
//! let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1().build();
//! let http = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build::<_, Full<Bytes>>(https);
//! let source = ClientCredentials::builder("https://mtls.auth.example.org/oauth2/token")
//!     .client_auth(ClientAuth::none("client-id"))
//!     .build_with(http)?;
//! # Ok(()) }
//! ```
//!
#![doc = include_str!("../../docs/leaving_the_password_grant.md")]

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
pub use http_client::{HttpClient, HttpClientBuilder};
pub use http_service::HttpService;
pub use metadata::Metadata;
pub use secret::Secret;
pub use server::AuthorizationServer;
#[cfg(feature = "jwt")]
pub use signed_assertion::Assertion;
#[cfg(feature = "jwt")]
pub use signing_key::{SigningAlgorithm, SigningKey};
pub use token_grant::Grant;
