//! One HTTP exchange with an authorization server: what is sent, what comes back, and the client that carries it.

#[cfg(feature = "client")]
mod client_certificate; // the certificate of a client that authenticates by TLS
pub(super) mod endpoint; // token and revocation requests
pub(super) mod extra_headers; // headers that a server requires besides
pub(super) mod form; // the request body, wiped after use
#[cfg(feature = "client")]
pub(super) mod http_client; // the ready-made client
#[cfg(feature = "client")]
pub(super) mod http_client_builder; // its settings
#[cfg(feature = "client")]
mod http_connector; // its connections: direct, or through a proxy
pub(super) mod http_exchange; // sends a request within its deadline
#[cfg(feature = "client")]
mod http_proxy; // which proxy it uses for a URL
pub(super) mod http_service; // which HTTP clients fit
mod lenient; // JSON members in unusual forms: `expires_in` as text, `scope` as an array
pub(super) mod members; // the members of a JSON object, each judged alone
pub(super) mod params; // parameters that are in each request
mod reply; // status, headers and body, as hostile input; JSON by its shape
pub(super) mod request_context; // the server and the time
mod sent_secrets; // the secrets of a request, which are not shown if the server repeats them
pub(super) mod token_response; // a token response's members, and the token in it
