//! Settings from a file or from environment variables (feature `config`).
//!
//! The types here are plain [`serde`](https://serde.rs) types, for TOML, JSON or any other format. Put them into your own
//! settings, and let [`read`] or [`from_env`] read all of it. None of them can be serialized.
//!
//! | type | is for |
//! |---|---|
//! | [`TokenConfig`] | a grant: the server, the client, and what the grant sends |
//! | [`CacheConfig`] | a [`TokenCache`](crate::TokenCache) |
//! | [`LayerConfig`] | a [`BearerAuthLayer`](crate::BearerAuthLayer) |
//! | [`PoolConfig`] | many identities |
//! | [`SecretPlace`], [`TextOrPlace`], [`Span`] | your own secrets and durations |
//!
//! # From TOML
//!
//! ```
//! use serde::Deserialize;
//! use tower_bearer::{
//!     BearerAuthLayer, TokenCache,
//!     config::{self, CacheConfig, LayerConfig, TokenConfig},
//!     replay::CloneBody,
//! };
//!
//! #[derive(Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Settings {
//!     token: TokenConfig,
//!     #[serde(default)]
//!     cache: CacheConfig,
//!     #[serde(default)]
//!     layer: LayerConfig,
//! }
//!
//! let text = r#"
//!     [token]
//!     url = "https://auth.example.org/token"
//!     grant = "client_credentials"
//!     client_id = "my-service"
//!     client_secret = { file = "/run/secrets/client-secret" }
//!     scope = "system/Observation.rs"
//!
//!     [cache]
//!     renewal_deadline = "5s"
//!     stale_before_expiry = { max = "2m", share = 0.2 }
//!
//!     [layer]
//!     origins = ["https://fhir.example.org"]
//! "#;
//! let settings: Settings = config::read(toml::Deserializer::parse(text)?)?;
//!
//! # #[cfg(feature = "client")] {
//! let cache = settings.cache.builder(settings.token.source()?).build();
//! let layer = settings.layer.apply(BearerAuthLayer::with_cache(cache), |_| CloneBody)?;
//! # }
//!
//! let wrong: Result<Settings, _> = config::read(toml::Deserializer::parse(&text.replace("client_id", "clinet_id"))?);
//! assert_eq!(wrong.err().unwrap().to_string(), "token.clinet_id: unknown key; did you mean `client_id`?");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # From the environment
//!
//! `APP_TOKEN__CLIENT_ID` is the key `token.client_id` after the prefix `APP_`: two underscores separate the levels.
//!
//! ```
//! # use serde::Deserialize;
//! # use tower_bearer::config::{self, TokenConfig};
//! # #[derive(Deserialize)]
//! # struct Settings {
//! #     token: TokenConfig,
//! # }
//! // `config::from_env("APP_")` takes the variables of the process.
//! let settings: Settings = config::from_vars("APP_", [
//!     ("APP_TOKEN__URL", "https://auth.example.org/token"),
//!     ("APP_TOKEN__GRANT", "client_credentials"),
//!     ("APP_TOKEN__CLIENT_ID", "my-service"),
//!     ("APP_TOKEN__CLIENT_SECRET__ENV", "CLIENT_SECRET"), // another variable, without the prefix
//! ])?;
//! # Ok::<(), tower_bearer::Error>(())
//! ```
//!
//! # Secrets
//!
//! A secret is not a part of the settings. They say where it is: `{ file = "…" }` or `{ env = "…" }`. It is
//! [read](crate::grant::Secret) for each token request. A secret that is written into the settings is an error.
//!
//! # Errors
//!
//! Each error is one line: the path of the key, what is wrong, and what to do. It shows no value, because a value may be a
//! secret at the wrong place. The errors of a format may show lines of the file. So let [`read`] read the types, and take only the
//! place from a format's own error.

mod cache; // a cache
mod client; // how the client of a grant authenticates
mod environment; // environment variables as settings
mod grant; // builds a grant from its settings
mod layer; // a layer
mod nearest; // the known name that a person may have meant
mod place; // where in the settings a value is, for errors
mod pool; // many identities
mod read; // settings from a format
mod reader; // reads settings from a tree, with errors that name their place
mod secret_place; // where a secret is: a file or a variable
mod token; // a grant
mod tree; // settings of any format, before their keys are known
mod units; // durations, shares, names and lists
#[cfg(feature = "on-behalf-of")]
mod users; // builds a grant for many users from its settings

pub use cache::CacheConfig;
pub use environment::{from_env, from_vars};
pub use layer::LayerConfig;
pub use pool::PoolConfig;
pub use read::read;
pub use secret_place::{SecretPlace, TextOrPlace};
pub use token::TokenConfig;
pub use units::Span;
