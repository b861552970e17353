//! What requests and responses carry in their extensions: what a request tells the layer, and what a response tells its
//! caller.

mod body_verdict;
mod elsewhere;
mod insufficient;
mod outcome;
mod request;
mod resource_metadata;

pub use body_verdict::BodyVerdict;
pub use elsewhere::AnsweredElsewhere;
pub use insufficient::{InsufficientScope, InsufficientUserAuthentication};
pub use outcome::{NotRetried, Outcome};
pub use request::{RequiredScopes, SkipBearerAuth};
pub use resource_metadata::ResourceMetadata;

pub(crate) use body_verdict::BodyMark;
pub(crate) use request::RequestMarkers;
