#![doc = include_str!("../docs/guide.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod admission;
pub mod cache;
mod challenge;
mod clock;
mod config;
mod destination;
mod drain;
mod error;
mod extensions;
mod future;
pub mod grant;
mod inner_service;
mod layer;
mod origin;
mod per_core;
mod recursion;
pub mod replay;
mod saved_head;
pub mod scope;
mod secret_string;
mod service;
pub mod source;
mod sync;
#[cfg(feature = "testing")]
pub mod testing;
mod token;
mod transport;
mod verdict;
#[cfg(feature = "jwt")]
pub mod verify;

pub use cache::{CacheStatus, TokenCache};
pub use challenge::Challenge;
pub use error::{BoxError, Error, FailureClass};
pub use extensions::{
    InsufficientScope, InsufficientUserAuthentication, NotRetried, Outcome, RequiredScopes, SkipBearerAuth,
};
pub use future::ResponseFuture;
pub use grant::PasswordGrant;
pub use layer::BearerAuthLayer;
pub use scope::{Scopes, SmartScope};
pub use secret_string::SecretString;
pub use service::BearerAuth;
pub use source::{BoxTokenSource, FixedToken, Reason, TokenSource};
pub use token::{AccessToken, Claims, Lifetime};
pub use verdict::Verdict;
