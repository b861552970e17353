//! What each grant sends, and nothing else: the type parameters of [`Grant`](crate::grant::Grant).

mod kind;
pub(super) mod password;

pub use kind::Flow;
pub use password::PasswordFlow;
