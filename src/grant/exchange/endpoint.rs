//! Requests to one authorization server, as one client.

use std::{
    fmt,
    hash::{BuildHasher, Hasher, RandomState},
    sync::{Arc, LazyLock},
};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE},
};
use http_body_util::Full;

use crate::{
    asking::Numbers,
    clock::WallClock,
    error::{Error, ServerPart},
    grant::{
        authentication::client_auth::ClientAuth,
        exchange::{
            extra_headers::ExtraHeaders,
            form::Form,
            http_exchange::HttpExchange,
            http_service::HttpService,
            reply::ServerReply,
            request_context::RequestContext,
            sent_secrets::SentSecrets,
            token_response::{TokenAnswer, access_token, granted, refresh_token},
        },
        server::{authorization_server::AuthorizationServer, metadata::Metadata, url::Url},
    },
    source::SourceIdentity,
};

/// An authorization server, and how the client authenticates there.
#[derive(Clone)]
pub(crate) struct Endpoint<C> {
    pub(crate) exchange: HttpExchange<C>,
    pub(crate) server: AuthorizationServer,
    pub(crate) auth: ClientAuth,
    pub(crate) headers: ExtraHeaders,
    pub(crate) revocation_url: Option<Url>,
    pub(crate) show_description: bool,
    /// More token types that are sent as Bearer tokens.
    pub(crate) token_types: Arc<[String]>,
    pub(crate) wall_clock: WallClock,
}

/// A request that is ready to be sent, and the secrets in it.
pub(crate) struct SecretRequest {
    request: Request<Full<Bytes>>,
    sent: SentSecrets,
}

/// Hashes what a client is made of, with a key of this process, so that the hash tells nothing of a secret.
static CLIENT_HASH: LazyLock<RandomState> = LazyLock::new(RandomState::new);

impl<C> Endpoint<C> {
    /// Returns a number that is the same for each use of the same client at the same server; see
    /// [`TokenSource::client`](crate::TokenSource::client).
    pub(crate) fn client(&self) -> u64 {
        let mut hash = CLIENT_HASH.build_hasher();
        self.server.hash_identity(&mut hash);
        self.auth.hash_identity(&mut hash);
        hash.finish()
    }

    /// Returns a number for the server; see [`TokenSource::issuer`](crate::TokenSource::issuer).
    pub(crate) fn issuer(&self) -> u64 {
        let mut hash = CLIENT_HASH.build_hasher();
        self.server.hash_identity(&mut hash);
        hash.finish()
    }

    pub(crate) fn numbers(&self) -> Numbers {
        Numbers { client: self.client(), issuer: self.issuer() }
    }
}

impl<C: HttpService> Endpoint<C> {
    /// Adds the server and the client to an identity.
    pub(crate) async fn identify(&self, identity: SourceIdentity) -> Result<SourceIdentity, Error> {
        let identity = self.auth.identify(self.server.identify(identity)).await?;
        Ok(self.headers.identify(identity))
    }

    /// Returns the metadata of the server, after checking that the server supports the client's authentication.
    pub(crate) async fn metadata(&self) -> Result<Metadata, Error> {
        let metadata = self.server.metadata(&self.exchange).await?;
        // The operator of the server may correct its metadata. The next attempt must see that without a restart.
        self.auth.check_supported_by(&metadata).inspect_err(|_| self.server.forget())?;
        Ok(if self.auth.is_by_tls() { metadata.for_mutual_tls() } else { metadata })
    }

    pub(crate) fn context<'a>(&self, server: &'a Metadata) -> RequestContext<'a> {
        RequestContext { server, now: self.wall_clock.now() }
    }

    /// Prepares a token request (RFC 6749 §3.2). All secrets are read here.
    pub(crate) async fn token_request(&self, form: Form, context: &RequestContext<'_>) -> Result<SecretRequest, Error> {
        self.request(context.server.token_url(self.exchange.plain_http)?, form, context).await
    }

    /// Makes a token request.
    pub(crate) async fn send_token_request(&self, SecretRequest { request, sent }: SecretRequest) -> TokenAnswer {
        let answer = match self.exchange.send(request, Some(sent)).await {
            Ok(reply) => self.judge(reply),
            Err(error) => TokenAnswer::failed(error.of_credentials()),
        };
        if let Err(error) = &answer.granted {
            self.server.forget_if_moved(error);
        }
        answer
    }

    /// Judges the reply to a token request: by its status, then by an error code wherever it is, then by its members.
    fn judge(&self, mut reply: ServerReply) -> TokenAnswer {
        let text = reply.take_text();
        let members = text.as_ref().map_err(Error::clone).and_then(|text| reply.members(text));
        let is_success = reply.status.is_success();
        let has_token = is_success && members.as_ref().is_ok_and(|members| access_token(members).is_some());
        let body = text.as_ref().map_or("", |text| text.as_str());
        let refusal = reply.refusal(members.as_ref().ok(), body).filter(|_| !has_token);
        let granted = match (refusal, &members) {
            (Some(refusal), _) => Err(reply.refusal_error(refusal, self.show_description)),
            (None, _) if !is_success => Err(Error::unexplained_status(reply.status)),
            (None, Ok(members)) => granted(members, &reply, &self.token_types),
            (None, Err(error)) => Err(error.clone().of_credentials()),
        };
        let refresh_token = members.as_ref().ok().filter(|_| is_success).and_then(refresh_token);
        TokenAnswer { granted: granted.map_err(|error| reply.complete(error)), refresh_token }
    }

    /// Revokes one token (RFC 7009 §2.1). A token that the server does not know counts as revoked (§2.2).
    pub(crate) async fn revoke(&self, token: &str, kind: &str, context: &RequestContext<'_>) -> Result<(), Error> {
        let url = match &self.revocation_url {
            Some(url) => Some(url),
            None => context.server.revocation_url(self.exchange.plain_http)?,
        };
        let url = url.ok_or_else(|| {
            Error::config(if context.server.is_discovered() {
                "the authorization server's metadata has no revocation endpoint (RFC 7009): if the server has one all the \
                 same, set `revocation_url`; otherwise its tokens are valid until they expire"
            } else {
                "no revocation URL is configured: set `revocation_url`, or name the server by its issuer, so that its \
                 metadata says whether it has one"
            })
        })?;
        let mut form = Form::new();
        form.append("token", token);
        form.append("token_type_hint", kind);
        self.try_revoke(url, form, context).await.map_err(|error| error.at(ServerPart::RevocationEndpoint))
    }

    async fn try_revoke(&self, url: &Url, form: Form, context: &RequestContext<'_>) -> Result<(), Error> {
        let SecretRequest { request, sent } = self.request(url, form, context).await?;
        let mut reply = self.exchange.send(request, Some(sent)).await?;
        if reply.status.is_success() {
            return Ok(());
        }
        let text = reply.take_text().unwrap_or_default();
        Err(match reply.refusal(reply.members(&text).ok().as_ref(), &text) {
            Some(refusal) => reply.refusal_error(refusal, self.show_description),
            None => reply.complete(Error::unexplained_status(reply.status)),
        })
    }

    async fn request(&self, url: &Url, mut form: Form, context: &RequestContext<'_>) -> Result<SecretRequest, Error> {
        let header = self.auth.apply(&mut form, context).await?;
        let (authorization, client_secret) = header.map(|header| (header.value, header.secret)).unzip();
        let (authorization_sent, extra) = (authorization.clone(), self.headers.secrets());
        let sent = SentSecrets { form: form.clone(), client_secret, authorization: authorization_sent, extra };
        let mut request = Request::new(form.into_body());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = url.uri.clone();
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        self.headers.add_to(headers);
        if let Some(authorization) = authorization {
            headers.insert(AUTHORIZATION, authorization);
        }
        Ok(SecretRequest { request, sent })
    }
}

impl<C> fmt::Debug for Endpoint<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("server", &self.server)
            .field("auth", &self.auth)
            .field("revocation_url", &self.revocation_url)
            .finish_non_exhaustive()
    }
}
