//! reqwest's client with tokens, against real servers on loopback.

#[path = "reqwest/bodies.rs"]
mod bodies;
#[path = "reqwest/conformance.rs"]
mod conformance;
#[path = "reqwest/errors.rs"]
mod errors;
#[path = "reqwest/middleware.rs"]
mod middleware;
#[path = "reqwest/redirects.rs"]
mod redirects;
#[path = "reqwest/requests.rs"]
mod requests;
#[path = "reqwest/revocations.rs"]
mod revocations;
#[path = "reqwest/server.rs"]
mod server;
#[path = "reqwest/stacks.rs"]
mod stacks;
#[path = "reqwest/support.rs"]
mod support;
