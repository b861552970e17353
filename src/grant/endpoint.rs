//! Requests to one authorization server, as one client.

use std::fmt;

use http::{
    HeaderValue, Method, Request,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE},
};

use crate::{
    clock::WallClock,
    error::Error,
    grant::{
        client_auth::ClientAuth,
        discovery::Asking,
        form::{At, Form},
        granted::{Fields, Granted},
        http_service::HttpService,
        metadata::Metadata,
        reply::{Refusal, Reply, Sent},
        server::AuthorizationServer,
        url::Url,
    },
    recursion::Renewing,
    transport,
};

/// An authorization server, with the way in which the client authenticates there.
#[derive(Clone)]
pub(crate) struct Endpoint<C> {
    pub(crate) asking: Asking<C>,
    pub(crate) server: AuthorizationServer,
    pub(crate) auth: ClientAuth,
    pub(crate) revocation: Option<Url>,
    pub(crate) show_description: bool,
    pub(crate) wall_clock: WallClock,
}

impl<C: HttpService> Endpoint<C> {
    /// What is known of the server. It takes the client's authentication, as far as it says.
    pub(crate) async fn metadata(&self) -> Result<Metadata, Error> {
        let metadata = self.server.metadata(&self.asking).await?;
        // Its operator may mend it, and no restart should be needed to see that.
        self.auth.check_offered(&metadata).inspect_err(|_| self.server.forget())?;
        Ok(metadata)
    }

    pub(crate) fn at<'a>(&self, server: &'a Metadata) -> At<'a> {
        At { server, now: self.wall_clock.now() }
    }

    /// One token request (RFC 6749 §3.2).
    pub(crate) async fn token(&self, form: Form, at: &At<'_>) -> Result<Granted, Error> {
        let granted = self.granted(form, at).await;
        granted.inspect_err(|error| self.server.doubt(error))
    }

    async fn granted(&self, form: Form, at: &At<'_>) -> Result<Granted, Error> {
        let mut reply = self.post(at.server.token(), form, at).await?;
        match reply.json::<Fields>().map(|mut fields| (fields.refusal(), fields)) {
            Ok((Some(refusal), _)) => Err(reply.refused(refusal, self.show_description)),
            _ if !reply.status.is_success() => Err(reply.failed(Error::unexplained_status(reply.status))),
            Ok((None, fields)) => fields.granted(reply.date()).map_err(|error| reply.failed(error)),
            Err(why) => Err(reply.failed(Error::not_a_token(why))),
        }
    }

    /// One revocation (RFC 7009 §2.1). Tokens that the server does not know are revoked (§2.2).
    pub(crate) async fn revoke(&self, token: &str, kind: &str, at: &At<'_>) -> Result<(), Error> {
        let url = self.revocation.as_ref().or_else(|| at.server.revocation()).ok_or_else(|| {
            Error::config(
                "it is not known where to revoke tokens: set `revocation_url`, or find the server by its metadata",
            )
        })?;
        let mut form = Form::new();
        form.append("token", token);
        form.append("token_type_hint", kind);
        self.revoked(url, form, at).await.map_err(|error| error.at("the revocation endpoint"))
    }

    async fn revoked(&self, url: &Url, form: Form, at: &At<'_>) -> Result<(), Error> {
        let mut reply = self.post(url, form, at).await?;
        if reply.status.is_success() {
            return Ok(());
        }
        Err(match reply.json::<Refusal>() {
            Ok(refusal) => reply.refused(refusal, self.show_description),
            Err(_) => reply.failed(Error::unexplained_status(reply.status)),
        })
    }

    async fn post(&self, url: &Url, mut form: Form, at: &At<'_>) -> Result<Reply, Error> {
        // A server that is shared may have been found by a grant that allows it.
        if !self.asking.plain_http && !transport::is_secure(&url.uri) {
            return Err(Error::config(
                "the authorization server's endpoint is plain http, which would send secrets in the clear: use \
                 `allow_plain_http` where the way is private by other means",
            ));
        }
        let applied = self.auth.apply(&mut form, at).await?;
        let sent = Sent { form: form.clone(), client_secret: applied.secret };
        let mut request = Request::new(form.into_body());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = url.uri.clone();
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(authorization) = applied.header {
            headers.insert(AUTHORIZATION, authorization);
        }
        Renewing::mark(request.extensions_mut());
        let deadline = self.asking.deadline;
        let exchange = tokio::time::timeout(deadline, self.asking.http.send(request));
        Reply::new(exchange.await.map_err(|_| Error::timeout(deadline))??, Some(sent))
    }
}

impl<C> fmt::Debug for Endpoint<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("server", &self.server)
            .field("auth", &self.auth)
            .field("revocation", &self.revocation)
            .finish_non_exhaustive()
    }
}
