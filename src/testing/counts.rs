//! The issuer's counters.

/// The counters of an [`Issuer`](super::Issuer), returned by [`Issuer::counts`](super::Issuer::counts).
///
/// `issued + refused` is less than `token_requests` while requests wait at a gate or for a delay, and if a client gave up
/// while it waited there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// `POST` requests that arrived at the token endpoint, counted before any gate or delay.
    pub token_requests: u64,
    /// Token requests with `grant_type=password`.
    pub password: u64,
    /// Token requests with `grant_type=refresh_token`.
    pub refresh_token: u64,
    /// Token requests with `grant_type=client_credentials`.
    pub client_credentials: u64,
    /// Token requests answered with a token, scripted responses included.
    pub issued: u64,
    /// Token requests that got no token: refused by the rules or failed by the script.
    pub refused: u64,
    /// Metadata documents that were served.
    pub metadata: u64,
    /// Revocation requests from an authenticated client.
    pub revocations: u64,
    /// Requests checked by [`Issuer::check`](super::Issuer::check) or by the protected resource.
    pub api_requests: u64,
    /// Checked requests that were accepted.
    pub api_accepted: u64,
    /// Checked requests that were rejected.
    pub api_rejected: u64,
}
