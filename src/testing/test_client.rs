//! Requests to the issuer in process, for the tests of this module.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use serde_json::Value;
use tower::ServiceExt as _;

use crate::testing::failure::Outage;
use crate::testing::issuer::Issuer;

pub(super) const PASSWORD: &str = "grant_type=password&username=user1&password=user-password";

/// Posts a form with the default client's credentials.
pub(super) async fn post_form(issuer: &Issuer, path: &str, form: &str) -> Response<Full<Bytes>> {
    try_post_form(issuer, path, form).await.unwrap()
}

pub(super) async fn try_post_form(issuer: &Issuer, path: &str, form: &str) -> Result<Response<Full<Bytes>>, Outage> {
    let request = form_request(path, Some("client1:client-secret"), form);
    issuer.service().oneshot(request).await
}

/// Posts a form with these Basic credentials, or without any.
pub(super) async fn post_form_as(
    issuer: &Issuer,
    path: &str,
    basic: Option<&str>,
    form: &str,
) -> Response<Full<Bytes>> {
    issuer.service().oneshot(form_request(path, basic, form)).await.unwrap()
}

pub(super) fn form_request(uri: &str, basic: Option<&str>, form: &str) -> Request<Full<Bytes>> {
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

/// Returns the headers of an API request that carries the token of this token response.
pub(super) fn bearer_headers(token_response: &Value) -> HeaderMap {
    let token = token_response["access_token"].as_str().unwrap();
    HeaderMap::from_iter([(AUTHORIZATION, format!("Bearer {token}").parse().unwrap())])
}
