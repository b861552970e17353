//! Client authentication at the token endpoint (RFC 6749 §2.3, RFC 7521 §4.2).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;

use crate::testing::assertion::{CLIENT_TYPES, Signer, verify};
use crate::testing::issuer::State;
use crate::testing::request::TokenRequest;
use crate::testing::response::Refusal;
use crate::testing::settings::{ClientAuthentication, Settings};

/// Checks that the request has exactly one client authentication, of the accepted kind, with the right id and secret.
pub(super) fn authenticate(
    settings: &Settings,
    state: &mut State,
    now: i64,
    request: &TokenRequest,
) -> Result<(), Refusal> {
    use ClientAuthentication as Accepted;

    const UNKNOWN: Refusal =
        Refusal::new("invalid_client", "Unknown client, wrong secret or wrong authentication method");
    const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    const SEVERAL: Refusal = Refusal::new("invalid_request", "More than one client authentication");

    let mut headers = request.headers().get_all(AUTHORIZATION).iter();
    let header = headers.next();
    let secret = request.param("client_secret");
    let assertion = request.param("client_assertion");
    let methods = usize::from(header.is_some()) + usize::from(secret.is_some()) + usize::from(assertion.is_some());
    if methods > 1 || headers.next().is_some() {
        return Err(SEVERAL);
    }

    let accepted = settings.client_authentication;
    let id = request.param("client_id");
    let proven = match (header, secret, assertion) {
        (None, None, Some(assertion)) => {
            let by = match accepted {
                Accepted::PrivateKeyJwt => Signer::Key,
                Accepted::SecretJwt => Signer::Secret,
                _ => return Err(UNKNOWN),
            };
            if request.param("client_assertion_type") != Some(ASSERTION_TYPE) {
                return Err(UNKNOWN);
            }
            let claims = verify(assertion, by, CLIENT_TYPES, settings, &mut state.used_assertions, now, request)
                .map_err(|why| Refusal::new("invalid_client", why))?;
            id.is_none_or(|id| id == settings.client_id) && claims["sub"] == settings.client_id
        }
        (Some(header), ..) => {
            let encoded = match accepted {
                Accepted::Basic | Accepted::Either => true,
                Accepted::BasicRaw => false,
                Accepted::Post | Accepted::None | Accepted::PrivateKeyJwt | Accepted::SecretJwt => return Err(UNKNOWN),
            };
            // A `client_id` parameter in addition to the header is accepted if both are the same.
            let (name, secret) = user_pass(header.as_bytes(), encoded).ok_or(UNKNOWN)?;
            id.is_none_or(|id| id == name) && name == settings.client_id && secret == settings.client_secret
        }
        (None, Some(secret), _) => {
            matches!(accepted, Accepted::Post | Accepted::Either)
                && id == Some(&settings.client_id)
                && secret == settings.client_secret
        }
        (None, None, None) => accepted == Accepted::None && id == Some(settings.client_id.as_str()),
    };
    if proven { Ok(()) } else { Err(UNKNOWN) }
}

/// Returns the id and the secret in an HTTP Basic header.
fn user_pass(header: &[u8], encoded: bool) -> Option<(String, String)> {
    let (scheme, credentials) = std::str::from_utf8(header).ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(credentials.trim()).ok()?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    if encoded { Some((form_decoded(id)?, form_decoded(secret)?)) } else { Some((id.to_owned(), secret.to_owned())) }
}

/// Decodes one form-encoded value. Returns `None` if it contains `&`, which would start another one.
fn form_decoded(value: &str) -> Option<String> {
    let form = format!("value={value}");
    let mut pairs = form_urlencoded::parse(form.as_bytes());
    let (_, value) = pairs.next()?;
    pairs.next().is_none().then(|| value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::issuer::Issuer;
    use crate::testing::test_client::{json_body, post_form_as};

    const GRANT: &str = "grant_type=password&username=user1&password=user-password";

    async fn status(accepted: ClientAuthentication, basic: Option<&str>, body: &str) -> u16 {
        let issuer = Issuer::builder().client_authentication(accepted).build();
        let body = format!("{GRANT}{body}");
        post_form_as(&issuer, "/token", basic, &body).await.status().as_u16()
    }

    const BASIC: Option<&str> = Some("client1:client-secret");
    const POST: &str = "&client_id=client1&client_secret=client-secret";

    #[tokio::test]
    async fn each_setting_accepts_its_own_kind_only() {
        use ClientAuthentication as Accepted;
        for (accepted, basic, post, public) in [
            (Accepted::Basic, 200, 401, 401),
            (Accepted::BasicRaw, 200, 401, 401),
            (Accepted::Post, 401, 200, 401),
            (Accepted::Either, 200, 200, 401),
            (Accepted::None, 401, 401, 200),
        ] {
            assert_eq!(status(accepted, BASIC, "").await, basic, "{accepted:?}");
            assert_eq!(status(accepted, None, POST).await, post, "{accepted:?}");
            assert_eq!(status(accepted, None, "&client_id=client1").await, public, "{accepted:?}");
            assert_eq!(status(accepted, None, "").await, 401, "{accepted:?}");
            assert_eq!(status(accepted, BASIC, POST).await, 400, "{accepted:?}");
        }
    }

    #[tokio::test]
    async fn a_wrong_secret_is_challenged() {
        let issuer = Issuer::new();
        let response = post_form_as(&issuer, "/token", Some("client1:wrong"), GRANT).await;
        assert_eq!(response.status(), 401);
        assert!(response.headers()["www-authenticate"].as_bytes().starts_with(b"Basic"));
        assert_eq!(json_body(response).await["error"], "invalid_client");
    }

    #[tokio::test]
    async fn basic_is_form_decoded_and_raw_is_not() {
        let (id, secret) = ("1PpG/Q 1", "z/tZ9VwFZqApmIQ+ZH1I5pLk/uB4ud:X2/8bL+wfFTt1rFw=");
        let encoded = "1PpG%2FQ+1:z%2FtZ9VwFZqApmIQ%2BZH1I5pLk%2FuB4ud%3AX2%2F8bL%2BwfFTt1rFw%3D";
        let raw = format!("{id}:{secret}");
        for (accepted, right, wrong) in [
            (ClientAuthentication::Basic, encoded, raw.as_str()),
            (ClientAuthentication::BasicRaw, raw.as_str(), encoded),
        ] {
            let issuer = Issuer::builder().client(id, secret).client_authentication(accepted).build();
            assert_eq!(post_form_as(&issuer, "/token", Some(right), GRANT).await.status(), 200);
            assert_eq!(post_form_as(&issuer, "/token", Some(wrong), GRANT).await.status(), 401);
        }
    }
}
