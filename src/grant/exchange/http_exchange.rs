//! Sends a request to an authorization server and receives the reply.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::Full;

use crate::{
    error::Error,
    grant::{
        exchange::{http_service::HttpService, reply::ServerReply, sent_secrets::SentSecrets},
        server::url::server_name,
    },
    recursion::Renewing,
    timer::timeout,
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
        let server = shown_server(request.uri(), sent.as_ref());
        let late = || Error::timeout(self.deadline);
        let (mut head, mut body) = (Err(late()), Err(late()));
        let exchange = async {
            match self.http.send_request(request).await {
                Ok((received, rest)) => {
                    // It counts even if the body is late.
                    head = Ok(received);
                    body = rest.await;
                }
                Err(error) => head = Err(error),
            }
        };
        // What came in time is in `head` and `body`.
        let _ = timeout(self.deadline, exchange).await;
        let head = head.map_err(|error| error.about(&server))?;
        ServerReply::new(head, body, server, sent)
    }
}

/// Returns how errors name the server. Metadata says where an endpoint is, and a server could repeat a secret there.
fn shown_server(uri: &Uri, sent: Option<&SentSecrets>) -> String {
    let server = server_name(uri);
    if sent.is_some_and(|sent| sent.are_repeated_in(&server)) { "a host that contains a secret".into() } else { server }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grant::exchange::form::Form;

    #[test]
    fn errors_name_scheme_host_and_port_and_no_secret() {
        let mut form = Form::new();
        form.append("password", "s3cret");
        let sent = SentSecrets { form, client_secret: Some("cl1ent".into()), authorization: None, extra: Vec::new() };
        for (url, shown) in [
            ("https://auth.example.org/tenant/token?key=hidden", "https://auth.example.org"),
            ("http://user:hidden@127.0.0.1:8080/token", "http://127.0.0.1:8080"),
            ("https://[::1]:8443/token", "https://[::1]:8443"),
            ("https://s3cret.example.org/token", "a host that contains a secret"),
            ("https://cl1ent.example.org/token", "a host that contains a secret"),
        ] {
            assert_eq!(shown_server(&url.parse().unwrap(), Some(&sent)), shown);
        }
    }
}
