//! Builds the grant that the settings describe, and says which of them is wrong.

use std::fmt::Display;

#[cfg(feature = "client")]
use crate::grant::HttpClient;
use crate::{
    config::{
        client::Method,
        secret_place::SecretPlace,
        token::{GrantKind, TokenConfig},
    },
    error::Error,
    grant::{
        AuthorizationServer, ClientAuth, ClientCredentials, GrantBuilder, HttpService, JwtBearer, JwtBearerBuilder,
        PasswordGrant, RefreshToken, TokenExchange, TokenExchangeBuilder, flow::Flow, token_type,
    },
    source::{BoxTokenSource, check_resource, check_scope},
};
#[cfg(feature = "jwt")]
use crate::{
    config::{nearest, place::Place, token::SignedConfig},
    grant::{Assertion, SigningAlgorithm, SigningKey},
};

const GRANTS: &str = "`client_credentials`, `password`, `refresh_token`, `jwt_bearer`, `token_exchange`";

/// The types of RFC 8693 §3, by the last part of their names.
const TOKEN_TYPES: [(&str, &str); 5] = [
    ("access_token", token_type::ACCESS_TOKEN),
    ("refresh_token", token_type::REFRESH_TOKEN),
    ("id_token", token_type::ID_TOKEN),
    ("jwt", token_type::JWT),
    ("saml2", token_type::SAML2),
];

impl TokenConfig {
    /// Builds the grant with the ready-made HTTPS client.
    ///
    /// # Errors
    /// When a setting is missing, wrong, or of no use for the grant or the client.
    #[cfg(feature = "client")]
    pub fn source(&self) -> Result<BoxTokenSource, Error> {
        self.source_with(HttpClient::builder().build()?)
    }

    /// Builds the grant with your own HTTP client.
    ///
    /// # Errors
    /// As for [`source`](Self::source).
    pub fn source_with(&self, http: impl HttpService) -> Result<BoxTokenSource, Error> {
        let kind = self.kind()?;
        let server = self.server()?;
        match kind {
            GrantKind::ClientCredentials => self.build(ClientCredentials::builder(server), http),
            GrantKind::Password => {
                let username = self.required("username", self.username.as_ref(), "give the user's name")?.secret();
                let password = self.required_secret("password", self.password.as_ref(), "the user's password is")?;
                self.build(PasswordGrant::builder(server).credentials(username, password.secret()), http)
            }
            GrantKind::RefreshToken => {
                let token = self.required_secret("refresh_token", self.refresh_token.as_ref(), "the token is")?;
                self.build(RefreshToken::builder(server).refresh_token(token.secret()), http)
            }
            GrantKind::JwtBearer => self.build(self.with_assertion(JwtBearer::builder(server))?, http),
            GrantKind::TokenExchange => {
                let subject = self.required_secret("subject_token", self.subject_token.as_ref(), "the token is")?;
                let subject_type = self.token_type("subject_token_type", self.subject_token_type.as_ref())?;
                let builder = TokenExchange::builder(server).subject_token(subject.secret(), subject_type);
                self.build(self.with_actor(builder)?, http)
            }
        }
    }

    /// Returns the grant.
    ///
    /// # Errors
    /// When it is missing, or there is a setting that it does not use.
    pub(super) fn kind(&self) -> Result<GrantKind, Error> {
        let kind = *self.required("grant", self.grant.as_ref(), &format!("give one of {GRANTS}"))?;
        self.check_used(kind)?;
        Ok(kind)
    }

    /// Sets what an exchange may have beside the token that is exchanged.
    pub(super) fn with_actor(&self, mut builder: TokenExchangeBuilder) -> Result<TokenExchangeBuilder, Error> {
        if let Some(actor) = &self.actor_token {
            let actor_type = self.token_type("actor_token_type", self.actor_token_type.as_ref())?;
            builder = builder.actor_token(actor.secret(), actor_type);
        } else if self.actor_token_type.is_some() {
            return Err(
                self.wrong("actor_token_type", "this is of no use without `actor_token`; remove it, or add that")
            );
        }
        if let Some(requested) = &self.requested_token_type {
            builder = builder.requested_token_type(urn(requested));
        }
        Ok(builder)
    }

    pub(super) fn wrong(&self, key: &str, problem: impl Display) -> Error {
        self.at(key).error(problem)
    }

    fn required<'a, T>(&self, key: &str, value: Option<&'a T>, advice: &str) -> Result<&'a T, Error> {
        value.ok_or_else(|| self.wrong(key, format!("this key is missing; {advice}")))
    }

    fn required_secret<'a>(
        &self,
        key: &str,
        place: Option<&'a SecretPlace>,
        what: &str,
    ) -> Result<&'a SecretPlace, Error> {
        let advice = format!(r#"say where {what}: {{ file = "…" }} or {{ env = "…" }}"#);
        self.required(key, place, &advice)
    }

    /// # Errors
    /// When there is a setting that is not used.
    fn check_used(&self, kind: GrantKind) -> Result<(), Error> {
        let mut copy = self.clone();
        let useless = copy.specific().into_iter().find(|setting| setting.value.is_set() && !setting.is_used);
        let Some(useless) = useless else { return Ok(()) };
        let with = if useless.by == "grant" { kind.name() } else { self.method().name() };
        let problem = format!("this is of no use with {} = \"{with}\"; remove it, or change `{0}`", useless.by);
        Err(self.wrong(useless.key, problem))
    }

    pub(super) fn server(&self) -> Result<AuthorizationServer, Error> {
        let mut given = self.servers().into_iter().filter_map(|(key, url)| Some((key, url?)));
        let Some((key, url)) = given.next() else {
            return Err(self.wrong(
                "url",
                "this key is missing; give the token URL, or one of `issuer`, `fhir_server` and `protected_resource`",
            ));
        };
        if let Some((other, _)) = given.next() {
            return Err(self.wrong(other, format!("`{key}` names the server already; remove one of them")));
        }
        let server = match key {
            "issuer" => AuthorizationServer::issuer(url),
            "fhir_server" => AuthorizationServer::smart(url),
            "protected_resource" => AuthorizationServer::protected_resource(url),
            _ => AuthorizationServer::from(url.as_str()),
        };
        let checked = server.check(self.allow_plain_http.unwrap_or_default());
        checked.map(|()| server).map_err(|error| self.wrong(key, in_settings(&error)))
    }

    fn client_auth(&self) -> Result<ClientAuth, Error> {
        let id =
            self.required("client_id", self.client_id.as_ref(), "give the id under which the client is registered")?;
        let method = self.method();
        let secret = || {
            let place = self.required_secret("client_secret", self.client_secret.as_ref(), "the client secret is")?;
            Ok::<_, Error>(place.secret())
        };
        let auth = match method {
            Method::None => ClientAuth::none(id),
            Method::TlsClientAuth => ClientAuth::tls_client_auth(id),
            Method::Basic => ClientAuth::basic(id, secret()?),
            Method::BasicRaw => ClientAuth::basic_raw(id, secret()?),
            Method::Post => ClientAuth::post(id, secret()?),
            Method::Secret => ClientAuth::secret(id, secret()?),
            Method::AssertionFrom => {
                let place = self.client_assertion.as_ref();
                let assertion = self.required_secret("client_assertion", place, "the assertion is")?;
                ClientAuth::assertion_from(id, assertion.secret())
            }
            Method::PrivateKeyJwt | Method::ClientSecretJwt | Method::BackendServices => self.signed_auth(id)?,
        };
        let auth = match &self.client_assertion_type {
            Some(assertion_type) => auth.assertion_type(assertion_type),
            None => auth,
        };
        auth.check().map_err(|error| self.wrong("client_id", in_settings(&error)))?;
        Ok(auth)
    }

    #[cfg(feature = "jwt")]
    fn signed_auth(&self, id: &str) -> Result<ClientAuth, Error> {
        let method = self.method();
        let key = if method == Method::ClientSecretJwt {
            let place = self.required_secret("client_secret", self.client_secret.as_ref(), "the client secret is")?;
            SigningKey::client_secret(place.secret())
        } else {
            let place = self.required_secret("client_key", self.client_key.as_ref(), "the private key is")?;
            let algorithm = (self.at("client_key_algorithm"), self.client_key_algorithm.as_ref());
            signing_key(place, self.client_key_id.as_ref(), algorithm)?
        };
        let key = if method == Method::BackendServices {
            if self.grant != Some(GrantKind::ClientCredentials) {
                let problem = "`backend_services` is only for grant = \"client_credentials\"; use `private_key_jwt`";
                return Err(self.wrong("client_auth", problem));
            }
            self.required("client_key_id", self.client_key_id.as_ref(), "give the `kid` of the key")?;
            key.for_backend_services()
        } else {
            key
        };
        let mut assertion = Assertion::new(id, id, key);
        if let Some(audience) = &self.client_assertion_audience {
            assertion = assertion.audience(audience);
        }
        if let Some(lifetime) = self.client_assertion_lifetime {
            assertion = assertion.lifetime(lifetime.0);
        }
        Ok(ClientAuth::assertion(assertion))
    }

    #[cfg(not(feature = "jwt"))]
    fn signed_auth(&self, _: &str) -> Result<ClientAuth, Error> {
        Err(self.wrong("client_auth", without_jwt(self.method().name())))
    }

    fn with_assertion(&self, builder: JwtBearerBuilder) -> Result<JwtBearerBuilder, Error> {
        match (&self.assertion, &self.signed) {
            (Some(assertion), None) => Ok(builder.assertion(assertion.secret())),
            #[cfg(feature = "jwt")]
            (None, Some(signed)) => Ok(builder.signed(signed_assertion(signed, &self.at("signed"))?)),
            #[cfg(not(feature = "jwt"))]
            (None, Some(_)) => Err(self.wrong("signed", without_jwt("signed"))),
            (Some(_), Some(_)) => Err(self.wrong("signed", "`assertion` is set as well; remove one of them")),
            (None, None) => {
                let problem = "this key is missing; say where the assertion is, or give `signed` to sign one here";
                Err(self.wrong("assertion", problem))
            }
        }
    }

    fn token_type(&self, key: &str, value: Option<&String>) -> Result<String, Error> {
        let advice = "give a URN, or one of `access_token`, `refresh_token`, `id_token`, `jwt`, `saml2`";
        self.required(key, value, advice).map(|token_type| urn(token_type))
    }

    fn build<F: Flow>(&self, builder: GrantBuilder<F>, http: impl HttpService) -> Result<BoxTokenSource, Error> {
        let grant = self.with_common(builder)?.build_with(http);
        grant.map(BoxTokenSource::new).map_err(|error| self.place.error(in_settings(&error)))
    }

    /// Sets what all grants have.
    pub(super) fn with_common<F: Flow>(&self, builder: GrantBuilder<F>) -> Result<GrantBuilder<F>, Error> {
        let mut builder = builder.client_auth(self.client_auth()?);
        let wrong = |key| move |error| self.wrong(key, in_settings(&error));
        if let Some(scope) = &self.scope {
            check_scope(scope).map_err(wrong("scope"))?;
            builder = builder.scope(scope);
        }
        for audience in self.audience.iter().flat_map(|list| &list.0) {
            builder = builder.audience(audience);
            builder.check_params().map_err(wrong("audience"))?;
        }
        for resource in self.resource.iter().flat_map(|list| &list.0) {
            check_resource(resource).map_err(wrong("resource"))?;
            builder = builder.resource(resource);
        }
        for (name, value) in self.params.iter().flatten() {
            builder = builder.param(name, value);
            let place = self.at("params").child(name);
            builder.check_params().map_err(|error| place.error(in_settings(&error)))?;
        }
        if let Some(url) = &self.revocation_url {
            let checked = AuthorizationServer::from(url.as_str()).check(self.allow_plain_http.unwrap_or_default());
            let of_revocation = |error: Error| {
                let text = in_settings(&error).replace("token URL", "revocation URL");
                self.wrong("revocation_url", text.replace("/oauth2/token", "/oauth2/revoke"))
            };
            checked.map_err(of_revocation)?;
            builder = builder.revocation_url(url);
        }
        if let Some(allow) = self.allow_plain_http {
            builder = builder.allow_plain_http(allow);
        }
        if let Some(show) = self.show_error_description {
            builder = builder.show_error_description(show);
        }
        for token_type in self.accept_token_type.iter().flatten() {
            builder = builder.accept_token_type(token_type);
        }
        if let Some(deadline) = self.deadline {
            builder = builder.deadline(deadline.0);
        }
        Ok(builder)
    }
}

/// Returns an error of a builder with advice for people who write settings: the name of a key, not of a method.
pub(super) fn in_settings(error: &Error) -> String {
    let text = error.to_string();
    let advice = [
        ("call `allow_plain_http(true)`", "set allow_plain_http = true"),
        ("use the builder's method for it instead of `param`", "use the key for it, and remove it from `params`"),
        ("which belongs in `ClientAuth`", "which belongs in `client_id`"),
        ("`ClientAuth::", "`"),
    ];
    let text = advice.iter().fold(text, |text, (method, key)| text.replace(method, key));
    text.replace(": give", "; give")
        .replace(": use", "; use")
        .replace(": write", "; write")
        .replace(": remove", "; remove")
}

/// Returns the URN of a token type that is given by its last part.
pub(super) fn urn(token_type: &str) -> String {
    let known = TOKEN_TYPES.iter().find(|(name, _)| *name == token_type);
    known.map_or(token_type, |(_, urn)| urn).to_owned()
}

#[cfg(not(feature = "jwt"))]
fn without_jwt(what: &str) -> String {
    format!("`{what}` needs the feature `jwt` of tower-bearer; build the program with it")
}

#[cfg(feature = "jwt")]
fn signed_assertion(signed: &SignedConfig, place: &Place) -> Result<Assertion, Error> {
    let algorithm = (place.child("key_algorithm"), signed.key_algorithm.as_ref());
    let key = signing_key(&signed.key, signed.key_id.as_ref(), algorithm)?;
    let mut assertion = Assertion::new(&signed.issuer, &signed.subject, key).with_issued_at(signed.issued_at);
    if let Some(audience) = &signed.audience {
        assertion = assertion.audience(audience);
    }
    if let Some(lifetime) = signed.lifetime {
        assertion = assertion.lifetime(lifetime.0);
    }
    Ok(assertion)
}

/// `algorithm` is its place and its name.
#[cfg(feature = "jwt")]
fn signing_key(
    pem: &SecretPlace,
    id: Option<&String>,
    algorithm: (Place, Option<&String>),
) -> Result<SigningKey, Error> {
    let mut key = SigningKey::pem(pem.secret());
    if let Some(id) = id {
        key = key.key_id(id);
    }
    let (place, Some(name)) = algorithm else { return Ok(key) };
    let algorithm = SigningAlgorithm::from_name(name)
        .ok_or_else(|| place.error(format!("unknown value; {}", nearest::advice(name, ALGORITHMS))))?;
    Ok(key.algorithm(algorithm))
}

#[cfg(feature = "jwt")]
const ALGORITHMS: &[&str] = &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];
