//! How the servers are reached: addresses, the user, the password and TLS.

use std::{fmt, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, RedisConnectionInfo, aio::MultiplexedConnection,
    aio::PubSub, io::tcp::TcpSettings,
};
use tower_bearer::{BoxError, SecretString};

use crate::{
    error::{Kind, RedisStoreError},
    status::Health,
};

/// What all connections of a store have in common.
pub(crate) struct Servers {
    /// The URLs of the settings: a server, the sentinels, or some nodes of a cluster.
    pub(crate) urls: Vec<ConnectionInfo>,
    /// The database, the user and the password, for all servers that are not sentinels.
    pub(crate) login: RedisConnectionInfo,
    /// Reads the password for each connection.
    pub(crate) password: Option<ReadPassword>,
    pub(crate) timeout: Duration,
    pub(crate) health: Arc<Health>,
}

/// Gets a password from where it is kept.
pub(crate) type ReadPassword = Arc<dyn Fn() -> BoxFuture<'static, Result<SecretString, BoxError>> + Send + Sync>;

/// A connection, and where it leads.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) connection: MultiplexedConnection,
    pub(crate) server: Server,
}

/// The address of a server.
#[derive(Clone)]
pub(crate) struct Server(Arc<ConnectionAddr>);

impl Servers {
    /// Returns the server with this host and port. It is reached as the first URL says, with or without TLS.
    pub(crate) fn server(&self, host: &str, port: u16) -> Server {
        let host = host.to_owned();
        Server::new(match self.urls[0].addr() {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
                ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: tls_params.clone() }
            }
            _ => ConnectionAddr::Tcp(host, port),
        })
    }

    /// Returns the servers that the URLs name.
    pub(crate) fn named(&self) -> impl Iterator<Item = Server> {
        self.urls.iter().map(|url| Server::new(url.addr().clone()))
    }

    /// Connects to a server.
    pub(crate) async fn connect(&self, server: Server) -> Result<Link, RedisStoreError> {
        let connection = self.open(&self.info(&server, self.login().await?)).await?;
        Ok(Link { connection, server })
    }

    /// Connects to a sentinel, with the login of its URL.
    pub(crate) async fn connect_to_sentinel(
        &self,
        url: &ConnectionInfo,
    ) -> Result<MultiplexedConnection, RedisStoreError> {
        self.open(&self.info(&Server::new(url.addr().clone()), url.redis_settings().clone().set_db(0))).await
    }

    /// Connects to a server to receive what is published.
    pub(crate) async fn subscriber(&self, server: &Server) -> Result<PubSub, RedisStoreError> {
        let client =
            Client::open(self.info(server, self.login().await?)).map_err(|error| RedisStoreError::of(&error))?;
        client.get_async_pubsub().await.map_err(|error| RedisStoreError::of(&error))
    }

    async fn open(&self, info: &ConnectionInfo) -> Result<MultiplexedConnection, RedisStoreError> {
        let limit = Some(self.timeout);
        let config = AsyncConnectionConfig::new().set_connection_timeout(limit).set_response_timeout(limit);
        let connection =
            async { Client::open(info.clone())?.get_multiplexed_async_connection_with_config(&config).await };
        connection.await.map_err(|error| RedisStoreError::of(&error))
    }

    fn info(&self, server: &Server, login: RedisConnectionInfo) -> ConnectionInfo {
        // The library's name is not told, because the ACL rule would have to allow it.
        self.urls[0]
            .clone()
            .set_addr((*server.0).clone())
            .set_tcp_settings(TcpSettings::default().set_nodelay(true))
            .set_redis_settings(login.set_skip_set_lib_name())
    }

    async fn login(&self) -> Result<RedisConnectionInfo, RedisStoreError> {
        let login = self.login.clone();
        let Some(read) = &self.password else { return Ok(login) };
        let password = read().await.map_err(|error| Kind::Password(error.to_string()))?;
        Ok(login.set_password(password.expose()))
    }
}

impl Server {
    fn new(address: ConnectionAddr) -> Self {
        Self(Arc::new(address))
    }

    /// Returns its host, if it has one.
    pub(crate) fn host(&self) -> Option<&str> {
        match &*self.0 {
            ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => Some(host),
            _ => None,
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
