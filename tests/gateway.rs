//! Runs `examples/gateway` as a process, between real clients, a real upstream and the scripted issuer.

#[path = "gateway/admin.rs"]
mod admin;
#[path = "gateway/ends.rs"]
mod ends;
#[path = "gateway/failures.rs"]
mod failures;
#[path = "gateway/process.rs"]
mod process;
#[path = "gateway/requests.rs"]
mod requests;
#[path = "gateway/sides.rs"]
mod sides;
#[path = "gateway/tls.rs"]
mod tls;
#[path = "gateway/usage.rs"]
mod usage;
