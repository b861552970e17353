//! Whose token a request needs.

use tower_bearer::{grant::Subject, pool::Shown};

/// The identity of a request. The layer finds it in the request's extensions.
#[derive(Clone)]
pub enum Identity {
    /// One of the tenants in the file, whose names are not secret.
    Tenant(Shown<String>),
    /// A user, by the token that came with the request.
    User(Subject),
}
