//! Requests to one authorization server, as one client.

use std::{fmt, time::Duration};

use http::{
    HeaderValue, Method, Request, Uri,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE},
};

use crate::{
    error::Error,
    grant::{
        client_auth::ClientAuth,
        form::Form,
        granted::{Fields, Granted},
        http_service::HttpService,
        reply::{Reply, Sent},
    },
    origin,
    recursion::Renewing,
};

/// A token endpoint, with the way in which the client authenticates there.
#[derive(Clone)]
pub(crate) struct Endpoint<C> {
    http: C,
    url: Uri,
    auth: ClientAuth,
    show_description: bool,
    deadline: Duration,
}

impl<C: HttpService> Endpoint<C> {
    /// # Errors
    /// When the URL is not one that secrets may be sent to.
    pub(crate) fn new(
        http: C,
        url: &str,
        auth: ClientAuth,
        plain_http: bool,
        show_description: bool,
        deadline: Duration,
    ) -> Result<Self, Error> {
        let advice = "give the whole token URL, such as https://auth.example.org/oauth2/token";
        let url: Uri = url.parse().map_err(|_| Error::config(format!("the token URL is no URL: {advice}")))?;
        if !matches!(url.scheme_str(), Some("https" | "http")) || url.host().is_none_or(str::is_empty) {
            return Err(Error::config(format!("the token URL has no http or https scheme, or no host: {advice}")));
        }
        if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(Error::config("the token URL has a user in it: give the client's credentials by ClientAuth"));
        }
        if !plain_http && !origin::is_private(&url) {
            return Err(Error::config(
                "the token URL is plain http, which would send secrets in the clear: use https \
                 (only loopback addresses are exempt)",
            ));
        }
        auth.check()?;
        Ok(Self { http, url, auth, show_description, deadline })
    }

    /// One token request (RFC 6749 §3.2).
    pub(crate) async fn token(&self, form: Form) -> Result<Granted, Error> {
        let mut reply = self.post(&self.url, form).await?;
        match reply.json::<Fields>().map(|mut fields| (fields.refusal(), fields)) {
            Ok((Some(refusal), _)) => Err(reply.refused(refusal, self.show_description)),
            _ if !reply.status.is_success() => Err(reply.failed(Error::unexplained_status(reply.status))),
            Ok((None, fields)) => fields.granted(reply.date()).map_err(|error| reply.failed(error)),
            Err(why) => Err(reply.failed(Error::not_a_token(why))),
        }
    }

    async fn post(&self, url: &Uri, mut form: Form) -> Result<Reply, Error> {
        let authorization = self.auth.apply(&mut form)?;
        let sent = Sent { form: form.clone(), client_secret: self.auth.secret() };
        let mut request = Request::new(form.into_body());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = url.clone();
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(authorization) = authorization {
            headers.insert(AUTHORIZATION, authorization);
        }
        Renewing::mark(request.extensions_mut());
        let exchange = tokio::time::timeout(self.deadline, self.http.send(request));
        Reply::new(exchange.await.map_err(|_| Error::timeout(self.deadline))??, sent)
    }
}

impl<C> fmt::Debug for Endpoint<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, path) = (self.url.authority(), self.url.path());
        f.debug_struct("Endpoint")
            .field("host", &host)
            .field("path", &path)
            .field("auth", &self.auth)
            .finish_non_exhaustive()
    }
}
