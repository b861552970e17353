//! The crate does not need jsonwebtoken's process-wide crypto provider, which panics if a program's crates enable two.
//! This test is a separate binary because it installs a provider that always panics.
#![cfg(feature = "jwt")]

use jsonwebtoken::crypto::{CryptoProvider, KeyUtils};
use serde_json::Value;
use tower_bearer::{
    AccessToken,
    verify::{KeySet, Verifier},
};

static PANICS: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| panic!("the process-wide provider was asked to sign"),
    verifier_factory: |_, _| panic!("the process-wide provider was asked to verify"),
    key_utils: KeyUtils::new_unimplemented(),
};

#[test]
fn tokens_are_verified_without_the_provider_of_the_process() {
    PANICS.install_default().unwrap();
    let vectors: Value = serde_json::from_str(include_str!("api/verify/vectors.json")).unwrap();
    let keys = KeySet::from_json(vectors["keys"].to_string()).unwrap();
    for name in ["RS256", "RS384", "ES256", "ES384"] {
        let token = AccessToken::new(vectors["tokens"][name].as_str().unwrap()).unwrap();
        Verifier::new("https://issuer.test").verify(&token, &keys).unwrap();
    }
}
