//! Challenges: the parser of the `WWW-Authenticate` header, in which a server says how a request must authenticate.

#[expect(clippy::module_inception, reason = "the file is named after the type in it")]
mod challenge; // `Challenge`
mod grammar; // the parts of a field line

pub use challenge::Challenge;
pub(crate) use challenge::{INSUFFICIENT_SCOPE, INSUFFICIENT_USER_AUTHENTICATION, INVALID_TOKEN};
pub(crate) use grammar::is_token;
