//! A gateway with its three servers, and a proxy before each of them.

use std::{io, path::Path, time::Duration};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tower_bearer::testing::{Issuer, IssuerServer, TokenFormat};

use crate::{
    fault::{Fault, Link},
    gateway::{Gateway, Settings, TIMEOUT},
    load::Callers,
    proxy::Proxy,
    redis::Redis,
    tls::Tls,
    upstream::{self, Http2},
};

/// How long a token lives. It is renewed after half of that.
pub const LIFETIME: Duration = Duration::from_secs(4);

pub struct Stand {
    pub gateway: Gateway,
    issuer: Proxy,
    upstream: Proxy,
    redis: Proxy,
    own_names: bool,
    _servers: (IssuerServer, Redis),
}

impl Stand {
    /// Starts everything: with HTTP/1.1, or with TLS on all connections and HTTP/2 to the upstream.
    pub async fn start(binary: &Path, tls: bool, own_names: bool) -> io::Result<Self> {
        let scripted = Issuer::builder().lifetime(LIFETIME).token_format(TokenFormat::Opaque).build();
        let server = scripted.listen().await?;
        let redis_server = Redis::start(&[]).await?;
        let of = |protocols: &[&str]| tls.then(|| Tls::new(protocols));
        let issuer = Proxy::start(server.addr().port(), of(&[])).await;
        let redis = Proxy::start(redis_server.port, of(&[])).await;
        let upstream = if tls {
            let (http2, port) = Http2::bind().await;
            let proxy = Proxy::start(port, of(&["h2"])).await;
            http2.serve(scripted, proxy.subscribe());
            proxy
        } else {
            Proxy::start(upstream::http1(&scripted).await, None).await
        };
        let (http, resp, host) = if tls { ("https", "rediss", "localhost") } else { ("http", "redis", "127.0.0.1") };
        let ca = if tls { format!("\nca_file = \"{}\"", Tls::ca_file()) } else { String::new() };
        let settings = Settings {
            token_url: format!("{http}://{host}:{}/token", issuer.port),
            upstream: format!("{http}://{host}:{}", upstream.port),
            store: Some(format!("url = \"{resp}://{host}:{}\"{ca}", redis.port)),
            identity: String::new(),
            timeout: TIMEOUT,
            own_names,
        };
        let gateway = Gateway::start(binary, &settings).await?;
        Ok(Self { gateway, issuer, upstream, redis, own_names, _servers: (server, redis_server) })
    }

    pub fn callers(&self) -> Callers {
        Callers::new(vec![self.gateway.url.clone()], 2_000)
    }

    /// Begins or ends faults. When one begins on the way to the issuer, the token is forgotten.
    pub async fn set(&self, faults: &[(Link, Fault)], on: bool) -> io::Result<()> {
        if self.own_names {
            self.gateway.names(!on || faults.iter().all(|(_, fault)| *fault != Fault::Dns))?;
        }
        for (link, fault) in faults {
            self.proxy(*link).set(on.then_some(*fault));
        }
        if on && faults.iter().any(|(link, _)| *link == Link::Issuer) {
            self.reset().await?;
        }
        Ok(())
    }

    /// Makes the gateway forget its token and all failures, as an operator does.
    pub async fn reset(&self) -> io::Result<()> {
        let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        let reset = Request::post(format!("{}/reset", self.gateway.admin)).body(Full::default());
        client.request(reset.map_err(io::Error::other)?).await.map_err(io::Error::other)?;
        Ok(())
    }

    /// Returns how many connections there were to the issuer. Each token request has its own.
    pub fn token_requests(&self) -> u64 {
        self.issuer.accepted()
    }

    fn proxy(&self, link: Link) -> &Proxy {
        match link {
            Link::Issuer => &self.issuer,
            Link::Upstream => &self.upstream,
            Link::Redis => &self.redis,
        }
    }
}
