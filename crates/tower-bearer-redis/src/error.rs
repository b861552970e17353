//! Why a server did not answer. It shows kinds and codes, never a text of the server: that can hold a record.

use std::{error::Error as StdError, fmt, io, sync::Arc, time::Duration};

use redis::{ErrorKind, RedisError, ServerErrorKind};
use tower_bearer::store::StoreError;

/// Why a [`RedisStore`](crate::RedisStore) could not be built, or why a server did not answer. Cheap to clone.
///
/// It shows no password and no record: of an answer of the server only its code, such as `READONLY`.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisStoreError(Arc<Kind>);

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The settings are wrong.
    Config(String),
    /// The password could not be read.
    Password(String),
    TimedOut(Duration),
    Io(io::ErrorKind),
    #[cfg(feature = "tls")]
    Tls(String),
    /// The server does not know the user, or the password is wrong.
    Login,
    /// The server refused, with this code.
    Code(String),
    /// The server answered something else than a script returns.
    Answer,
    /// No sentinel knows a master that can be reached.
    NoMaster(String),
    /// No node of the cluster serves the key.
    NoNode,
    NoRuntime,
}

impl RedisStoreError {
    pub(crate) fn config(why: impl Into<String>) -> Self {
        Kind::Config(why.into()).into()
    }

    /// Returns the code with which the server refused, such as `READONLY` or `OOM`.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match &*self.0 {
            Kind::Code(code) => Some(code),
            _ => None,
        }
    }

    /// Returns whether the server did not answer in time.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(*self.0, Kind::TimedOut(_))
    }

    /// Returns whether the server refused the user or the password.
    #[must_use]
    pub fn is_login(&self) -> bool {
        matches!(*self.0, Kind::Login)
    }

    /// Returns whether the connection must not be used again. A connection that timed out may stay deaf, one to a replica does not
    /// become one to the master, and one that was refused once is refused for ever.
    pub(crate) fn ends_connection(&self) -> bool {
        match &*self.0 {
            Kind::Config(_) | Kind::Password(_) | Kind::NoRuntime => false,
            Kind::Code(code) => matches!(&**code, "READONLY" | "MASTERDOWN"),
            _ => true,
        }
    }

    /// Returns whether another server may have the key now.
    pub(crate) fn moves_key(&self) -> bool {
        self.ends_connection() || matches!(self.code(), Some("MOVED" | "ASK" | "TRYAGAIN" | "CLUSTERDOWN"))
    }

    /// Returns whether the command may be sent again at once. All commands of this crate can run twice.
    pub(crate) fn is_worth_another_try(&self) -> bool {
        match &*self.0 {
            Kind::Io(_) | Kind::NoNode | Kind::NoMaster(_) => true,
            Kind::Code(code) => matches!(&**code, "READONLY" | "MOVED" | "ASK"),
            _ => false,
        }
    }
}

impl From<Kind> for RedisStoreError {
    fn from(kind: Kind) -> Self {
        Self(Arc::new(kind))
    }
}

impl RedisStoreError {
    /// Keeps the kind and the code. It is not `From`, which would make a type of the `redis` crate public.
    pub(crate) fn of(error: &RedisError) -> Self {
        match error.kind() {
            ErrorKind::Io => of_io(error).into(),
            ErrorKind::AuthenticationFailed => Kind::Login.into(),
            ErrorKind::Server(ServerErrorKind::ResponseError) => Kind::Code("ERR".to_owned()).into(),
            ErrorKind::InvalidClientConfig => Self::config("the `redis` crate does not accept the settings"),
            _ => match error.code() {
                Some("NOAUTH" | "WRONGPASS") => Kind::Login.into(),
                Some(code) if is_code(code) => Kind::Code(code.to_owned()).into(),
                Some(_) => Kind::Code("ERR".to_owned()).into(),
                None => Kind::Answer.into(),
            },
        }
    }
}

impl From<RedisStoreError> for StoreError {
    fn from(error: RedisStoreError) -> Self {
        Self::new(error)
    }
}

/// Returns whether a word can only be a code, and not a part of an argument.
fn is_code(word: &str) -> bool {
    (2..=24).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_uppercase())
}

fn of_io(error: &RedisError) -> Kind {
    let mut cause: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(error) = cause {
        let io = match error.downcast_ref::<Arc<dyn StdError + Send + Sync>>() {
            Some(shared) => shared.downcast_ref::<io::Error>(),
            None => error.downcast_ref(),
        };
        if let Some(io) = io {
            #[cfg(feature = "tls")]
            if let Some(tls) = io.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                return Kind::Tls(tls.to_string());
            }
            return Kind::Io(io.kind());
        }
        cause = error.source();
    }
    Kind::Io(io::ErrorKind::Other)
}

impl fmt::Display for RedisStoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Kind::Config(why) => write!(f, "the settings of the Redis store are wrong: {why}"),
            Kind::Password(why) => write!(f, "the password of the Redis store could not be read: {why}"),
            Kind::TimedOut(limit) => write!(f, "the Redis server did not answer within {limit:?}"),
            Kind::Io(kind) => match kind.to_string().as_str() {
                // The standard library has no public kind for a host name that cannot be resolved.
                "uncategorized error" => f.write_str(
                    "the connection to the Redis server failed: check that the host name in the URL can be resolved",
                ),
                kind => write!(f, "the connection to the Redis server failed: {kind}"),
            },
            #[cfg(feature = "tls")]
            Kind::Tls(why) => write!(f, "the TLS connection to the Redis server failed: {why}"),
            Kind::Login => f.write_str("the Redis server refused the user or the password: check both"),
            Kind::Code(code) => {
                write!(f, "the Redis server refused with {code}")?;
                advice(code).map_or(Ok(()), |advice| write!(f, ": {advice}"))
            }
            Kind::Answer => f.write_str(
                "the Redis server answered something unexpected: check that the URL is that of a Redis server",
            ),
            Kind::NoMaster(name) => write!(f, "no sentinel knows a master {name:?} that can be reached"),
            Kind::NoNode => f.write_str("no node of the Redis cluster is known to serve the key"),
            Kind::NoRuntime => f.write_str("the Redis store needs a Tokio runtime: call it inside of one"),
        }
    }
}

fn advice(code: &str) -> Option<&'static str> {
    Some(match code {
        "ERR" => {
            "it may lack a command, or the user's ACL rule may not allow it; or it does not have the database, or is not part of a \
             cluster"
        }
        "NOPERM" => "the user's ACL rule does not allow a command, the keys or the channel",
        "OOM" => "it has no memory left for new records",
        "READONLY" => "it is a replica; name the master, or use Sentinel or Cluster",
        "MOVED" => "it is part of a cluster; set `cluster`",
        "NOREPLICAS" => "too few of its replicas are connected",
        "MISCONF" => "it cannot save its data",
        "LOADING" => "it is reading its data",
        "WRONGTYPE" => "another program uses keys with this prefix",
        _ => return None,
    })
}

impl fmt::Debug for RedisStoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RedisStoreError").field(&self.0).finish()
    }
}

impl StdError for RedisStoreError {}

#[cfg(test)]
mod tests {
    use std::net::ToSocketAddrs;

    use super::*;

    #[test]
    fn the_text_of_the_server_is_not_shown() {
        let texts = [
            RedisError::from((ErrorKind::Parse, "Incompatible type", "SECRET".to_owned())),
            RedisError::from((ErrorKind::InvalidClientConfig, "Invalid", "SECRET".to_owned())),
            RedisError::from((ErrorKind::UnexpectedReturnType, "SECRET")),
            RedisError::from(io::Error::other("SECRET")),
            redis::make_extension_error("SECRET-1".to_owned(), Some("SECRET".to_owned())),
            redis::make_extension_error("OOM".to_owned(), Some("SECRET".to_owned())),
        ];
        for error in texts.iter().map(RedisStoreError::of) {
            let store: StoreError = error.clone().into();
            for shown in [error.to_string(), format!("{error:?}"), store.to_string(), format!("{store:?}")] {
                assert!(!shown.contains("SECRET"), "{shown}");
            }
        }
    }

    #[test]
    fn a_connection_ends_when_it_may_never_work_again() {
        let ends = |error: RedisStoreError| error.ends_connection();
        let code = |code: &str| RedisStoreError::from(Kind::Code(code.to_owned()));
        for code in ["READONLY", "MASTERDOWN"].map(code) {
            assert!(ends(code));
        }
        for code in ["OOM", "NOPERM", "MOVED", "BUSY", "LOADING", "NOREPLICAS", "ERR"].map(code) {
            assert!(!ends(code));
        }
        for kind in [Kind::TimedOut(Duration::ZERO), Kind::Io(io::ErrorKind::BrokenPipe), Kind::Login, Kind::Answer] {
            assert!(ends(kind.into()));
        }
        let login = |code: &str| RedisStoreError::of(&redis::make_extension_error(code.to_owned(), None));
        assert!(
            ["NOAUTH", "WRONGPASS"]
                .map(login)
                .into_iter()
                .all(|error: RedisStoreError| error.is_login() && ends(error))
        );
    }

    #[test]
    fn a_host_name_that_cannot_be_resolved_is_told() {
        let unknown = ("", 6379).to_socket_addrs().unwrap_err();
        let told = RedisStoreError::of(&RedisError::from(unknown)).to_string();
        assert!(told.ends_with("check that the host name in the URL can be resolved"), "{told}");
    }

    #[test]
    fn an_io_error_keeps_its_kind() {
        let error = RedisStoreError::of(&RedisError::from(io::Error::from(io::ErrorKind::ConnectionRefused)));
        assert_eq!(error, Kind::Io(io::ErrorKind::ConnectionRefused).into());
    }
}
