#![doc = include_str!("../docs/guide.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod cache;
mod challenge;
mod clock;
mod context;
mod copies;
mod drain;
mod error;
mod future;
pub mod grant;
mod guard;
mod head;
mod insufficiency;
mod layer;
mod origin;
mod outcome;
mod recursion;
mod rejection;
pub mod replay;
pub mod scope;
mod service;
pub mod source;
#[cfg(feature = "testing")]
pub mod testing;
mod token;
#[cfg(feature = "jwt")]
pub mod verify;

pub use cache::{CacheStatus, TokenCache};
pub use challenge::Challenge;
pub use context::SkipBearerAuth;
pub use error::{Error, FailureClass};
pub use future::ResponseFuture;
pub use grant::PasswordGrant;
pub use insufficiency::{InsufficientScope, InsufficientUserAuthentication, RequiredScopes};
pub use layer::BearerAuthLayer;
pub use outcome::{NotRetried, Outcome};
pub use rejection::Verdict;
pub use scope::{Scopes, SmartScope};
pub use service::BearerAuth;
pub use source::{BoxTokenSource, FixedToken, Reason, TokenSource};
pub use token::{AccessToken, Claims, Lifetime};
