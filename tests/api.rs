//! The behaviour of the crate, by topic. The name of each test states a fact.

#[path = "api/support.rs"]
mod support;

#[cfg(feature = "jwt")]
#[path = "api/assertions.rs"]
mod assertions;
#[path = "api/axum_handlers.rs"]
mod axum_handlers;
#[path = "api/blocking_programs.rs"]
mod blocking_programs;
#[path = "api/call.rs"]
mod call;
#[path = "api/client_numbers.rs"]
mod client_numbers;
#[path = "api/conformance.rs"]
mod conformance;
#[path = "api/connection.rs"]
mod connection;
#[cfg(all(feature = "on-behalf-of", feature = "sealing"))]
#[path = "api/debug_output.rs"]
mod debug_output;
#[path = "api/early_rejections.rs"]
mod early_rejections;
#[cfg(feature = "sealing")]
#[path = "api/fleet.rs"]
mod fleet;
#[path = "api/frequent_revocations.rs"]
mod frequent_revocations;
#[path = "api/grant.rs"]
mod grant;
#[path = "api/grants.rs"]
mod grants;
#[path = "api/held_answers.rs"]
mod held_answers;
#[cfg(feature = "client")]
#[path = "api/http_client.rs"]
mod http_client;
#[path = "api/import_graph.rs"]
mod import_graph;
#[path = "api/imports.rs"]
mod imports;
#[path = "api/judge_body.rs"]
mod judge_body;
#[path = "api/judge_body_servers.rs"]
mod judge_body_servers;
#[path = "api/judging.rs"]
mod judging;
#[path = "api/liveness.rs"]
mod liveness;
#[path = "api/metadata.rs"]
mod metadata;
#[path = "api/middleware.rs"]
mod middleware;
#[path = "api/narrowing.rs"]
mod narrowing;
#[path = "api/narrowing_refusals.rs"]
mod narrowing_refusals;
#[path = "api/observed.rs"]
mod observed;
#[cfg(feature = "on-behalf-of")]
#[path = "api/on_behalf_of.rs"]
mod on_behalf_of;
#[path = "api/order.rs"]
mod order;
#[path = "api/order_bodies.rs"]
mod order_bodies;
#[path = "api/origins.rs"]
mod origins;
#[path = "api/outside_runtimes.rs"]
mod outside_runtimes;
#[path = "api/pieces.rs"]
mod pieces;
#[path = "api/pool.rs"]
mod pool;
#[cfg(feature = "on-behalf-of")]
#[path = "api/pool_evictions.rs"]
mod pool_evictions;
#[path = "api/pool_model.rs"]
mod pool_model;
#[path = "api/pool_outages.rs"]
mod pool_outages;
#[path = "api/pool_renewals.rs"]
mod pool_renewals;
#[path = "api/protected_resource.rs"]
mod protected_resource;
#[path = "api/public_api.rs"]
mod public_api;
#[path = "api/raw.rs"]
mod raw;
#[path = "api/readiness.rs"]
mod readiness;
#[cfg(feature = "metrics")]
#[path = "api/recorder.rs"]
mod recorder;
#[path = "api/recursion.rs"]
mod recursion;
#[path = "api/redirects.rs"]
mod redirects;
#[path = "api/rejections.rs"]
mod rejections;
#[path = "api/renewal.rs"]
mod renewal;
#[path = "api/renewal_ages.rs"]
mod renewal_ages;
#[path = "api/renewal_failures.rs"]
mod renewal_failures;
#[path = "api/renewal_kept.rs"]
mod renewal_kept;
#[path = "api/renewal_late.rs"]
mod renewal_late;
#[path = "api/renewal_placement.rs"]
mod renewal_placement;
#[path = "api/renewal_proof.rs"]
mod renewal_proof;
#[path = "api/renewal_rejections.rs"]
mod renewal_rejections;
#[path = "api/renewal_retries.rs"]
mod renewal_retries;
#[path = "api/replay.rs"]
mod replay;
#[path = "api/replay_model.rs"]
mod replay_model;
#[path = "api/required_scopes.rs"]
mod required_scopes;
#[path = "api/retry.rs"]
mod retry;
#[path = "api/revocation.rs"]
mod revocation;
#[path = "api/rotation.rs"]
mod rotation;
#[path = "api/scopes.rs"]
mod scopes;
#[path = "api/scopes_model.rs"]
mod scopes_model;
#[path = "api/scripted.rs"]
mod scripted;
#[path = "api/secret_places.rs"]
mod secret_places;
#[path = "api/secrets.rs"]
mod secrets;
#[path = "api/security_page.rs"]
mod security_page;
#[path = "api/settings.rs"]
mod settings;
#[path = "api/settings_environment.rs"]
mod settings_environment;
#[path = "api/settings_errors.rs"]
mod settings_errors;
#[cfg(feature = "on-behalf-of")]
#[path = "api/settings_users.rs"]
mod settings_users;
#[path = "api/sizes.rs"]
mod sizes;
#[path = "api/stack.rs"]
mod stack;
#[path = "api/stack_checks.rs"]
mod stack_checks;
#[path = "api/stopped_runtimes.rs"]
mod stopped_runtimes;
#[path = "api/stores.rs"]
mod stores;
#[path = "api/token_answers.rs"]
mod token_answers;
#[path = "api/token_header.rs"]
mod token_header;
#[path = "api/token_server.rs"]
mod token_server;
#[path = "api/uploads.rs"]
mod uploads;
#[path = "api/upstream.rs"]
mod upstream;
#[path = "api/user_code_and_bodies.rs"]
mod user_code_and_bodies;
#[path = "api/user_code_and_locks.rs"]
mod user_code_and_locks;
#[cfg(feature = "on-behalf-of")]
#[path = "api/user_outages.rs"]
mod user_outages;
#[cfg(feature = "jwt")]
#[path = "api/verify.rs"]
mod verify;
#[path = "api/walk.rs"]
mod walk;
