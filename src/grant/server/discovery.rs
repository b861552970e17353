//! Finding the metadata of a server. Its answer is untrusted input, as at the token endpoint.

use http::{HeaderValue, Request, header::ACCEPT};

use crate::{
    error::{Error, ServerPart},
    grant::{
        exchange::{http_exchange::HttpExchange, http_service::HttpService, members::Members},
        server::{
            metadata::{Metadata, MetadataDocument},
            url::{Url, redacted, server_name},
        },
    },
};

/// How error messages name the place.
const METADATA: ServerPart = ServerPart::Metadata;

impl Metadata {
    /// Fetches the metadata of an issuer with the ready-made HTTPS client. It looks where RFC 8414 §3 says, and then where
    /// OpenID Connect Discovery says.
    ///
    /// # Errors
    /// When the issuer is not a URL that secrets may be sent to, when the server cannot be reached, or when the answer is not
    /// the issuer's metadata: its `issuer` must be exactly the one that was asked for (§3.3).
    #[cfg(feature = "client")]
    pub async fn discover(issuer: impl Into<String>) -> Result<Self, Error> {
        Self::discover_with(crate::grant::exchange::http_client::HttpClient::builder().build()?, issuer).await
    }

    /// Fetches the metadata of an issuer with your own HTTP client, as [`discover`](Self::discover) does. The client must not
    /// follow redirects.
    ///
    /// # Errors
    /// As [`discover`](Self::discover).
    pub async fn discover_with(http: impl HttpService, issuer: impl Into<String>) -> Result<Self, Error> {
        discover_issuer(&HttpExchange::new(http), &issuer.into()).await
    }

    /// Fetches the metadata of the authorization server that protects a FHIR server (SMART App Launch 2.2, "Retrieving
    /// `.well-known/smart-configuration`"), with the ready-made HTTPS client.
    ///
    /// # Errors
    /// When the base URL is not a URL that secrets may be sent to, when the server cannot be reached, or when the answer is
    /// not metadata.
    #[cfg(feature = "client")]
    pub async fn discover_smart(fhir_base: impl Into<String>) -> Result<Self, Error> {
        Self::discover_smart_with(crate::grant::exchange::http_client::HttpClient::builder().build()?, fhir_base).await
    }

    /// Fetches the metadata for a FHIR server with your own HTTP client, as [`discover_smart`](Self::discover_smart) does.
    /// The client must not follow redirects.
    ///
    /// # Errors
    /// As [`discover_smart`](Self::discover_smart).
    pub async fn discover_smart_with(http: impl HttpService, fhir_base: impl Into<String>) -> Result<Self, Error> {
        discover_smart(&HttpExchange::new(http), &fhir_base.into()).await
    }
}

/// Finds the metadata of an issuer (RFC 8414 §3, or OpenID Connect Discovery 1.0 §4).
pub(crate) async fn discover_issuer<C: HttpService>(
    exchange: &HttpExchange<C>,
    issuer: &str,
) -> Result<Metadata, Error> {
    let url = check_issuer(issuer, exchange.plain_http)?;
    let second = || fetch(exchange, openid_configuration_url(issuer), MetadataDocument::read);
    let found = match fetch(exchange, oauth_metadata_url(&url), MetadataDocument::read).await {
        Err(error) if is_absence(&error) => second().await,
        // Some servers answer every URL with some JSON.
        Ok(other) if other.is_something_else() => match second().await {
            Err(error) if is_absence(&error) => Ok(other),
            found => found,
        },
        // A server that is unreachable or busy would be so at the other URL too.
        found => found,
    };
    let document = found.map_err(at(METADATA, &url))?;
    if document.issuer.as_deref() != Some(issuer) {
        let why = wrong_issuer(document.issuer.as_deref(), issuer);
        return Err(at(METADATA, &url)(Error::unusable_response(why)));
    }
    Metadata::from_document(document, &url, exchange.plain_http, false).map_err(at(METADATA, &url))
}

/// Says how the issuer that the metadata names differs from the one that was asked for.
fn wrong_issuer(named: Option<&str>, asked: &str) -> String {
    // `redacted` shows an empty path as a slash.
    let shown = |text: &str| {
        let uri = text.parse().ok()?;
        Some(format!("{}{}", redacted(&uri).trim_end_matches('/'), if text.ends_with('/') { "/" } else { "" }))
    };
    let Some(named) = named else { return "its issuer is missing, or is not a string (RFC 8414 §3.3)".to_owned() };
    let (this, other) = match (shown(named), shown(asked)) {
        (Some(this), Some(other)) => (this, other),
        _ => ("no issuer".to_owned(), asked.to_owned()),
    };
    if named.trim_end_matches('/') == asked.trim_end_matches('/') {
        return format!(
            "it is the metadata of {this}, and the issuer that was asked for is {other} (RFC 8414 §3.3); they differ in the \
             slash at the end, so give the issuer as {this}"
        );
    }
    format!("it is the metadata of {this}, which is not exactly the issuer that was asked for (RFC 8414 §3.3)")
}

/// Finds the metadata of a FHIR server's authorization server. Its `issuer`, if it has one, is not the FHIR server.
pub(crate) async fn discover_smart<C: HttpService>(
    exchange: &HttpExchange<C>,
    fhir_base: &str,
) -> Result<Metadata, Error> {
    let base = check_fhir_base(fhir_base, exchange.plain_http)?;
    let url = format!("{}/.well-known/smart-configuration", fhir_base.trim_end_matches('/'));
    let document = fetch(exchange, url, MetadataDocument::read).await;
    let metadata = document.and_then(|it| Metadata::from_document(it, &base, exchange.plain_http, true));
    metadata.map_err(at(METADATA, &base))
}

/// Says where an error happened.
pub(super) fn at(part: ServerPart, location: &Url) -> impl Fn(Error) -> Error {
    move |error| error.at(part).about(&server_name(&location.uri))
}

/// Fetches a document, and reads its members.
pub(super) async fn fetch<C: HttpService, T>(
    exchange: &HttpExchange<C>,
    url: String,
    read: impl FnOnce(&Members<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    let url = Url::new(&url, exchange.plain_http).map_err(|why| Error::config(format!("the metadata URL {why}")))?;
    let mut request = Request::default();
    *request.uri_mut() = url.uri;
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
    let mut reply = exchange.send(request, None).await?;
    if !reply.status.is_success() {
        return Err(reply.complete(Error::unexplained_status(reply.status)));
    }
    let text = reply.take_text()?;
    read(&reply.members(&text)?)
}

/// Checks an issuer identifier (RFC 8414 §2).
pub(crate) fn check_issuer(issuer: &str, plain_http: bool) -> Result<Url, Error> {
    let url = Url::from_setting(issuer, "issuer", "https://auth.example.org", plain_http)?;
    if issuer.contains('?') {
        return Err(Error::config("the issuer has a query, which RFC 8414 §2 does not allow: remove it"));
    }
    Ok(url)
}

pub(crate) fn check_fhir_base(fhir_base: &str, plain_http: bool) -> Result<Url, Error> {
    let url = Url::from_setting(fhir_base, "FHIR base URL", "https://fhir.example.org/r4", plain_http)?;
    if fhir_base.contains('?') {
        return Err(Error::config("the FHIR base URL has a query: remove it"));
    }
    Ok(url)
}

/// Puts the well-known part between the host and the path (RFC 8414 §3.1).
fn oauth_metadata_url(issuer: &Url) -> String {
    well_known_url(issuer, "oauth-authorization-server", issuer.uri.path().trim_end_matches('/'))
}

/// Returns the well-known URL of this name at the host of a URL (RFC 8615 §3), with `after` at its end.
pub(super) fn well_known_url(url: &Url, name: &str, after: &str) -> String {
    let host = url.uri.authority().map_or("", |authority| authority.as_str());
    format!("{}://{host}/.well-known/{name}{after}", url.uri.scheme_str().unwrap_or("https"))
}

/// Puts the well-known part after the path (OpenID Connect Discovery 1.0 §4).
fn openid_configuration_url(issuer: &str) -> String {
    format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'))
}

/// Returns whether the failure means that this URL has no metadata, and not that the server cannot answer now.
pub(super) fn is_absence(error: &Error) -> bool {
    let status = error.status().map(|status| status.as_u16());
    let is_refused = matches!(status, Some(400..=499)) && !error.is_transient();
    is_refused || matches!(status, Some(500 | 501)) || error.is_unusable() || error.is_redirect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc8414_section_3_1_puts_the_well_known_part_before_the_issuers_path() {
        for (issuer, url) in [
            ("https://a.test", "https://a.test/.well-known/oauth-authorization-server"),
            ("https://a.test/", "https://a.test/.well-known/oauth-authorization-server"),
            ("https://a.test:8443/tenant/1", "https://a.test:8443/.well-known/oauth-authorization-server/tenant/1"),
            ("https://a.test/tenant/", "https://a.test/.well-known/oauth-authorization-server/tenant"),
        ] {
            assert_eq!(oauth_metadata_url(&check_issuer(issuer, false).unwrap()), url);
        }
    }

    #[test]
    fn an_issuer_is_an_https_url_without_query_and_fragment() {
        for wrong in ["a.test", "http://a.test", "https://a.test/?x", "https://a.test/#x", "https://u:p@a.test"] {
            assert!(check_issuer(wrong, false).is_err(), "{wrong}");
        }
        assert!(check_issuer("http://127.0.0.1:1/x", false).is_ok());
    }
}
