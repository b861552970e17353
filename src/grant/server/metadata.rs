//! The metadata of an authorization server (RFC 8414).

use std::{fmt, sync::Arc};

use serde::Deserialize;
use serde_json::Value;

use crate::{
    error::{Error, ServerPart},
    grant::{exchange::members::Members, server::url::Url},
    transport,
};

/// The method that an absent list of authentication methods means (RFC 8414 §2).
const DEFAULT_METHOD: &str = "client_secret_basic";

/// The authentication methods whose names may be shown. No other text of a server is shown.
const REGISTERED_METHODS: [&str; 7] = [
    "none",
    "client_secret_basic",
    "client_secret_post",
    "client_secret_jwt",
    "private_key_jwt",
    "tls_client_auth",
    "self_signed_tls_client_auth",
];

/// The metadata of an authorization server: its endpoints, and what it supports. Cheap to clone.
///
/// A grant finds the metadata itself ([`AuthorizationServer::issuer`](crate::grant::AuthorizationServer::issuer)). Use
/// this type to read the metadata first, or to share it between grants.
///
/// ```
/// use tower_bearer::{PasswordGrant, grant::{ClientAuth, Metadata}};
///
/// # #[cfg(feature = "client")]
/// # async fn example() -> Result<(), tower_bearer::Error> {
/// let server = Metadata::discover("https://auth.example.org").await?;
/// println!("{}", server.token_endpoint());
/// let grant = PasswordGrant::builder(&server)
///     .client_auth(ClientAuth::secret("client-id", "client-secret"))
///     .credentials("username", "password")
///     .build()?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Metadata(Arc<ServerMetadata>, Transport);

/// How the client authenticates, as far as it decides about the endpoints.
#[derive(Clone, Copy, PartialEq)]
enum Transport {
    Tls,
    /// The client's certificate authenticates it (RFC 8705 §5).
    MutualTls,
}

struct ServerMetadata {
    token_endpoint: Url,
    /// The URL, or what is wrong with it. It matters only to what needs it.
    revocation_endpoint: Result<Option<Url>, String>,
    /// The token and revocation endpoints for clients that authenticate by TLS, where they differ (RFC 8705 §5).
    aliases: Result<AliasUrls, Error>,
    document: MetadataDocument,
    /// What an absent list of authentication methods means.
    default_method: Option<&'static str>,
    /// Whether there is a document, and not only a token URL.
    is_discovered: bool,
    /// Whether the document was found for a FHIR server.
    #[cfg_attr(not(feature = "jwt"), expect(dead_code, reason = "only signed assertions name the issuer"))]
    is_smart: bool,
    /// Whether the document was found by https. Then a plain http endpoint would be a service of this machine.
    is_found_by_https: bool,
}

/// The token and the revocation endpoint.
type AliasUrls = (Option<Url>, Option<Url>);

/// The members of the document that are used. Others are ignored. An optional one in another form than the standard's counts
/// as absent, unless what needs it can say so.
#[derive(Default)]
pub(crate) struct MetadataDocument {
    pub(crate) issuer: Option<String>,
    token_endpoint: Option<String>,
    /// The URL as it was written, or what is wrong.
    revocation_endpoint: Option<Result<String, String>>,
    mtls_endpoint_aliases: Option<Value>,
    jwks_uri: Option<String>,
    auth_methods: AuthMethods,
    grant_types: Vec<String>,
    scopes: Vec<String>,
}

/// The list of authentication methods.
#[derive(Default)]
enum AuthMethods {
    #[default]
    Absent,
    Listed(Vec<String>),
    /// It is not a list of strings, so nothing is known.
    Odd,
}

impl MetadataDocument {
    /// Reads the members of a document, each by itself.
    ///
    /// # Errors
    /// When a member that every use needs says two things.
    pub(crate) fn read(members: &Members<'_>) -> Result<Self, Error> {
        for name in ["issuer", "token_endpoint"] {
            if members.is_ambiguous(name, str::eq) {
                return Err(Error::unusable_response(format!("it has two different {name}s")));
            }
        }
        let strings = |name: &str| members.last(name, |json| serde_json::from_str::<Vec<String>>(json).ok());
        let methods = "token_endpoint_auth_methods_supported";
        Ok(Self {
            issuer: members.text("issuer"),
            token_endpoint: members.text("token_endpoint"),
            revocation_endpoint: if members.is_odd("revocation_endpoint") {
                Some(Err("its revocation_endpoint is not a string".to_owned()))
            } else {
                members.text("revocation_endpoint").map(Ok)
            },
            mtls_endpoint_aliases: members
                .last("mtls_endpoint_aliases", |json| serde_json::from_str::<Value>(json).ok())
                .filter(|aliases| !aliases.is_null()),
            jwks_uri: members.text("jwks_uri"),
            auth_methods: match strings(methods) {
                Some(listed) => AuthMethods::Listed(listed),
                None if members.last(methods, |json| (json != "null").then_some(())).is_some() => AuthMethods::Odd,
                None => AuthMethods::Absent,
            },
            grant_types: strings("grant_types_supported").unwrap_or_default(),
            scopes: strings("scopes_supported").unwrap_or_default(),
        })
    }

    /// Returns whether the document is something else than metadata: it has not even what each server must give.
    pub(crate) fn is_something_else(&self) -> bool {
        self.issuer.is_none() || self.token_endpoint.is_none()
    }
}

/// The endpoints in `mtls_endpoint_aliases` that are used.
#[derive(Default, Deserialize)]
struct Aliases {
    token_endpoint: Option<String>,
    revocation_endpoint: Option<String>,
}

impl Metadata {
    /// Creates the metadata of a server of which only the token URL is known.
    pub(crate) fn from_token_url(token_endpoint: Url) -> Self {
        Self(
            Arc::new(ServerMetadata {
                is_found_by_https: token_endpoint.is_https(),
                token_endpoint,
                revocation_endpoint: Ok(None),
                aliases: Ok((None, None)),
                document: MetadataDocument::default(),
                default_method: None,
                is_discovered: false,
                is_smart: false,
            }),
            Transport::Tls,
        )
    }

    /// Checks a document that was found for `location`, an issuer or a FHIR base URL.
    ///
    /// # Errors
    /// When the token endpoint is missing, or when secrets may not be sent to it.
    pub(crate) fn from_document(
        mut document: MetadataDocument,
        location: &Url,
        plain_http: bool,
        is_smart: bool,
    ) -> Result<Self, Error> {
        let url = |name: &str, url: &str| match Url::new(url, plain_http) {
            // A remote server must not redirect requests to services on this machine.
            Ok(url) if location.is_https() && !url.is_https() && !plain_http => {
                Err(format!("its {name} is plain http"))
            }
            url => url.map_err(|why| format!("its {name} {why}")),
        };
        let missing = || Error::unusable_response("its token_endpoint is missing, or is not a string");
        let token_endpoint = document.token_endpoint.take().ok_or_else(missing)?;
        let token_endpoint = url("token_endpoint", &token_endpoint).map_err(Error::unusable_response)?;
        let revocation_endpoint = document.revocation_endpoint.take();
        let revocation_endpoint =
            revocation_endpoint.map(|text| text.and_then(|text| url("revocation_endpoint", &text))).transpose();
        // They are used by clients that authenticate by TLS only. For others, a wrong one is not an error.
        let aliases = document.mtls_endpoint_aliases.take().map_or(Ok(Aliases::default()), |aliases| {
            serde_json::from_value(aliases)
                .map_err(|_| Error::unusable_response("its mtls_endpoint_aliases cannot be read"))
        });
        let alias = |it: Option<String>| {
            it.map(|it| url("mtls_endpoint_aliases", &it).map_err(Error::unusable_response)).transpose()
        };
        let aliases = aliases.and_then(|it| Ok((alias(it.token_endpoint)?, alias(it.revocation_endpoint)?)));
        document.jwks_uri = document.jwks_uri.filter(|text| url("jwks_uri", text).is_ok());
        // SMART App Launch has no default for it.
        let default_method = (!is_smart).then_some(DEFAULT_METHOD);
        Ok(Self(
            Arc::new(ServerMetadata {
                token_endpoint,
                revocation_endpoint,
                aliases,
                document,
                default_method,
                is_discovered: true,
                is_smart,
                is_found_by_https: location.is_https(),
            }),
            Transport::Tls,
        ))
    }

    /// Returns the identifier of the issuer, if the metadata contains it.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.0.document.issuer.as_deref()
    }

    /// Returns the URL of the token endpoint.
    #[must_use]
    pub fn token_endpoint(&self) -> &str {
        &self.0.token_endpoint.text
    }

    /// Returns the URL of the revocation endpoint (RFC 7009), if the server has one that may be used.
    #[must_use]
    pub fn revocation_endpoint(&self) -> Option<&str> {
        self.0.revocation_endpoint.as_ref().ok()?.as_ref().map(|url| url.text.as_str())
    }

    /// Returns the URL of the key set that verifies the server's JWTs, if it is one that may be used.
    #[must_use]
    pub fn jwks_uri(&self) -> Option<&str> {
        self.0.document.jwks_uri.as_deref()
    }

    /// Returns the methods by which clients may authenticate. It is empty when nothing is known. If the server leaves the
    /// list out, it means `client_secret_basic` (RFC 8414 §2).
    pub fn client_auth_methods(&self) -> impl Iterator<Item = &str> {
        let (listed, default) = match &self.0.document.auth_methods {
            AuthMethods::Listed(listed) => (Some(listed), None),
            AuthMethods::Absent => (None, self.0.default_method),
            AuthMethods::Odd => (None, None),
        };
        listed.into_iter().flatten().map(String::as_str).chain(default)
    }

    /// Returns the grants that the server lists. Many servers do not list all of them.
    #[must_use]
    pub fn grant_types(&self) -> &[String] {
        &self.0.document.grant_types
    }

    /// Returns the scopes that the server lists. Many servers do not list all of them.
    #[must_use]
    pub fn scopes(&self) -> &[String] {
        &self.0.document.scopes
    }

    /// Returns the token URL.
    ///
    /// # Errors
    /// As [`revocation_url`](Self::revocation_url).
    pub(crate) fn token_url(&self, plain_http: bool) -> Result<&Url, Error> {
        let alias = self.aliases()?.and_then(|aliases| aliases.0.as_ref());
        self.allowed(alias.unwrap_or(&self.0.token_endpoint), plain_http)
    }

    /// Returns the revocation URL, if the server has one.
    ///
    /// # Errors
    /// When it is not a URL that secrets may be sent to, or when the grant that uses it may not send secrets to it. Metadata can
    /// be shared: another grant, which allows plain http, may have found it.
    pub(crate) fn revocation_url(&self, plain_http: bool) -> Result<Option<&Url>, Error> {
        if let Some(alias) = self.aliases()?.and_then(|aliases| aliases.1.as_ref()) {
            return self.allowed(alias, plain_http).map(Some);
        }
        let odd = |why: &String| Error::unusable_response(why.clone()).at(ServerPart::Metadata);
        let url = self.0.revocation_endpoint.as_ref().map_err(odd)?;
        url.as_ref().map(|url| self.allowed(url, plain_http)).transpose()
    }

    /// Checks that the list of authentication methods can be read, for a client that chooses by it.
    pub(crate) fn check_auth_methods(&self) -> Result<(), Error> {
        if !matches!(self.0.document.auth_methods, AuthMethods::Odd) {
            return Ok(());
        }
        Err(Error::unusable_response(
            "its token_endpoint_auth_methods_supported is not a list of strings; use `ClientAuth::basic` or \
             `ClientAuth::post`, which do not choose by it",
        )
        .at(ServerPart::Metadata))
    }

    /// Returns whether the server was found for a FHIR server. Its `issuer` is then not verified.
    #[cfg(feature = "jwt")]
    pub(crate) fn is_smart(&self) -> bool {
        self.0.is_smart
    }

    /// Returns whether clients may authenticate by this method because the server lists it.
    pub(crate) fn lists_auth_method(&self, method: &str) -> bool {
        self.client_auth_methods().any(|offered| offered == method)
    }

    /// Returns the same metadata for a client that authenticates by its certificate. It uses `mtls_endpoint_aliases`, where
    /// there are any (RFC 8705 §5).
    pub(crate) fn for_mutual_tls(self) -> Self {
        Self(self.0, Transport::MutualTls)
    }

    fn aliases(&self) -> Result<Option<&AliasUrls>, Error> {
        if self.1 == Transport::Tls {
            return Ok(None);
        }
        self.0.aliases.as_ref().map(Some).map_err(Clone::clone)
    }

    /// Returns all URLs that the server names and that may be used, for any way to authenticate.
    pub(crate) fn urls(&self) -> impl Iterator<Item = &str> {
        let aliases =
            self.0.aliases.as_ref().map_or([None, None], |(token, revocation)| [token.as_ref(), revocation.as_ref()]);
        let aliases = aliases.map(|url| url.map(|url| url.text.as_str()));
        let usual = [Some(self.token_endpoint()), self.revocation_endpoint(), self.jwks_uri()];
        usual.into_iter().chain(aliases).flatten()
    }

    /// Returns whether the server was found by its metadata.
    pub(crate) fn is_discovered(&self) -> bool {
        self.0.is_discovered
    }

    fn allowed<'a>(&self, url: &'a Url, plain_http: bool) -> Result<&'a Url, Error> {
        if plain_http || url.is_https() || (!self.0.is_found_by_https && transport::is_secure(&url.uri)) {
            return Ok(url);
        }
        Err(Error::config(
            "the authorization server's endpoint is plain http, which would send secrets unencrypted or to this machine: use \
             https, or `allow_plain_http` if the network is protected by other means",
        ))
    }

    /// Returns whether clients may authenticate by this method, as far as is known.
    pub(crate) fn supports_auth_method(&self, method: &str) -> bool {
        self.client_auth_methods().next().is_none() || self.lists_auth_method(method)
    }

    /// Returns the supported methods whose names may be shown, for an error message.
    pub(crate) fn displayed_auth_methods(&self) -> String {
        let shown: Vec<_> = self.client_auth_methods().filter(|method| REGISTERED_METHODS.contains(method)).collect();
        if shown.is_empty() { "only methods that this crate does not know".to_owned() } else { shown.join(", ") }
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metadata")
            .field("token_endpoint", &self.0.token_endpoint)
            .field("revocation_endpoint", &self.0.revocation_endpoint.as_ref().ok())
            .finish_non_exhaustive()
    }
}
