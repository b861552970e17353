//! What the issuer has counted.

/// What an [`Issuer`](super::Issuer) has seen so far; see [`Issuer::counts`](super::Issuer::counts).
///
/// `issued + refused` is `token_requests` less those that still wait at a gate or a delay, or were given up there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// `POST`s that arrived at the token endpoint, counted before any gate or delay.
    pub token_requests: u64,
    /// Token requests with `grant_type=password`.
    pub password: u64,
    /// Token requests with `grant_type=refresh_token`.
    pub refresh_token: u64,
    /// Token requests with `grant_type=client_credentials`.
    pub client_credentials: u64,
    /// Token requests answered with a token, a scripted one included.
    pub issued: u64,
    /// Token requests that got no token: refused by the rules or failed by the script.
    pub refused: u64,
    /// Metadata documents given.
    pub metadata: u64,
    /// Revocations asked for by an authenticated client.
    pub revocations: u64,
    /// Headers checked, by [`Issuer::check`](super::Issuer::check) or the protected resource.
    pub api_requests: u64,
    /// Of these, accepted.
    pub api_accepted: u64,
    /// Of these, rejected.
    pub api_rejected: u64,
}
