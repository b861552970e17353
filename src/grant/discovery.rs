//! Asking a server for its metadata. What it answers is as hostile as at the token endpoint.

use std::time::Duration;

use http::{HeaderValue, Request, header::ACCEPT};

use crate::{
    error::{Error, ServerPart},
    grant::{
        http_service::HttpService,
        metadata::{Metadata, Said},
        reply::{Reply, shown},
        url::Url,
    },
    recursion::Renewing,
};

/// What failed, for errors.
const METADATA: ServerPart = ServerPart::Metadata;

/// How to ask.
#[derive(Clone)]
pub(crate) struct Asking<C> {
    pub(crate) http: C,
    pub(crate) plain_http: bool,
    pub(crate) deadline: Duration,
}

impl<C: HttpService> Asking<C> {
    pub(crate) fn new(http: C) -> Self {
        Self { http, plain_http: false, deadline: Duration::from_secs(10) }
    }

    async fn get(&self, url: &str) -> Result<Said, Error> {
        let url = Url::new(url, self.plain_http).map_err(|why| Error::config(format!("the metadata's URL {why}")))?;
        let mut request = Request::default();
        *request.uri_mut() = url.uri;
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        Renewing::mark(request.extensions_mut());
        let exchange = tokio::time::timeout(self.deadline, self.http.send(request));
        let mut reply = Reply::new(exchange.await.map_err(|_| Error::timeout(self.deadline))??, None)?;
        if !reply.status.is_success() {
            return Err(reply.failed(Error::unexplained_status(reply.status)));
        }
        reply.json().map_err(Error::not_a_token)
    }
}

/// The metadata of an issuer (RFC 8414 §3, or OpenID Connect Discovery 1.0 §4).
pub(crate) async fn issuer<C: HttpService>(asking: &Asking<C>, issuer: &str) -> Result<Metadata, Error> {
    let url = check_issuer(issuer, asking.plain_http)?;
    let said = match asking.get(&oauth_url(&url)).await {
        // A server that is away or busy would be so at the other place too.
        Err(error) if !is_elsewhere(&error) => Err(error),
        Err(_) => asking.get(&format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'))).await,
        found => found,
    };
    let said = said.map_err(|error| error.at(METADATA))?;
    if said.issuer.as_deref() != Some(issuer) {
        let named = said.issuer.as_deref().and_then(|named| named.parse().ok());
        let named = named.map_or("nobody".to_owned(), |named| shown(&named));
        return Err(Error::not_a_token(format!(
            "it is the metadata of {named}, which is not to the letter the issuer that was asked for (RFC 8414 §3.3)"
        ))
        .at(METADATA));
    }
    Metadata::new(said, &url, asking.plain_http, false).map_err(|error| error.at(METADATA))
}

/// The metadata of a FHIR server's authorization server. Its `issuer`, if any, is not the FHIR server.
pub(crate) async fn smart<C: HttpService>(asking: &Asking<C>, fhir_base: &str) -> Result<Metadata, Error> {
    let base = check_fhir_base(fhir_base, asking.plain_http)?;
    let url = format!("{}/.well-known/smart-configuration", fhir_base.trim_end_matches('/'));
    let metadata = async { Metadata::new(asking.get(&url).await?, &base, asking.plain_http, true) };
    metadata.await.map_err(|error| error.at(METADATA))
}

/// RFC 8414 §2.
pub(crate) fn check_issuer(issuer: &str, plain_http: bool) -> Result<Url, Error> {
    let url = Url::setting(issuer, "issuer", "https://auth.example.org", plain_http)?;
    if issuer.contains('?') {
        return Err(Error::config("the issuer has a query, which RFC 8414 §2 does not allow"));
    }
    Ok(url)
}

pub(crate) fn check_fhir_base(fhir_base: &str, plain_http: bool) -> Result<Url, Error> {
    let url = Url::setting(fhir_base, "FHIR base URL", "https://fhir.example.org/r4", plain_http)?;
    if fhir_base.contains('?') {
        return Err(Error::config("the FHIR base URL has a query: give it without"));
    }
    Ok(url)
}

/// RFC 8414 §3.1: the well-known part goes between the host and the path.
fn oauth_url(issuer: &Url) -> String {
    let path = issuer.uri.path().trim_end_matches('/');
    let host = issuer.uri.authority().map_or("", |authority| authority.as_str());
    format!("{}://{host}/.well-known/oauth-authorization-server{path}", issuer.uri.scheme_str().unwrap_or("https"))
}

/// Whether the failure says that there is nothing here, rather than that nobody could be asked.
fn is_elsewhere(error: &Error) -> bool {
    let is_client_error = error.status().is_some_and(|status| status.is_client_error());
    (is_client_error && !error.is_transient()) || error.is_unusable() || error.is_redirect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8414 §3.1.
    #[test]
    fn the_well_known_part_goes_before_the_issuers_path() {
        for (issuer, url) in [
            ("https://a.test", "https://a.test/.well-known/oauth-authorization-server"),
            ("https://a.test/", "https://a.test/.well-known/oauth-authorization-server"),
            ("https://a.test:8443/tenant/1", "https://a.test:8443/.well-known/oauth-authorization-server/tenant/1"),
            ("https://a.test/tenant/", "https://a.test/.well-known/oauth-authorization-server/tenant"),
        ] {
            assert_eq!(oauth_url(&check_issuer(issuer, false).unwrap()), url);
        }
    }

    /// RFC 8414 §2.
    #[test]
    fn an_issuer_is_an_https_url_without_query_and_fragment() {
        for wrong in ["a.test", "http://a.test", "https://a.test/?x", "https://a.test/#x", "https://u:p@a.test"] {
            assert!(check_issuer(wrong, false).is_err(), "{wrong}");
        }
        assert!(check_issuer("http://127.0.0.1:1/x", false).is_ok());
    }
}
