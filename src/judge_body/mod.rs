//! Rejections in the body of an answer: some APIs answer 200 to a token that they do not accept, and say so in the body.
//!
//! [`BearerAuthLayer::judge_body`](crate::BearerAuthLayer::judge_body) sets a rule for them.

mod body; // the body of an answer, with the first bytes that were read
mod content_type; // which answers are looked at
mod first_bytes; // reads the first bytes and asks the rule
mod json; // finds values in JSON, and skips all others
mod layer; // puts the service below the middleware
mod make_body; // which type the body of an answer has
mod rule; // the rule, and those of known servers by name
mod servers; // what the rules of known servers look for
mod service; // looks at the answers of the inner service

pub use body::JudgedBody;
pub use layer::JudgeBodyLayer;
pub use make_body::{Made, Wrapped};
pub use rule::BodyRule;
pub use service::{JudgeBody, JudgeBodyFuture};

pub use crate::extensions::BodyVerdict;
