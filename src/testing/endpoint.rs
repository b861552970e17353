//! The endpoints, which are the same in process and on loopback.

use bytes::Bytes;
use http::header::DATE;
use http::{Method, Request, Response};

use crate::testing::client::authenticate;
use crate::testing::failure::{Failure, Outage};
use crate::testing::issuer::Issuer;
use crate::testing::metadata;
use crate::testing::request::{TokenRequest, base};
use crate::testing::response::{Content, Refusal, empty_response, json_response, method_not_allowed};
use crate::testing::script::{Step, amend};

/// The largest request body. A larger one gets a 413, so that the recorded requests use little memory.
pub(super) const REQUEST_LIMIT: usize = 64 * 1024;

/// Returns whether the path belongs to the protected resource.
pub(super) fn is_api(path: &str) -> bool {
    path.strip_prefix("/fhir").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Issuer {
    pub(super) async fn answer(&self, request: Request<Bytes>) -> Result<Response<Content>, Outage> {
        let post = request.method() == Method::POST;
        let get = request.method() == Method::GET;
        let document =
            metadata::document(request.uri().path(), &base(request.uri(), request.headers()), self.settings());
        let mut response = match request.uri().path() {
            _ if document.is_some() && !get => method_not_allowed("GET"),
            _ if document.is_some() => {
                self.state().counts.metadata += 1;
                json_response(&document.unwrap_or_default())
            }
            path if is_api(path) => self.resource(request.headers()).map(Content::Whole),
            _ if request.body().len() > REQUEST_LIMIT => empty_response(413),
            "/token" if post => self.token(request).await?,
            "/revoke" if post => self.revoke(request),
            "/jwks" if get => json_response(&self.state().key.set()),
            "/token" | "/revoke" => method_not_allowed("POST"),
            "/jwks" => method_not_allowed("GET"),
            _ => empty_response(404),
        };
        let skew = self.state().clock_skew;
        response.headers_mut().insert(DATE, self.clock().http_date(skew));
        Ok(response)
    }

    async fn token(&self, request: Request<Bytes>) -> Result<Response<Content>, Outage> {
        let (parts, body) = request.into_parts();
        let request = TokenRequest::new(parts, &body);
        let (gate, delay, oldest) = self.state().record(request.clone());
        drop(oldest);
        if let Some(gate) = gate {
            gate.pass().await;
        }
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }

        let step = self.state().script.next();
        match step {
            Step::Unchanged => Ok(self.by_the_rules(&request, None)),
            Step::Amend(patch) => Ok(self.by_the_rules(&request, Some(patch))),
            Step::Answer(json) => {
                self.count_outcome(true);
                Ok(json_response(&json))
            }
            Step::Fail(failure) => {
                if matches!(failure, Failure::AnswerLost) {
                    self.by_the_rules(&request, None);
                } else {
                    self.count_outcome(false);
                }
                failure.respond().await
            }
        }
    }

    fn by_the_rules(&self, request: &TokenRequest, patch: Option<serde_json::Value>) -> Response<Content> {
        match self.serve_token(request) {
            Ok(mut answer) => {
                if let Some(patch) = patch {
                    amend(&mut answer, patch);
                }
                json_response(&answer)
            }
            Err(refusal) => refusal.response(),
        }
    }

    /// Revokes a token. An unknown token also gets a 200 (RFC 7009 §2.2).
    fn revoke(&self, request: Request<Bytes>) -> Response<Content> {
        let (parts, body) = request.into_parts();
        let request = TokenRequest::new(parts, &body);
        let mut state = self.state();
        let now = self.clock().unix(state.clock_skew);
        let allowed = match request.defect() {
            Some(defect) => Err(Refusal::new("invalid_request", defect)),
            None => authenticate(self.settings(), &mut state, now, &request),
        };
        if let Err(refusal) = allowed {
            return refusal.response();
        }
        let Some(token) = request.param("token") else {
            return Refusal::new("invalid_request", "The token parameter is missing").response();
        };
        state.counts.revocations += 1;
        state.store.revoke(token);
        empty_response(200)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;
    use tower::ServiceExt as _;

    use super::*;
    use crate::testing::settings::RefreshTokens;
    use crate::testing::test_client::{PASSWORD, bearer_headers, json_body, post_form, post_form_as};
    use crate::testing::token_status::TokenStatus;

    async fn status(method: &str, path: &str, body: Vec<u8>) -> u16 {
        let request = Request::builder().method(method).uri(path).body(Full::from(body)).unwrap();
        Issuer::new().service().oneshot(request).await.unwrap().status().as_u16()
    }

    #[tokio::test]
    async fn unknown_paths_wrong_methods_and_large_bodies_have_different_statuses() {
        assert_eq!(status("GET", "/", vec![]).await, 404);
        assert_eq!(status("GET", "/token", vec![]).await, 405);
        assert_eq!(status("POST", "/jwks", vec![]).await, 405);
        assert_eq!(status("GET", "https://anywhere.test/jwks", vec![]).await, 200);
        assert_eq!(status("GET", "/fhir/Patient", vec![]).await, 401);
        assert_eq!(status("GET", "/fhirless", vec![]).await, 404);
        assert_eq!(status("POST", "/token", vec![b'a'; REQUEST_LIMIT + 1]).await, 413);
    }

    #[tokio::test]
    async fn hostile_bytes_are_refused() {
        assert_eq!(status("POST", "/token", (0..=255).collect()).await, 400);
        let issuer = Issuer::new();
        for form in ["%", "%ff%fe=%00", "&&&=&=", "grant_type", "=password", "grant_type=%F0%9F%92%A9"] {
            assert_eq!(post_form(&issuer, "/token", form).await.status(), 400, "{form}");
        }
        for basic in ["", ":", "no colon", "%ff:%ff", "a&b:c", "ü:ü"] {
            assert_eq!(post_form_as(&issuer, "/token", Some(basic), PASSWORD).await.status(), 401, "{basic}");
        }
    }

    #[tokio::test]
    async fn a_revoked_token_is_rejected_and_an_unknown_one_is_not_an_error() {
        let issuer = Issuer::new();
        let body = json_body(post_form(&issuer, "/token", PASSWORD).await).await;
        for token in [body["access_token"].as_str().unwrap(), "made-up"] {
            let response = post_form(&issuer, "/revoke", &format!("token={token}")).await;
            assert_eq!(response.status(), 200);
        }
        assert_eq!(issuer.check(&bearer_headers(&body)), TokenStatus::Revoked);
        assert_eq!(post_form_as(&issuer, "/revoke", None, "token=x").await.status(), 401);
        assert_eq!(issuer.counts().revocations, 2);
    }

    #[tokio::test]
    async fn revoking_a_refresh_token_revokes_its_access_token() {
        let issuer = Issuer::builder().refresh_tokens(RefreshTokens::Kept).build();
        let body = json_body(post_form(&issuer, "/token", PASSWORD).await).await;
        let refresh = body["refresh_token"].as_str().unwrap();
        post_form(&issuer, "/revoke", &format!("token={refresh}")).await;
        assert_eq!(issuer.check(&bearer_headers(&body)), TokenStatus::Revoked);
    }
}
