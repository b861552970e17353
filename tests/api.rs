//! The behaviours that must hold, by topic. Each test is named for the fact that it states.

#[path = "api/support.rs"]
mod support;

#[path = "api/floors.rs"]
mod floors;
#[path = "api/grant.rs"]
mod grant;
#[path = "api/renewal.rs"]
mod renewal;
#[path = "api/renewal_ages.rs"]
mod renewal_ages;
#[path = "api/renewal_failures.rs"]
mod renewal_failures;
#[path = "api/renewal_placement.rs"]
mod renewal_placement;
#[path = "api/renewal_rejections.rs"]
mod renewal_rejections;
#[path = "api/retry.rs"]
mod retry;
#[path = "api/scopes.rs"]
mod scopes;
#[path = "api/scopes_model.rs"]
mod scopes_model;
#[path = "api/scripted.rs"]
mod scripted;
#[path = "api/secrets.rs"]
mod secrets;
#[path = "api/stack.rs"]
mod stack;
#[cfg(feature = "jwt")]
#[path = "api/verify.rs"]
mod verify;
