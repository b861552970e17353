//! Whose token a request needs.

use tower_bearer::grant::Subject;

/// The identity of a request. The layer finds it in the request's extensions.
#[derive(Clone)]
pub enum Identity {
    /// One of the tenants in the file.
    Tenant(String),
    /// A user, by the token that came with the request.
    User(Subject),
}
