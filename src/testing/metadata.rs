//! The issuer's metadata document.

use serde_json::{Value, json};

use crate::testing::settings::{ClientAuthentication, Settings};

/// Returns the metadata document at this path, if there is one, for a server whose URL is `base`.
pub(super) fn document(path: &str, base: &str, settings: &Settings) -> Option<Value> {
    const PATHS: [&str; 3] = [
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
        "/fhir/.well-known/smart-configuration",
    ];
    if !PATHS.contains(&path) {
        return None;
    }
    let methods: &[&str] = match settings.client_authentication {
        ClientAuthentication::Basic | ClientAuthentication::BasicRaw => &["client_secret_basic"],
        ClientAuthentication::Post => &["client_secret_post"],
        ClientAuthentication::Either => &["client_secret_basic", "client_secret_post"],
        ClientAuthentication::PrivateKeyJwt => &["private_key_jwt"],
        ClientAuthentication::SecretJwt => &["client_secret_jwt"],
        ClientAuthentication::None => &["none"],
    };
    Some(json!({
        "issuer": base,
        "token_endpoint": format!("{base}/token"),
        "revocation_endpoint": format!("{base}/revoke"),
        "jwks_uri": format!("{base}/jwks"),
        "token_endpoint_auth_methods_supported": methods,
        "token_endpoint_auth_signing_alg_values_supported": ["ES256", "ES384", "HS256"],
        "grant_types_supported": [
            "password",
            "refresh_token",
            "client_credentials",
            "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "urn:ietf:params:oauth:grant-type:token-exchange",
        ],
        "scopes_supported": settings.scope.split(' ').collect::<Vec<_>>(),
        "response_types_supported": [],
        "capabilities": ["client-confidential-asymmetric"],
    }))
}
