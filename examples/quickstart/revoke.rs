//! Revoking a token (RFC 7009), as an administrator or a logout would.

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use form_urlencoded::{Serializer, byte_serialize};
use http::{Request, Uri, header};
use http_body_util::{BodyExt, Collected, Full, Limited};
use serde_json::Value;
use tower_bearer::AccessToken;

use crate::{
    advice,
    client::https_client,
    plan::{Login, Plan, shown},
    print::plain,
    trouble::Trouble,
};

pub async fn revoke(plan: &Plan, url: &Uri, token: &AccessToken) -> Result<(), Trouble> {
    let client = https_client(plan.ca.as_deref())?;
    let request = request(plan, url, token).map_err(|_| Trouble::usage("the client id cannot stand in a header"))?;
    let response =
        client.request(request).await.map_err(|error| advice::connection(&error.into(), "issuer", "--revoke-url"))?;
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let body = Limited::new(response.into_body(), 64 * 1024).collect().await.map(Collected::to_bytes);
    let answer: Value = body.ok().and_then(|body| serde_json::from_slice(&body).ok()).unwrap_or_default();
    let code = answer["error"].as_str().map_or_else(String::new, |code| format!(" ({})", plain(code)));
    let url = shown(url);
    Err(Trouble::failed(format!(
        "{url} answered {status}{code} to the revocation: check --revoke-url, and whether this client may revoke such tokens"
    )))
}

/// The client authenticates as at the token endpoint (RFC 7009 §2.1).
fn request(plan: &Plan, url: &Uri, token: &AccessToken) -> Result<Request<Full<Bytes>>, http::Error> {
    let id = plan.client.id.as_str();
    let mut form = Serializer::new(String::new());
    form.append_pair("token", token.secret()).append_pair("token_type_hint", "access_token");
    let mut request = Request::post(url).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    match &plan.client.login {
        Login::Basic(secret) => request = basic(request, &encoded(id), &encoded(secret.expose())),
        Login::BasicRaw(secret) => request = basic(request, id, secret.expose()),
        Login::Post(secret) => {
            form.append_pair("client_id", id).append_pair("client_secret", secret.expose());
        }
        Login::None => {
            form.append_pair("client_id", id);
        }
    }
    request.body(Full::from(form.finish()))
}

fn basic(request: http::request::Builder, id: &str, secret: &str) -> http::request::Builder {
    request.header(header::AUTHORIZATION, format!("Basic {}", BASE64_STANDARD.encode(format!("{id}:{secret}"))))
}

fn encoded(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect()
}
