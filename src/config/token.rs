//! The settings of a grant.

use std::{collections::BTreeMap, fmt, path::Path};

use serde::Deserialize;

use crate::{
    config::{
        client::Method,
        place::Place,
        secret_place::{SecretPlace, TextOrPlace},
        units::{OneOrMore, TimeLimit},
    },
    error::Error,
};

/// The settings of a grant: the server, the client, and what the grant sends.
///
/// ```toml
/// grant = "password"   # client_credentials, password, refresh_token, jwt_bearer, token_exchange
///
/// # The server: one of these.
/// url = "https://auth.example.org/token"
/// issuer = "https://auth.example.org"
/// fhir_server = "https://fhir.example.org/r4"            # SMART on FHIR
/// protected_resource = "https://api.example.org/v1"      # RFC 9728
///
/// # The client.
/// client_id = "my-service"
/// client_auth = "basic"
/// client_secret = { env = "CLIENT_SECRET" }
///
/// # What each grant may send.
/// scope = "patient/*.rs"
/// audience = "https://api.example.org"                   # or a list, for token_exchange
/// resource = ["https://api.example.org/v1"]
/// params = { tenant = "acme" }
///
/// # What each grant may have.
/// revocation_url = "https://auth.example.org/revoke"
/// allow_plain_http = false
/// show_error_description = false
/// accept_token_type = ["urn:example:token"]
/// deadline = "10s"
/// ```
///
/// | `client_auth` | has |
/// |---|---|
/// | `basic` (the default), `basic_raw`, `post`, `secret` | `client_secret` |
/// | `none`, `tls_client_auth` | |
/// | `assertion_from` | `client_assertion`; may have `client_assertion_type` |
/// | `client_secret_jwt` | `client_secret`; may have `client_assertion_audience`, `_lifetime` and `_type` |
/// | `private_key_jwt` | `client_key` (PEM); may have `client_key_id`, `client_key_algorithm`, `client_assertion_audience`, `_lifetime` and `_type` |
/// | `backend_services` (SMART) | `client_key`, `client_key_id`; may have `client_key_algorithm`, `client_assertion_lifetime`; only with `client_credentials` |
///
/// Each is a function of [`ClientAuth`](crate::grant::ClientAuth). Those that sign need the feature `jwt`.
///
/// | `grant` | has |
/// |---|---|
/// | `client_credentials` | |
/// | `password` | `username`, as text or as a secret, and `password` |
/// | `refresh_token` | `refresh_token`; a new one is kept in memory only |
/// | `jwt_bearer` | `assertion`, or `signed = { issuer, subject, key, … }` (feature `jwt`) with `audience`, `key_id`, `key_algorithm`, `lifetime`, `issued_at` as well |
/// | `token_exchange` | `subject_token`, `subject_token_type`; may have `actor_token`, `actor_token_type`, `requested_token_type`; a type is a URN or one of `access_token`, `refresh_token`, `id_token`, `jwt`, `saml2` |
///
/// With the feature `on-behalf-of`, `token_exchange` and `jwt_bearer` also get [tokens for many users](Self::for_users): then each
/// request brings its `subject_token` or `assertion`.
///
/// Secrets are `{ file = "…" }` or `{ env = "…" }`: `client_secret`, `client_key`, `client_assertion`, `password`,
/// `refresh_token`, `assertion`, the `key` of `signed`, `subject_token` and `actor_token`.
///
/// A header with a secret ([`GrantBuilder::header`](crate::grant::GrantBuilder::header)) and a place to save refresh tokens cannot be set here: use the builder.
#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenConfig {
    #[serde(rename = "$place")]
    pub(super) place: Place,
    /// The places of the keys that were taken over from other settings.
    #[serde(skip)]
    taken_over: Vec<(&'static str, Place)>,
    pub(super) grant: Option<GrantKind>,
    pub(super) url: Option<String>,
    pub(super) issuer: Option<String>,
    pub(super) fhir_server: Option<String>,
    pub(super) protected_resource: Option<String>,
    pub(super) client_id: Option<String>,
    pub(super) client_auth: Option<Method>,
    pub(super) client_secret: Option<SecretPlace>,
    pub(super) client_key: Option<SecretPlace>,
    pub(super) client_key_id: Option<String>,
    pub(super) client_key_algorithm: Option<String>,
    pub(super) client_assertion: Option<SecretPlace>,
    pub(super) client_assertion_audience: Option<String>,
    pub(super) client_assertion_lifetime: Option<TimeLimit>,
    pub(super) client_assertion_type: Option<String>,
    pub(super) username: Option<TextOrPlace>,
    pub(super) password: Option<SecretPlace>,
    pub(super) refresh_token: Option<SecretPlace>,
    pub(super) assertion: Option<SecretPlace>,
    pub(super) signed: Option<SignedConfig>,
    pub(super) subject_token: Option<SecretPlace>,
    pub(super) subject_token_type: Option<String>,
    pub(super) actor_token: Option<SecretPlace>,
    pub(super) actor_token_type: Option<String>,
    pub(super) requested_token_type: Option<String>,
    pub(super) scope: Option<String>,
    pub(super) audience: Option<OneOrMore>,
    pub(super) resource: Option<OneOrMore>,
    pub(super) params: Option<BTreeMap<String, String>>,
    pub(super) revocation_url: Option<String>,
    pub(super) allow_plain_http: Option<bool>,
    pub(super) show_error_description: Option<bool>,
    pub(super) accept_token_type: Option<Vec<String>>,
    pub(super) deadline: Option<TimeLimit>,
}

/// A grant, by its name in RFC 6749 and its extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum GrantKind {
    ClientCredentials,
    Password,
    RefreshToken,
    JwtBearer,
    TokenExchange,
}

/// An assertion about a user that is signed here.
#[cfg_attr(not(feature = "jwt"), expect(dead_code, reason = "without the feature, the section is an error"))]
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignedConfig {
    pub(super) issuer: String,
    pub(super) subject: String,
    pub(super) key: SecretPlace,
    pub(super) key_id: Option<String>,
    pub(super) key_algorithm: Option<String>,
    pub(super) audience: Option<String>,
    pub(super) lifetime: Option<TimeLimit>,
    #[serde(default)]
    pub(super) issued_at: bool,
}

impl TokenConfig {
    /// Makes the relative paths of its secrets paths in this folder. Without it, they are relative to the working folder of the
    /// process.
    #[must_use]
    pub fn with_files_in(mut self, folder: impl AsRef<Path>) -> Self {
        for (_, place) in self.secrets() {
            place.move_to(folder.as_ref());
        }
        self
    }

    /// Checks that each secret can be read now: its file can be opened, or its variable is set. For programs that end at once when
    /// a secret is missing. A token request reports it as well.
    ///
    /// # Errors
    /// When a secret cannot be read.
    pub fn check_secrets(&self) -> Result<(), Error> {
        let mut copy = self.clone();
        let mut secrets = copy.secrets().into_iter();
        secrets.try_for_each(|(key, place)| place.check().map_err(|problem| self.at(key).error(problem)))
    }

    /// Returns these settings with each one that `other` has in place of its own, such as those of a tenant.
    ///
    /// The server is one setting, whichever key names it. With another server, `revocation_url` and `client_assertion_audience` are
    /// not taken over. What the new grant or the new way to authenticate does not use is not
    /// taken over.
    ///
    /// ```
    /// # use tower_bearer::config::TokenConfig;
    /// # fn example(common: &TokenConfig, of_tenant: &TokenConfig) -> Result<(), tower_bearer::Error> {
    /// let tenant = common.replaced_by(of_tenant);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn replaced_by(&self, other: &Self) -> Self {
        let mut base = self.clone();
        if other.servers().iter().any(|(_, server)| server.is_some()) {
            (base.url, base.issuer, base.fhir_server, base.protected_resource) = (None, None, None, None);
            // They are the other server's. To this one, a token of the other must not be sent.
            (base.revocation_url, base.client_assertion_audience) = (None, None);
        }
        base.grant = other.grant.or(base.grant);
        base.client_auth = other.client_auth.or(base.client_auth);
        for setting in base.specific().into_iter().filter(|setting| !setting.is_used) {
            setting.value.clear();
        }
        macro_rules! replaced {
            ($($key:ident)*) => {{
                let keys = [$((stringify!($key), base.$key.is_some() && other.$key.is_none())),*];
                let taken_over = keys.into_iter().filter(|(_, is_taken_over)| *is_taken_over);
                Self {
                    place: other.place.clone(),
                    taken_over: taken_over.map(|(key, _)| (key, self.at(key))).collect(),
                    $($key: other.$key.clone().or(base.$key)),*
                }
            }};
        }
        let mut replaced = replaced! {
            grant url issuer fhir_server protected_resource
            client_id client_auth client_secret client_key client_key_id client_key_algorithm
            client_assertion client_assertion_audience client_assertion_lifetime client_assertion_type
            username password refresh_token assertion signed
            subject_token subject_token_type actor_token actor_token_type requested_token_type
            scope audience resource params
            revocation_url allow_plain_http show_error_description accept_token_type deadline
        };
        // They are two forms of one setting.
        if other.signed.is_some() && other.assertion.is_none() {
            replaced.assertion = None;
        } else if other.assertion.is_some() && other.signed.is_none() {
            replaced.signed = None;
        }
        replaced
    }

    /// Returns the place of a key, for errors.
    pub(super) fn at(&self, key: &str) -> Place {
        let mut keys = key.split('.');
        let first = keys.next().unwrap_or_default();
        let known = self.taken_over.iter().find(|(key, _)| *key == first).map(|(_, place)| place.clone());
        keys.fold(known.unwrap_or_else(|| self.place.child(first)), |place, key| place.child(key))
    }

    /// Returns the keys that name the server.
    pub(super) fn servers(&self) -> [(&'static str, Option<&String>); 4] {
        [
            ("url", self.url.as_ref()),
            ("issuer", self.issuer.as_ref()),
            ("fhir_server", self.fhir_server.as_ref()),
            ("protected_resource", self.protected_resource.as_ref()),
        ]
    }

    pub(super) fn method(&self) -> Method {
        self.client_auth.unwrap_or_default()
    }

    /// Returns the settings that not every grant or way to authenticate uses.
    pub(super) fn specific(&mut self) -> Vec<Specific<'_>> {
        let (grant, method) = (self.grant, self.method());
        let mut all = Vec::new();
        let mut of_grant =
            |key, value, kind| all.push(Specific { key, value, is_used: grant == Some(kind), by: "grant" });
        of_grant("username", &mut self.username as &mut dyn Value, GrantKind::Password);
        of_grant("password", &mut self.password, GrantKind::Password);
        of_grant("refresh_token", &mut self.refresh_token, GrantKind::RefreshToken);
        of_grant("assertion", &mut self.assertion, GrantKind::JwtBearer);
        of_grant("signed", &mut self.signed, GrantKind::JwtBearer);
        of_grant("subject_token", &mut self.subject_token, GrantKind::TokenExchange);
        of_grant("subject_token_type", &mut self.subject_token_type, GrantKind::TokenExchange);
        of_grant("actor_token", &mut self.actor_token, GrantKind::TokenExchange);
        of_grant("actor_token_type", &mut self.actor_token_type, GrantKind::TokenExchange);
        of_grant("requested_token_type", &mut self.requested_token_type, GrantKind::TokenExchange);
        let mut of_client = |key, value, is_used| all.push(Specific { key, value, is_used, by: "client_auth" });
        let signs_freely = method.signs() && method != Method::BackendServices;
        of_client("client_secret", &mut self.client_secret as &mut dyn Value, method.has_secret());
        of_client("client_key", &mut self.client_key, method.has_key());
        of_client("client_key_id", &mut self.client_key_id, method.has_key());
        of_client("client_key_algorithm", &mut self.client_key_algorithm, method.has_key());
        of_client("client_assertion", &mut self.client_assertion, method == Method::AssertionFrom);
        of_client("client_assertion_audience", &mut self.client_assertion_audience, signs_freely);
        of_client("client_assertion_lifetime", &mut self.client_assertion_lifetime, method.signs());
        let has_type = signs_freely || method == Method::AssertionFrom;
        of_client("client_assertion_type", &mut self.client_assertion_type, has_type);
        all
    }

    /// Returns the secrets that are set.
    fn secrets(&mut self) -> Vec<(&'static str, &mut SecretPlace)> {
        let username = match &mut self.username {
            Some(TextOrPlace::Place(place)) => Some(place),
            _ => None,
        };
        let all = [
            ("client_secret", self.client_secret.as_mut()),
            ("client_key", self.client_key.as_mut()),
            ("client_assertion", self.client_assertion.as_mut()),
            ("username", username),
            ("password", self.password.as_mut()),
            ("refresh_token", self.refresh_token.as_mut()),
            ("assertion", self.assertion.as_mut()),
            ("signed.key", self.signed.as_mut().map(|signed| &mut signed.key)),
            ("subject_token", self.subject_token.as_mut()),
            ("actor_token", self.actor_token.as_mut()),
        ];
        all.into_iter().filter_map(|(key, place)| Some((key, place?))).collect()
    }
}

/// A setting that not every grant or way to authenticate uses.
pub(super) struct Specific<'a> {
    pub(super) key: &'static str,
    pub(super) value: &'a mut dyn Value,
    pub(super) is_used: bool,
    /// The key that decides whether it is used.
    pub(super) by: &'static str,
}

/// A setting of any type.
pub(super) trait Value {
    fn is_set(&self) -> bool;
    fn clear(&mut self);
}

impl<T> Value for Option<T> {
    fn is_set(&self) -> bool {
        self.is_some()
    }

    fn clear(&mut self) {
        *self = None;
    }
}

impl GrantKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
            Self::Password => "password",
            Self::RefreshToken => "refresh_token",
            Self::JwtBearer => "jwt_bearer",
            Self::TokenExchange => "token_exchange",
        }
    }
}

/// URLs and parameters may have secrets in them.
impl fmt::Debug for TokenConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenConfig")
            .field("place", &self.place)
            .field("grant", &self.grant)
            .field("client_id", &self.client_id)
            .field("client_auth", &self.method())
            .field("client_secret", &self.client_secret)
            .field("password", &self.password)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}
