//! Finding the authorization server of an API by the API's own metadata (RFC 9728).
//!
//! The API says which server gets the client's credentials. Its answers are untrusted input: they must not lead the client into
//! a private network.

use http::{Request, Uri};

use crate::{
    error::{Error, ServerPart},
    extensions::ResourceMetadata,
    grant::{
        exchange::{http_exchange::HttpExchange, http_service::HttpService, members::Members},
        server::{
            discovery::{at, discover_issuer, fetch, is_absence, well_known_url},
            metadata::Metadata,
            private_network::is_private_host,
            url::{Url, redacted},
        },
    },
    origin::Origin,
};

/// How error messages name the place.
const API_METADATA: ServerPart = ServerPart::ApiMetadata;

/// The members of an API's metadata that are used (RFC 9728 §2).
struct ResourceDocument {
    resource: Option<String>,
    authorization_servers: Vec<String>,
}

impl ResourceDocument {
    fn read(members: &Members<'_>) -> Result<Self, Error> {
        let servers =
            members.last("authorization_servers", |json| serde_json::from_str::<Option<Vec<String>>>(json).ok());
        if servers.is_none() && members.last("authorization_servers", |_| Some(())).is_some() {
            return Err(Error::unusable_response("its authorization_servers is not a list of strings"));
        }
        Ok(Self { resource: members.text("resource"), authorization_servers: servers.flatten().unwrap_or_default() })
    }
}

impl Metadata {
    /// Fetches the metadata of the authorization server of an API with the ready-made HTTPS client, as
    /// [`AuthorizationServer::protected_resource`](crate::grant::AuthorizationServer::protected_resource) does. Use it to look at
    /// the [issuer](Self::issuer) before credentials are sent to it.
    ///
    /// # Errors
    /// As there.
    #[cfg(feature = "client")]
    pub async fn discover_protected_resource(api: impl Into<String>) -> Result<Self, Error> {
        let http = crate::grant::exchange::http_client::HttpClient::builder().build()?;
        Self::discover_protected_resource_with(http, api).await
    }

    /// Fetches the metadata of the authorization server of an API with your own HTTP client, as
    /// [`discover_protected_resource`](Self::discover_protected_resource) does. The client must not follow redirects.
    ///
    /// # Errors
    /// As [`discover_protected_resource`](Self::discover_protected_resource).
    pub async fn discover_protected_resource_with(
        http: impl HttpService,
        api: impl Into<String>,
    ) -> Result<Self, Error> {
        discover_protected_resource(&HttpExchange::new(http), &api.into()).await
    }
}

/// Finds the metadata of the authorization server of an API.
pub(crate) async fn discover_protected_resource<C: HttpService>(
    exchange: &HttpExchange<C>,
    api: &str,
) -> Result<Metadata, Error> {
    let url = check_api(api, exchange.plain_http)?;
    let issuer = issuer_of(exchange, &url).await.map_err(at(API_METADATA, &url))?;
    let metadata = discover_issuer(exchange, &issuer.text).await?;
    for endpoint in metadata.urls() {
        check_target(&url, endpoint).map_err(at(ServerPart::Metadata, &issuer))?;
    }
    Ok(metadata)
}

/// Returns the first authorization server that an API names.
async fn issuer_of<C: HttpService>(exchange: &HttpExchange<C>, api: &Url) -> Result<Url, Error> {
    let document = match fetch(exchange, metadata_url(api), ResourceDocument::read).await {
        Err(error) if is_absence(&error) => match challenged_url(exchange, api).await {
            Some(url) => fetch(exchange, url, ResourceDocument::read).await?,
            None => return Err(error),
        },
        found => found?,
    };
    if document.resource.as_deref() != Some(&api.text) {
        let named = document.resource.and_then(|named| named.parse().ok());
        let named = named.map_or("no API".to_owned(), |named| redacted(&named));
        return Err(Error::unusable_response(format!(
            "it is the metadata of {named}, which is not exactly the URL that was asked for (RFC 9728 §3.3)"
        )));
    }
    let issuer = document.authorization_servers.into_iter().next();
    let issuer = issuer.ok_or_else(|| Error::unusable_response("it names no authorization server; name the issuer"))?;
    let wrong = |why| Error::unusable_response(format!("its authorization server {why}"));
    let issuer = Url::new(&issuer, exchange.plain_http).map_err(wrong)?;
    if api.is_https() && !issuer.is_https() && !exchange.plain_http {
        return Err(wrong("is plain http"));
    }
    check_target(api, &issuer.text)?;
    Ok(issuer)
}

/// Asks the API without a token, and returns the URL of its metadata that its challenge names, if that is at the same origin.
async fn challenged_url<C: HttpService>(exchange: &HttpExchange<C>, api: &Url) -> Option<String> {
    let mut request = Request::default();
    *request.uri_mut() = api.uri.clone();
    let reply = exchange.send(request, None).await.ok()?;
    let url = ResourceMetadata::read(reply.headers())?.url().to_owned();
    let uri: Uri = url.parse().ok()?;
    let origin = Origin::parse(&api.text).ok()?;
    origin.covers(uri.scheme_str()?, uri.authority()?).then_some(url)
}

/// Checks that a URL which another server names does not lead into a private network, unless the API is in one.
fn check_target(api: &Url, url: &str) -> Result<(), Error> {
    let is_private = |uri: &Uri| uri.host().is_none_or(is_private_host);
    let target: Option<Uri> = url.parse().ok();
    if is_private(&api.uri) || target.is_some_and(|target| !is_private(&target)) {
        return Ok(());
    }
    Err(Error::unusable_response(
        "it leads to a host in a private network, and the API is not in one; name the issuer if that is meant",
    ))
}

/// Checks the URL of an API (RFC 9728 §1.2).
pub(crate) fn check_api(api: &str, plain_http: bool) -> Result<Url, Error> {
    Url::from_setting(api, "API URL", "https://api.example.org", plain_http)
}

/// Puts the well-known part between the host and the path (RFC 9728 §3.1).
fn metadata_url(api: &Url) -> String {
    let after = api.uri.path_and_query().map_or("", |after| after.as_str());
    let after = after.strip_prefix('/').filter(|rest| rest.is_empty() || rest.starts_with('?')).unwrap_or(after);
    well_known_url(api, "oauth-protected-resource", after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9728_section_3_1_puts_the_well_known_part_before_the_path_and_the_query() {
        for (api, url) in [
            ("https://a.test", "https://a.test/.well-known/oauth-protected-resource"),
            ("https://a.test/", "https://a.test/.well-known/oauth-protected-resource"),
            ("https://a.test/?x=1", "https://a.test/.well-known/oauth-protected-resource?x=1"),
            ("https://a.test:8443/v1/mcp", "https://a.test:8443/.well-known/oauth-protected-resource/v1/mcp"),
            ("https://a.test/v1/?x", "https://a.test/.well-known/oauth-protected-resource/v1/?x"),
        ] {
            assert_eq!(metadata_url(&check_api(api, false).unwrap()), url);
        }
    }
}
