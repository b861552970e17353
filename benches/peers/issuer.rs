//! The scripted issuer, and the password grant over it.

use tower_bearer::{
    PasswordGrant,
    grant::ClientAuth,
    testing::{Issuer, IssuerService, TokenFormat},
};

/// Returns an issuer of random tokens, which are faster to make than JWTs.
#[must_use]
pub fn issuer() -> Issuer {
    Issuer::builder().token_format(TokenFormat::Opaque).build()
}

/// Returns the password grant over the issuer.
///
/// # Panics
///
/// Never, because the settings are the issuer's defaults.
#[must_use]
pub fn grant(issuer: &Issuer) -> PasswordGrant<IssuerService> {
    PasswordGrant::builder("https://issuer.test/token")
        .client_auth(ClientAuth::basic("client1", "client-secret"))
        .credentials("user1", "user-password")
        .build_with(issuer.service())
        .expect("a grant")
}
