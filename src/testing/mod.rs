//! A scripted OAuth 2.0 authorization server and a scripted API, for the tests of SDKs and gateways.
//!
//! **Never use it as a real authorization server.** It stores passwords as plain text, does not limit password guesses,
//! records every request, and obeys the commands of a test.
//!
//! # What it is
//!
//! An [`Issuer`] issues tokens by the rules of RFC 6749. It supports the password, refresh token and client credentials
//! grants, the JWT bearer grant (RFC 7523) and token exchange (RFC 8693), also for an ID-JAG that another issuer
//! [accepts](IssuerBuilder::trusts). It authenticates the client strictly, by a secret
//! or a signed assertion, and returns the error codes of the RFCs. It signs JWTs with an ES256 key that it generates at its
//! start. There are two ways to send requests to it, with the same responses:
//!
//! - in process, with [`Issuer::service`], a `tower::Service` that takes the place of the HTTP client;
//! - on loopback, with [`Issuer::listen`], an HTTP/1.1 server on a free port.
//!
//! | path | what it is |
//! |---|---|
//! | `POST /token` | the token endpoint, RFC 6749 §3.2 |
//! | `POST /revoke` | the revocation endpoint, RFC 7009 |
//! | `GET /jwks` | the key set, RFC 7517 |
//! | `GET /.well-known/oauth-authorization-server`, `…/openid-configuration`, `/fhir/.well-known/smart-configuration` | metadata, RFC 8414 and SMART App Launch |
//! | `/fhir`, `/fhir/…` | a protected resource: any method, a token is required |
//!
//! It also has what a resource server needs. [`Issuer::api`] returns a small API. An [`Upstream`] is a scripted one. For your own
//! fake API, [`Issuer::check`] checks the token of a request, and [`TokenStatus::challenge`] returns the `WWW-Authenticate` header
//! of the 401 response.
//!
//! # A test
//!
//! The issuer's clock follows tokio's, so in a test with paused time a token expires without a real wait:
//!
//! ```
//! use std::time::Duration;
//!
//! use http::header::{AUTHORIZATION, CONTENT_TYPE};
//! use http::{HeaderMap, Request};
//! use http_body_util::{BodyExt, Full};
//! use tower::ServiceExt;
//! use tower_bearer::testing::{Issuer, TokenStatus};
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
//! assert_eq!(issuer.check(&headers), TokenStatus::Expired);
//! issuer.assert_grants(["password"]);
//! # Ok(())
//! # }
//! ```
//!
//! # Commands
//!
//! | what your test needs | command |
//! |---|---|
//! | tokens are revoked, or the signing key changes | [`revoke_current`](Issuer::revoke_current), [`revoke_all`](Issuer::revoke_all), [`rotate_keys`](Issuer::rotate_keys) |
//! | the token endpoint fails, hangs or sends an invalid response | [`fail_next`](Issuer::fail_next) and [`fail_until_cleared`](Issuer::fail_until_cleared) with a [`Failure`] |
//! | the token response is unusual | [`amend_next`](Issuer::amend_next), [`answer_next`](Issuer::answer_next), [`return_same_token`](Issuer::return_same_token) |
//! | the token endpoint is slow | [`delay`](Issuer::delay) |
//! | several token requests are in progress at once | [`hold`](Issuer::hold), which returns a [`Gate`] that reports how many have arrived |
//! | the API rejects an upload before it reads it | [`reject_before_reading`](Issuer::reject_before_reading), on loopback; [`Issuer::api`] never reads |
//! | the password changes | [`set_password`](Issuer::set_password) |
//! | the clocks of client and server differ | [`set_clock_skew`](Issuer::set_clock_skew) |
//!
//! Afterwards, [`assert_token_requests`](Issuer::assert_token_requests) and [`assert_grants`](Issuer::assert_grants) say what a test
//! expects. Where it was otherwise, the message lists the requests without secrets. [`counts`](Issuer::counts) has all numbers, and
//! [`requests`](Issuer::requests) returns what was sent.
//!
//! # A scripted API
//!
//! An [`Upstream`] answers as a test says, in process or on loopback, and records what came: each request with its headers, its
//! whole body, and a name for its token that is safe to show.
//!
//! | what your test needs | |
//! |---|---|
//! | an API that knows the issuer's tokens | [`Upstream::protected_by`] |
//! | answers in order: a status, headers, a body, a delay, a redirect, a closed connection, none | [`answer_next`](Upstream::answer_next) with [`Reply`] |
//! | an answer before the body is read | [`Reply::before_reading`] |
//! | several requests are in progress at once | [`hold`](Upstream::hold) |
//! | what came, and in which order | [`assert_statuses`](Upstream::assert_statuses), [`assert_tokens`](Upstream::assert_tokens), [`assert_bodies`](Upstream::assert_bodies), [`requests`](Upstream::requests) |
//!
//! ```
//! use http::Request;
//! use hyper_util::{client::legacy::Client, rt::TokioExecutor};
//! use tower::{Layer, ServiceExt};
//! use tower_bearer::{BearerAuthLayer, TokenCache, testing::{Reply, Upstream}};
//! # use tower_bearer::{AccessToken, source::from_fn};
//! # use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_bearer::BoxError> {
//! # let numbers = AtomicU64::new(1);
//! # let cache = TokenCache::new(from_fn(move |_| {
//! #     std::future::ready(AccessToken::new(format!("t{}", numbers.fetch_add(1, Relaxed))))
//! # }));
//! // `cache` has a new token for each renewal.
//! let api = Upstream::new();
//! api.answer_next([Reply::unauthorized(), Reply::status(503)]);
//! let server = api.listen().await?;
//!
//! let client = Client::builder(TokioExecutor::new()).build_http();
//! let client = BearerAuthLayer::with_cache(cache).layer(client);
//! let response = client.oneshot(Request::post(server.url("/note")).body("hello".to_owned())?).await?;
//!
//! assert_eq!(response.status(), 503);
//! api.assert_statuses([401, 503]);
//! api.assert_tokens(["token 1", "token 2"]);
//! api.assert_bodies("hello");
//! # Ok(()) }
//! ```
//!
//! # What it does not do
//!
//! - It has no authorization code or device grant, no RSA keys and no introspection. It has one client.
//! - It does not support TLS or HTTP/2. Neither does an upstream.
//! - It does not verify signatures when it checks a token. It remembers the newest 65,536 tokens that it issued. To verify
//!   signatures, use the key set.
//! - On loopback it does not work well with a paused clock. Tokio advances a paused clock when every task is idle, even while
//!   bytes are in a socket's buffer, so deadlines may expire at once. Use [`Issuer::service`] for such tests.

mod api;
mod assertion;
mod builder;
mod check;
mod client;
mod clock;
mod command;
mod counts;
mod endpoint;
mod expect;
mod failure;
mod gate;
mod grant;
mod issue;
mod issuer;
mod key;
mod listen;
mod loopback;
mod metadata;
mod received;
mod reply;
mod request;
mod response;
mod script;
mod service;
mod settings;
mod store;
#[cfg(test)]
mod test_client;
mod token_status;
mod upstream;
mod upstream_service;

pub use api::Api;
pub use builder::IssuerBuilder;
pub use counts::Counts;
pub use failure::{Failure, Outage};
pub use gate::Gate;
pub use issuer::Issuer;
pub use listen::IssuerServer;
pub use received::ReceivedRequest;
pub use reply::Reply;
pub use request::TokenRequest;
pub use service::{IssuerService, ResponseFuture};
pub use settings::{ClientAuthentication, RefreshTokens, TokenFormat};
pub use token_status::TokenStatus;
pub use upstream::Upstream;
pub use upstream_service::{UpstreamServer, UpstreamService};
