//! The client for the upstream: a hyper client with the layer around it.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{Request, Response, uri::Scheme};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{
        Client, Error, ResponseFuture,
        connect::{CaptureConnection, HttpConnector, capture_connection},
    },
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};
use tower::{BoxError, Layer, Service, ServiceExt};
use tower_bearer::{
    BearerAuth,
    replay::{InPlace, ReplayBody, Tee},
};

use crate::{
    base::Base,
    cli::CliError,
    kept_connection::{Connector, Used},
    resend,
    serve::{MAX_FIELDS, MAX_HEAD},
    token::Tokens,
    token_rules::LayerRules,
    upload::{Original, Upload},
};

/// A hyper client that is cheap to clone. The layer clones the service below it for each request, and a clone of the client
/// itself copies all of its settings.
#[derive(Clone)]
pub struct Https(Arc<Client<HttpsConnector<Connector<HttpConnector>>, ReplayBody<Upload>>>);

impl Service<Request<ReplayBody<Upload>>> for Https {
    type Response = Response<Incoming>;
    type Error = Error;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<ReplayBody<Upload>>) -> Answer {
        let connection = request.extensions().get::<Connection>().cloned();
        if let Some(connection) = &connection {
            connection.begin(&mut request);
        }
        Answer { response: self.0.request(request), connection }
    }
}

/// The answer of the upstream to one attempt.
pub struct Answer {
    response: ResponseFuture,
    connection: Option<Connection>,
}

impl Future for Answer {
    type Output = Result<Response<Incoming>, Error>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let response = ready!(Pin::new(&mut self.response).poll(task));
        if let Some(connection) = &self.connection {
            connection.attempt().is_waiting = false;
        }
        // From now on, the connection is one that was kept.
        if let Some(used) = response.as_ref().ok().and_then(|response| response.extensions().get::<Used>()) {
            used.set();
        }
        Poll::Ready(response)
    }
}

/// The connection of a request's last attempt. A copy is in the request's extensions.
///
/// Over HTTP/2, a connection whose server is gone without a word would stay in use, and each request would wait for the whole timeout.
#[derive(Clone, Default)]
pub struct Connection(Arc<Mutex<Attempt>>);

#[derive(Default)]
struct Attempt {
    /// Its connection, once it has one. It is known only if it may be one of HTTP/2, which needs TLS here.
    captured: Option<CaptureConnection>,
    /// Whether it waits for the upstream. If not, the request waits for a token.
    is_waiting: bool,
}

impl Connection {
    fn begin<B>(&self, request: &mut Request<B>) {
        let is_tls = request.uri().scheme() == Some(&Scheme::HTTPS);
        let captured = is_tls.then(|| capture_connection(request));
        *self.attempt() = Attempt { captured, is_waiting: true };
    }

    /// Makes sure that no other request uses the connection, if this one waits for the upstream's answer.
    pub fn give_up_unanswered(&self) {
        if self.attempt().is_waiting {
            self.give_up();
        }
    }

    /// Makes sure that no other request uses the connection.
    pub fn give_up(&self) {
        if let Some(captured) = &self.attempt().captured
            && let Some(connection) = &*captured.connection_metadata()
        {
            connection.poison();
        }
    }

    fn attempt(&self) -> MutexGuard<'_, Attempt> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Clones share their connections.
pub enum Upstream {
    Bearer(BearerAuth<Https, Option<Tee<InPlace>>>),
    /// Without the layer, to measure what it costs.
    Bare(Https),
}

impl Upstream {
    /// # Errors
    /// When TLS cannot be set up, the certificates cannot be read, or a rule for tokens is wrong.
    pub fn new(
        base: &Base,
        tokens: &Tokens,
        layer_rules: LayerRules,
        plain_http: bool,
        ca: Option<&[u8]>,
    ) -> Result<Self, CliError> {
        let client = client(ca)?;
        let Some(layer) = tokens.layer() else { return Ok(Self::Bare(client)) };
        let layer = layer_rules
            .apply(layer)?
            // Every request goes there. The list protects the token even if a later change breaks that.
            .origins([base.origin()])
            .map_err(|error| CliError::usage(error.to_string()))?
            .allow_plain_http(plain_http);
        Ok(Self::Bearer(layer.layer(client)))
    }

    /// Sends a request, and sends it once more if that is [safe](resend::is_safe) and its body is kept.
    pub async fn send(
        &self,
        request: Request<Upload>,
        original: &Arc<Original>,
    ) -> Result<Response<Incoming>, BoxError> {
        let mut copy = Request::new(());
        request.method().clone_into(copy.method_mut());
        request.uri().clone_into(copy.uri_mut());
        request.headers().clone_into(copy.headers_mut());
        request.extensions().clone_into(copy.extensions_mut());
        let error = match self.send_once(request).await {
            Ok(response) => {
                original.forget();
                return Ok(response);
            }
            Err(error) => error,
        };
        if !resend::is_safe(&error, copy.method()) || original.progress.is_incomplete() {
            return Err(error);
        }
        let Some(upload) = original.again() else { return Err(error) };
        tracing::debug!(error, "the connection closed before an answer: the request is sent again");
        self.send_once(copy.map(|()| upload)).await
    }

    async fn send_once(&self, request: Request<Upload>) -> Result<Response<Incoming>, BoxError> {
        let request = request.map(ReplayBody::new);
        match self {
            Self::Bearer(service) => service.clone().ready().await?.call(request).await,
            Self::Bare(service) => Ok(service.clone().call(request).await?),
        }
    }
}

fn client(ca: Option<&[u8]>) -> Result<Https, CliError> {
    let tls = ClientConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .map_err(|error| CliError::failed(format!("cannot set up TLS: {error}")))?
        .with_root_certificates(roots(ca)?)
        .with_no_client_auth();
    let mut tcp = HttpConnector::new();
    tcp.set_connect_timeout(Some(Duration::from_secs(10)));
    tcp.set_nodelay(true);
    tcp.enforce_http(false);
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_all_versions()
        .wrap_connector(Connector(tcp));
    // Do not reuse connections that the upstream may have closed already.
    let mut client = Client::builder(TokioExecutor::new());
    // Request heads are small: one copy into a single buffer is faster than a list of buffers.
    client.http1_writev(false).http1_max_headers(MAX_FIELDS).http2_max_header_list_size(MAX_HEAD);
    client.pool_timer(TokioTimer::new()).pool_idle_timeout(Duration::from_secs(30)).timer(TokioTimer::new());
    Ok(Https(Arc::new(client.build(connector))))
}

fn roots(ca: Option<&[u8]>) -> Result<RootCertStore, CliError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for certificate in CertificateDer::pem_slice_iter(ca.unwrap_or_default()) {
        certificate
            .ok()
            .and_then(|certificate| roots.add(certificate).ok())
            .ok_or_else(|| CliError::usage("a certificate in the --ca-file cannot be read"))?;
    }
    Ok(roots)
}
