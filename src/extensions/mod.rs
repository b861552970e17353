//! What requests and responses carry in their extensions: what a request tells the layer, and what a response tells its
//! caller.

mod insufficient;
mod outcome;
mod request;

pub use insufficient::{InsufficientScope, InsufficientUserAuthentication};
pub use outcome::{NotRetried, Outcome};
pub use request::{RequiredScopes, SkipBearerAuth};

pub(crate) use request::RequestMarkers;
