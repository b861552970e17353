//! The settings of a store.

use std::{fmt, ops::RangeInclusive, sync::Arc, time::Duration};

use futures_util::FutureExt;
use redis::{ConnectionAddr, ConnectionInfo, ProtocolVersion, RedisConnectionInfo};
use tower_bearer::{BoxError, SecretString};

use crate::{
    error::RedisStoreError,
    servers::{ReadPassword, Servers},
    status::Health,
    store::RedisStore,
    topology::{Arrangement, Topology},
};

/// How long a call may take.
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(60);

/// The settings of a [`RedisStore`]. Its `Debug` shows neither URLs nor passwords.
#[must_use = "a builder does nothing until `build` is called"]
pub struct RedisStoreBuilder {
    urls: String,
    arrangement: Arrangement,
    prefix: String,
    timeout: Duration,
    user: Option<String>,
    password: Option<Password>,
    #[cfg(feature = "tls")]
    tls: crate::tls::Tls,
}

enum Password {
    Text(SecretString),
    Read(ReadPassword),
}

impl RedisStoreBuilder {
    pub(crate) fn new(urls: &str) -> Self {
        Self {
            urls: urls.to_owned(),
            arrangement: Arrangement::One,
            prefix: "tower-bearer".to_owned(),
            timeout: Duration::from_millis(250),
            user: None,
            password: None,
            #[cfg(feature = "tls")]
            tls: crate::tls::Tls::default(),
        }
    }

    /// Says that the servers are a cluster. Default: they are if there are several URLs.
    ///
    /// The user, the password and whether TLS is used come from the first URL, for all nodes.
    pub fn cluster(self) -> Self {
        Self { arrangement: Arrangement::Cluster, ..self }
    }

    /// Says that the URLs are those of sentinels, which know the master of this name.
    ///
    /// The user and the password of a URL are for the sentinel. Those of the servers are [`user`](Self::user) and
    /// [`password`](Self::password). The database and whether TLS is used come from the first URL.
    pub fn sentinel(self, master: impl Into<String>) -> Self {
        Self { arrangement: Arrangement::Sentinel(master.into()), ..self }
    }

    /// Sets what the names of all keys and of the channel begin with. Default: `tower-bearer`. It must not be empty and must not
    /// have braces.
    pub fn prefix(self, prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), ..self }
    }

    /// Sets how long a call may take, including a connection that has to be made first. Between 1 ms and a minute. Default: 250 ms.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Sets the ACL user. Default: the user of the URL.
    ///
    /// It is sent together with a password. Without a password, there is no login, and the server's default user applies.
    pub fn user(self, user: impl Into<String>) -> Self {
        Self { user: Some(user.into()), ..self }
    }

    /// Sets the password. Default: the password of the URL.
    pub fn password(self, password: impl Into<SecretString>) -> Self {
        Self { password: Some(Password::Text(password.into())), ..self }
    }

    /// Gets the password from an async function, for each connection. So a password that changes needs no restart. Text of its errors is
    /// shown.
    ///
    /// ```
    /// use tower_bearer_redis::RedisStore;
    ///
    /// let store = RedisStore::builder("redis://127.0.0.1:6379").user("tokens").password_from(async || {
    ///     let password = tokio::fs::read_to_string("/run/secrets/redis-password").await?;
    ///     Ok(password.trim_end().into())
    /// });
    /// ```
    pub fn password_from<F, Fut>(self, read: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<SecretString, BoxError>> + Send + 'static,
    {
        Self { password: Some(Password::Read(Arc::new(move || read().boxed()))), ..self }
    }

    /// Trusts only these certificates, in PEM. Default: those that the operating system trusts.
    #[cfg(feature = "tls")]
    pub fn tls_roots(self, pem: impl Into<Vec<u8>>) -> Self {
        Self { tls: self.tls.with_roots(pem.into()), ..self }
    }

    /// Sends this certificate to servers that ask for one. Both are in PEM. Default: none.
    #[cfg(feature = "tls")]
    pub fn tls_client(self, certificate: impl Into<Vec<u8>>, key: impl Into<SecretString>) -> Self {
        Self { tls: self.tls.with_client(certificate.into(), key.into()), ..self }
    }

    /// Creates the store. It does not connect yet.
    ///
    /// With TLS, it makes ring the process's crypto provider of rustls, unless there is one already.
    ///
    /// # Errors
    /// When a URL, the prefix, the timeout or a certificate is wrong, and for `rediss://` without the feature `tls`. The error does not
    /// show the URL.
    pub fn build(self) -> Result<RedisStore, RedisStoreError> {
        if self.prefix.is_empty() || self.prefix.contains(['{', '}']) {
            return Err(RedisStoreError::config("the prefix must not be empty and must not have braces"));
        }
        if !TIMEOUTS.contains(&self.timeout) {
            return Err(RedisStoreError::config("the timeout must be between 1 ms and 1 minute"));
        }
        let mut urls = split(&self.urls)
            .iter()
            .enumerate()
            .map(|(index, url)| parse(index + 1, url))
            .collect::<Result<Vec<_>, _>>()?;
        #[cfg(feature = "tls")]
        self.tls.apply(&mut urls)?;
        #[cfg(not(feature = "tls"))]
        let _ = &mut urls;
        let arrangement = match self.arrangement {
            Arrangement::One if urls.len() > 1 => Arrangement::Cluster,
            arrangement => arrangement,
        };
        let (login, password) = login(&urls[0], &arrangement, self.user.as_deref(), self.password);
        if matches!(arrangement, Arrangement::Cluster) && login.db() != 0 {
            return Err(RedisStoreError::config("a cluster has only database 0"));
        }
        let servers =
            Arc::new(Servers { urls, login, password, timeout: self.timeout, health: Arc::new(Health::default()) });
        Ok(RedisStore::from_parts(Topology::new(Arc::clone(&servers), arrangement), servers, self.prefix))
    }
}

/// Splits at commas. One that no URL follows is part of a password.
fn split(urls: &str) -> Vec<String> {
    let mut split: Vec<String> = Vec::new();
    for part in urls.split(',') {
        match split.last_mut() {
            Some(last) if !part.contains("://") => {
                last.push(',');
                last.push_str(part);
            }
            _ => split.push(part.trim().to_owned()),
        }
    }
    split
}

fn parse(number: usize, url: &str) -> Result<ConnectionInfo, RedisStoreError> {
    let wrong = |why: &str| RedisStoreError::config(format!("URL {number} {why}"));
    let with_tls = url.starts_with("rediss:") || url.starts_with("valkeys:");
    if with_tls && !cfg!(feature = "tls") {
        return Err(wrong("needs TLS: enable the feature `tls` of tower-bearer-redis"));
    }
    let form = "is not of the form redis://user:password@host:port/database";
    let info: ConnectionInfo = url.parse().map_err(|_| wrong(form))?;
    match info.addr() {
        ConnectionAddr::TcpTls { insecure: true, .. } => {
            Err(wrong("has #insecure, which is not supported: name the certificates to trust by `tls_roots`"))
        }
        _ => Ok(info),
    }
}

/// Returns the database, the user and the password of the servers, and what reads the password.
fn login(
    url: &ConnectionInfo,
    arrangement: &Arrangement,
    user: Option<&str>,
    password: Option<Password>,
) -> (RedisConnectionInfo, Option<ReadPassword>) {
    let of_url = url.redis_settings().clone().set_protocol(ProtocolVersion::RESP2);
    let mut login = match arrangement {
        Arrangement::Sentinel(_) => RedisConnectionInfo::default().set_db(of_url.db()),
        _ => of_url,
    };
    if let Some(user) = user {
        login = login.set_username(user);
    }
    match password {
        Some(Password::Text(password)) => (login.set_password(password.expose()), None),
        Some(Password::Read(read)) => (login, Some(read)),
        None => (login, None),
    }
}

impl fmt::Debug for RedisStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStoreBuilder")
            .field("prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_split_at_commas_but_not_within_a_password() {
        assert_eq!(split("redis://a, redis://b"), ["redis://a", "redis://b"]);
        assert_eq!(split("redis://:p,w@a,redis://b"), ["redis://:p,w@a", "redis://b"]);
    }

    #[test]
    fn wrong_settings_are_named_without_the_url() {
        let secret = "redis://user:SECRET@host:port";
        for (builder, expected) in [
            (RedisStore::builder(secret), "URL 1 is not of the form redis://user:password@host:port/database"),
            (RedisStore::builder("redis://a,http://SECRET"), "URL 2 is not of the form"),
            (RedisStore::builder(""), "URL 1 is not of the form"),
            (RedisStore::builder("redis://a").prefix(""), "the prefix must not be empty"),
            (RedisStore::builder("redis://a").prefix("a{b"), "must not have braces"),
            (RedisStore::builder("redis://a").timeout(Duration::ZERO), "the timeout must be between 1 ms"),
            (RedisStore::builder("redis://a").timeout(Duration::MAX), "the timeout must be between 1 ms"),
            (RedisStore::builder("redis://a/3,redis://b"), "a cluster has only database 0"),
        ] {
            assert!(!format!("{builder:?}").contains("SECRET"));
            let error = builder.build().unwrap_err();
            for shown in [error.to_string(), format!("{error:?}")] {
                assert!(shown.contains(expected) && !shown.contains("SECRET"), "{shown}");
            }
        }
    }

    #[cfg(not(feature = "tls"))]
    #[test]
    fn tls_without_its_feature_is_refused() {
        let error = RedisStore::new("rediss://a").unwrap_err();
        assert!(
            error.to_string().ends_with("URL 1 needs TLS: enable the feature `tls` of tower-bearer-redis"),
            "{error}"
        );
    }

    #[cfg(feature = "tls")]
    #[test]
    fn tls_without_a_check_is_refused() {
        assert!(RedisStore::new("rediss://a").is_ok());
        let error = RedisStore::new("rediss://a/#insecure").unwrap_err();
        assert!(error.to_string().contains("#insecure, which is not supported"), "{error}");
    }
}
