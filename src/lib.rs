#![doc = include_str!("../docs/guide.md")]
// The code in the README is tested as if it were here.
#![cfg_attr(all(doctest, feature = "client"), doc = include_str!("../README.md"))]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod admission; // what the layer does with a request: attach a token, pass it on, refuse it
mod after_commit; // what a source leaves until a store has its refresh token
mod asking; // what a grant tells the renewal that it is part of
pub mod cache; // one token over its life: freshness, renewal, rejection, backoff
mod challenge; // parses `WWW-Authenticate`
mod clock; // the wall clock
#[cfg(feature = "config")]
pub mod config; // settings from files and the environment
#[cfg(feature = "testing")]
pub mod conformance; // checks of sources, stores and HTTP stacks that users bring
mod destination; // where the token may be sent: the allowed origins, over a secure transport
mod drain; // reads the rest of a rejected response
mod error; // why no token could be had: classes, predicates, messages
pub mod events; // what is logged and counted
mod extensions; // what requests and responses carry in their extensions
mod future; // a request from its first attempt on; decides whether there is a second
pub mod grant; // token sources that ask an authorization server, a grant each
mod held_answer; // how long a rejected answer is held during a renewal
mod inner_service; // bounds that make the compiler say what to do
pub mod judge_body; // rejections in the body of an answer
mod judged; // what the result of user code says about its token
mod layer; // `BearerAuthLayer`: what users set
mod layer_config; // a layer's settings
mod origin; // scheme, host and port, compared
mod other_origins; // origins that a warning was written for
mod per_core; // copies of a shared value, one for each core
pub mod pool; // a cache for each of many identities
mod recursion; // which renewals the running task is part of
mod rejection; // answers other than 401 that reject the token
pub mod replay; // how a body is kept for the second attempt
mod runtime; // the Tokio runtime that renewals need
mod saved_head; // a request's head, saved for the second attempt
pub mod scope; // what a token may be used for; SMART scopes
mod secret_string; // secret text, wiped on drop
pub mod servers; // what real APIs and authorization servers need; only documentation
mod service; // `BearerAuth`: a request before its first attempt
pub mod source; // the `TokenSource` trait, and sources without an authorization server
pub mod store; // shares tokens between processes
mod sync; // locks and cells, replaced in tests of interleavings
#[cfg(feature = "testing")]
pub mod testing; // a scripted authorization server and API
mod timer; // deadlines, and sleeping where no Tokio timer runs
mod token; // an issued token, its claims and its lifetime
mod token_header; // the header and scheme of a token, if they are a user's own
mod transport; // whether a URL is secure enough for secrets
mod verdict; // which answers reject the token
#[cfg(feature = "jwt")]
pub mod verify; // checks signatures and claims of JWTs

pub use cache::{CacheStatus, TokenCache};
pub use challenge::Challenge;
pub use error::{BoxError, Error, FailureClass};
pub use extensions::{
    AnsweredElsewhere, InsufficientScope, InsufficientUserAuthentication, NotRetried, Outcome, RequiredScopes,
    ResendCount, ResourceMetadata, SentWithoutToken, SkipBearerAuth,
};
pub use future::ResponseFuture;
pub use grant::PasswordGrant;
pub use judged::Judged;
pub use layer::BearerAuthLayer;
pub use pool::{RequestHead, TokenPool};
pub use rejection::Rejection;
pub use scope::{Scopes, SmartScope};
pub use secret_string::SecretString;
pub use service::BearerAuth;
pub use source::{BoxTokenSource, FixedToken, Reason, TokenSource};
pub use token::{AccessToken, Claims, Lifetime};
pub use verdict::Verdict;
