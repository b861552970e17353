//! Runs `examples/gateway` as a process, between real clients, a real upstream and the scripted issuer.

#[path = "gateway/admin.rs"]
mod admin;
#[path = "gateway/config_file.rs"]
mod config_file;
#[path = "gateway/ends.rs"]
mod ends;
#[path = "gateway/failures.rs"]
mod failures;
#[path = "gateway/heads.rs"]
mod heads;
#[path = "gateway/process.rs"]
mod process;
#[path = "gateway/redis.rs"]
mod redis;
#[path = "gateway/requests.rs"]
mod requests;
#[path = "gateway/resent.rs"]
mod resent;
#[path = "gateway/sides.rs"]
mod sides;
#[path = "gateway/store.rs"]
mod store;
#[path = "gateway/store_settings.rs"]
mod store_settings;
#[path = "gateway/tenants.rs"]
mod tenants;
#[path = "gateway/tls.rs"]
mod tls;
#[path = "gateway/usage.rs"]
mod usage;
#[path = "gateway/users.rs"]
mod users;
