//! The endpoints, the same in process and on loopback.

use bytes::Bytes;
use http::header::DATE;
use http::{Method, Request, Response};

use super::answer::{Content, Refusal, bare, json_answer, wrong_method};
use super::client::authenticate;
use super::request::base;
use super::script::{Step, amend};
use super::{Failure, Issuer, Outage, TokenRequest, metadata};

/// More than this in a request to the issuer is answered with 413, so that a thousand kept requests stay small.
pub(super) const REQUEST_LIMIT: usize = 64 * 1024;

/// Whether the path belongs to the protected resource.
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
            _ if document.is_some() && !get => wrong_method("GET"),
            _ if document.is_some() => {
                self.state().counts.metadata += 1;
                json_answer(&document.unwrap_or_default())
            }
            path if is_api(path) => self.resource(request.headers()).map(Content::Whole),
            _ if request.body().len() > REQUEST_LIMIT => bare(413),
            "/token" if post => self.token(request).await?,
            "/revoke" if post => self.revoke(request),
            "/jwks" if get => json_answer(&self.state().key.set()),
            "/token" | "/revoke" => wrong_method("POST"),
            "/jwks" => wrong_method("GET"),
            _ => bare(404),
        };
        let skew = self.state().clock_skew;
        response.headers_mut().insert(DATE, self.clock().http_date(skew));
        Ok(response)
    }

    async fn token(&self, request: Request<Bytes>) -> Result<Response<Content>, Outage> {
        let (parts, body) = request.into_parts();
        let request = TokenRequest::new(parts, &body);
        let (gate, delay) = self.state().arrived(request.clone());
        if let Some(gate) = gate {
            gate.pass().await;
        }
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }

        let step = self.state().script.next();
        match step {
            Step::Honest => Ok(self.by_the_rules(&request, None)),
            Step::Amend(patch) => Ok(self.by_the_rules(&request, Some(patch))),
            Step::Answer(json) => {
                self.count_outcome(true);
                Ok(json_answer(&json))
            }
            Step::Fail(failure) => {
                if matches!(failure, Failure::AnswerLost) {
                    self.by_the_rules(&request, None);
                } else {
                    self.count_outcome(false);
                }
                failure.happen().await
            }
        }
    }

    fn by_the_rules(&self, request: &TokenRequest, patch: Option<serde_json::Value>) -> Response<Content> {
        match self.serve_token(request) {
            Ok(mut answer) => {
                if let Some(patch) = patch {
                    amend(&mut answer, patch);
                }
                json_answer(&answer)
            }
            Err(refusal) => refusal.answer(),
        }
    }

    /// RFC 7009 §2: 200 even for a token that nobody knows.
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
            return refusal.answer();
        }
        let Some(token) = request.param("token") else {
            return Refusal::new("invalid_request", "There is no token").answer();
        };
        state.counts.revocations += 1;
        state.store.revoke(token);
        bare(200)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;
    use tower::ServiceExt as _;

    use super::*;
    use crate::testing::ask::{PASSWORD, ask, ask_as, bearer, json_body};
    use crate::testing::{RefreshTokens, Standing};

    async fn status(method: &str, path: &str, body: Vec<u8>) -> u16 {
        let request = Request::builder().method(method).uri(path).body(Full::from(body)).unwrap();
        Issuer::new().service().oneshot(request).await.unwrap().status().as_u16()
    }

    #[tokio::test]
    async fn unknown_paths_and_methods_and_large_bodies_are_told_apart() {
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
            assert_eq!(ask(&issuer, "/token", form).await.status(), 400, "{form}");
        }
        for basic in ["", ":", "no colon", "%ff:%ff", "a&b:c", "ü:ü"] {
            assert_eq!(ask_as(&issuer, "/token", Some(basic), PASSWORD).await.status(), 401, "{basic}");
        }
    }

    #[tokio::test]
    async fn a_revoked_token_is_not_accepted_and_an_unknown_one_is_no_error() {
        let issuer = Issuer::new();
        let body = json_body(ask(&issuer, "/token", PASSWORD).await).await;
        for token in [body["access_token"].as_str().unwrap(), "made-up"] {
            let response = ask(&issuer, "/revoke", &format!("token={token}")).await;
            assert_eq!(response.status(), 200);
        }
        assert_eq!(issuer.check(&bearer(&body)), Standing::Revoked);
        assert_eq!(ask_as(&issuer, "/revoke", None, "token=x").await.status(), 401);
        assert_eq!(issuer.counts().revocations, 2);
    }

    #[tokio::test]
    async fn revoking_a_refresh_token_revokes_its_access_token() {
        let issuer = Issuer::builder().refresh_tokens(RefreshTokens::Kept).build();
        let body = json_body(ask(&issuer, "/token", PASSWORD).await).await;
        let refresh = body["refresh_token"].as_str().unwrap();
        ask(&issuer, "/revoke", &format!("token={refresh}")).await;
        assert_eq!(issuer.check(&bearer(&body)), Standing::Revoked);
    }
}
