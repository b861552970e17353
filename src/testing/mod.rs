//! A scripted OAuth 2.0 authorization server, for the tests of SDKs and gateways.
//!
//! **Never use it as a real authorization server.** It keeps passwords in the clear, does not slow anybody down who
//! guesses them, writes every request down, and does what a test tells it.
//!
//! # What it is
//!
//! An [`Issuer`] issues tokens by the rules of RFC 6749: the password, refresh token and client credentials grants, the JWT
//! bearer grant (RFC 7523) and token exchange (RFC 8693), with strict client authentication, by secrets or signed
//! assertions, and the error codes that the RFCs name. Its JWTs are signed with an ES256 key made at start.
//! It can be asked in two ways, which answer the same:
//!
//! - in process, by [`Issuer::service`], a `tower::Service` that takes the place of the HTTP client;
//! - on loopback, by [`Issuer::listen`], real HTTP/1.1 on a free port.
//!
//! | path | |
//! |---|---|
//! | `POST /token` | RFC 6749 §3.2 |
//! | `POST /revoke` | RFC 7009 |
//! | `GET /jwks` | the key set, RFC 7517 |
//! | `GET /.well-known/oauth-authorization-server`, `…/openid-configuration`, `/fhir/.well-known/smart-configuration` | metadata, RFC 8414 and SMART App Launch |
//! | `/fhir`, `/fhir/…` | a protected resource: any method, a token required |
//!
//! Its other half is the resource server: [`Issuer::api`] is a small one, [`Issuer::check`] makes your own fake API a
//! matter of one line, and [`Standing::challenge`] says the 401's `WWW-Authenticate`.
//!
//! # A test
//!
//! The issuer's clock is tokio's, so a test with paused time sees a token expire without waiting for it:
//!
//! ```
//! use std::time::Duration;
//!
//! use http::header::{AUTHORIZATION, CONTENT_TYPE};
//! use http::{HeaderMap, Request};
//! use http_body_util::{BodyExt, Full};
//! use tower::ServiceExt;
//! use tower_bearer::testing::{Issuer, Standing};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // In a test: #[tokio::test(start_paused = true)]
//! let issuer = Issuer::builder().lifetime(Duration::from_secs(60)).build();
//!
//! let request = Request::post("https://auth.example/token")
//!     .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
//!     .header(AUTHORIZATION, "Basic Y2xpZW50MTpjbGllbnQtc2VjcmV0") // client1:client-secret
//!     .body(Full::from("grant_type=password&username=user1&password=user-password"))?;
//! let response = issuer.service().oneshot(request).await?;
//! let body = response.into_body().collect().await?.to_bytes();
//! let answer: serde_json::Value = serde_json::from_slice(&body)?;
//!
//! let token = answer["access_token"].as_str().unwrap();
//! let headers = HeaderMap::from_iter([(AUTHORIZATION, format!("Bearer {token}").parse()?)]);
//! assert!(issuer.check(&headers).is_accepted());
//!
//! tokio::time::advance(Duration::from_secs(60)).await;
//! assert_eq!(issuer.check(&headers), Standing::Expired);
//! assert_eq!(issuer.counts().issued, 1);
//! # Ok(())
//! # }
//! ```
//!
//! # On command
//!
//! | to see what your code does when | |
//! |---|---|
//! | tokens are revoked, or the signing key changes | [`revoke_current`](Issuer::revoke_current), [`revoke_all`](Issuer::revoke_all), [`rotate_keys`](Issuer::rotate_keys) |
//! | the token endpoint fails, stalls or talks nonsense | [`fail_next`](Issuer::fail_next) and [`fail_until_cleared`](Issuer::fail_until_cleared) with a [`Failure`] |
//! | the answer is unusual | [`amend_next`](Issuer::amend_next), [`answer_next`](Issuer::answer_next), [`return_same_token`](Issuer::return_same_token) |
//! | the endpoint is slow | [`delay`](Issuer::delay) |
//! | many ask at once | [`hold`](Issuer::hold): a [`Gate`] that says when they are all there |
//! | the credentials change | [`set_password`](Issuer::set_password) |
//! | the clocks of two machines disagree | [`set_clock_skew`](Issuer::set_clock_skew) |
//!
//! Afterwards, [`counts`](Issuer::counts) says how often, and [`requests`](Issuer::requests) what was sent.
//!
//! # What it does not do
//!
//! - Authorization code and device grants; RSA; introspection. It has one client.
//! - TLS and HTTP/2.
//! - Verify signatures when it checks a token: it remembers what it issued, the newest 65,536. Whoever wants to verify them
//!   has the key set.
//! - Real time on loopback under a paused clock. Tokio advances a paused clock whenever every task is idle, also while bytes
//!   are on their way through a socket, so deadlines may fire at once: there use [`Issuer::service`].

mod answer;
mod api;
#[cfg(test)]
mod ask;
mod assertion;
mod builder;
mod client;
mod clock;
mod command;
mod counts;
mod endpoint;
mod failure;
mod gate;
mod grant;
mod issuer;
mod key;
mod listen;
mod metadata;
mod mint;
mod request;
mod script;
mod service;
mod standing;
mod store;

pub use api::Api;
pub use builder::{ClientAuthentication, IssuerBuilder, RefreshTokens, TokenFormat};
pub use counts::Counts;
pub use failure::{Failure, Outage};
pub use gate::Gate;
pub use issuer::Issuer;
pub use listen::Listening;
pub use request::TokenRequest;
pub use service::{IssuerService, ResponseFuture};
pub use standing::Standing;
