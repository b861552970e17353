//! The client to the API: what a program that uses tower-bearer has to write.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};
use tower::{BoxError, ServiceBuilder, ServiceExt, util::BoxCloneService};
use tower_bearer::{
    BearerAuthLayer, BoxTokenSource, TokenCache,
    grant::{HttpClient, PasswordGrant},
};

use crate::{advice, plan::Plan, trouble::Trouble};

/// Anything that answers requests.
pub type Api = BoxCloneService<Request<Full<Bytes>>, Response<Incoming>, BoxError>;

/// The cache over the password grant: one for all clients of the program, it is cheap to clone.
pub fn token_cache(plan: &Plan, wire: &Arc<Wire>) -> Result<TokenCache, Trouble> {
    let mut http = HttpClient::builder();
    if let Some(pem) = &plan.ca {
        http = http.root_certificates(pem.clone());
    }
    let http = http.build().map_err(|error| advice::token(&error))?;
    let wire = Arc::clone(wire);
    let counted = ServiceBuilder::new()
        .map_request(move |request| {
            wire.token_requests.fetch_add(1, Relaxed);
            request
        })
        .service(http);

    let mut grant = PasswordGrant::builder(&plan.token_url)
        .client_auth(plan.client.auth())
        .credentials(&plan.username, plan.password.clone());
    if let Some(scope) = &plan.scope {
        grant = grant.scope(scope);
    }
    let grant = grant.build_with(counted).map_err(|error| advice::token(&error))?;
    // Tokens are renewed five minutes before they expire; those that do not live that long, at half their life. The
    // default is at three quarters, which leaves little time when a life is seconds and the machine is busy.
    Ok(TokenCache::builder(BoxTokenSource::new(grant)).stale_before_expiry(Duration::from_secs(300), 0.5).build())
}

/// A hyper client whose requests carry the cache's token. What stands below the layer sees each attempt.
pub fn api_client(plan: &Plan, cache: &TokenCache, wire: &Arc<Wire>) -> Result<Api, Trouble> {
    let (sent, answered) = (Arc::clone(wire), Arc::clone(wire));
    let client = ServiceBuilder::new()
        .layer(BearerAuthLayer::with_cache(cache.clone()))
        .map_request(move |request| {
            sent.sent.fetch_add(1, Relaxed);
            request
        })
        .map_response(move |response: Response<Incoming>| {
            answered.note(response.status());
            response
        })
        .service(https_client(plan.ca.as_deref())?);
    Ok(client.boxed_clone())
}

/// A client without the layer, for https and http.
pub fn https_client(ca: Option<&[u8]>) -> Result<Client<HttpsConnector<HttpConnector>, Full<Bytes>>, Trouble> {
    let tls = ClientConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .map_err(|error| Trouble::failed(format!("TLS cannot be set up: {error}")))?
        .with_root_certificates(roots(ca)?)
        .with_no_client_auth();
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_all_versions().build();
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}

fn roots(ca: Option<&[u8]>) -> Result<RootCertStore, Trouble> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for certificate in CertificateDer::pem_slice_iter(ca.unwrap_or_default()) {
        certificate
            .ok()
            .and_then(|certificate| roots.add(certificate).ok())
            .ok_or_else(|| Trouble::usage("the --ca-file has a certificate that cannot be read"))?;
    }
    Ok(roots)
}

/// What goes over the wire, counted below the layer.
#[derive(Default)]
pub struct Wire {
    token_requests: AtomicU64,
    sent: AtomicU64,
    rejected: AtomicU64,
}

/// What went over the wire so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    pub token_requests: u64,
    /// Requests to the API, second attempts included.
    pub sent: u64,
    /// 401s from the API.
    pub rejected: u64,
}

impl Wire {
    fn note(&self, status: StatusCode) {
        if status == StatusCode::UNAUTHORIZED {
            self.rejected.fetch_add(1, Relaxed);
        }
    }

    pub fn counts(&self) -> Counts {
        Counts {
            token_requests: self.token_requests.load(Relaxed),
            sent: self.sent.load(Relaxed),
            rejected: self.rejected.load(Relaxed),
        }
    }
}
