//! How the tests of this module ask the issuer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use serde_json::Value;
use tower::ServiceExt as _;

use super::{Issuer, Outage};

pub(super) const PASSWORD: &str = "grant_type=password&username=user1&password=user-password";

/// Posts a form as the default client.
pub(super) async fn ask(issuer: &Issuer, path: &str, form: &str) -> Response<Full<Bytes>> {
    try_ask(issuer, path, form).await.unwrap()
}

pub(super) async fn try_ask(issuer: &Issuer, path: &str, form: &str) -> Result<Response<Full<Bytes>>, Outage> {
    let request = post(path, Some("client1:client-secret"), form);
    issuer.service().oneshot(request).await
}

/// Posts a form with this user-pass, or without.
pub(super) async fn ask_as(issuer: &Issuer, path: &str, basic: Option<&str>, form: &str) -> Response<Full<Bytes>> {
    issuer.service().oneshot(post(path, basic, form)).await.unwrap()
}

pub(super) fn post(uri: &str, basic: Option<&str>, form: &str) -> Request<Full<Bytes>> {
    let mut request = Request::post(uri).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    if let Some(basic) = basic {
        request = request.header(AUTHORIZATION, format!("Basic {}", STANDARD.encode(basic)));
    }
    request.body(Full::from(form.to_owned())).unwrap()
}

pub(super) async fn json_body(response: Response<Full<Bytes>>) -> Value {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&body).unwrap()
}

/// The headers of an API request with the token of this token answer.
pub(super) fn bearer(token_answer: &Value) -> HeaderMap {
    let token = token_answer["access_token"].as_str().unwrap();
    HeaderMap::from_iter([(AUTHORIZATION, format!("Bearer {token}").parse().unwrap())])
}
