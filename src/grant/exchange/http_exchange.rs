//! Sends a request to an authorization server and receives the reply.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tokio::time::timeout;

use crate::{
    error::Error,
    grant::exchange::{http_service::HttpService, reply::ServerReply, sent_secrets::SentSecrets},
    recursion::Renewing,
};

/// An HTTP client, and the rules for its requests.
#[derive(Clone)]
pub(crate) struct HttpExchange<C> {
    pub(crate) http: C,
    pub(crate) plain_http: bool,
    pub(crate) deadline: Duration,
}

impl<C: HttpService> HttpExchange<C> {
    pub(crate) fn new(http: C) -> Self {
        Self { http, plain_http: false, deadline: Duration::from_secs(10) }
    }

    pub(crate) async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
        sent: Option<SentSecrets>,
    ) -> Result<ServerReply, Error> {
        Renewing::mark(request.extensions_mut());
        let response = timeout(self.deadline, self.http.send_request(request)).await;
        ServerReply::new(response.map_err(|_| Error::timeout(self.deadline))??, sent)
    }
}
