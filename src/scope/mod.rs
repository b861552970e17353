//! Scopes, which say what a token may be used for (RFC 6749 §3.3), and the clinical scopes of SMART App Launch 2.2.
//!
//! ```
//! use tower_bearer::{Scopes, scope::{Interaction, Level}};
//!
//! let granted: Scopes = "openid patient/*.read".parse()?;
//! let needed: Scopes = "patient/Observation.rs".parse()?;
//! assert!(granted.covers(&needed));
//! assert!(granted.allows(Level::Patient, "Observation", Interaction::Search));
//! # Ok::<(), tower_bearer::scope::InvalidScope>(())
//! ```

mod describe;
mod error;
mod interaction;
mod level;
mod scopes;
mod smart;

pub use describe::describe;
pub use error::InvalidScope;
pub use interaction::Interaction;
pub use level::Level;
pub use scopes::Scopes;
pub use smart::SmartScope;

pub(crate) use error::only_scope_characters;
