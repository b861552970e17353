//! What can go wrong, and on which connection of the gateway.

use std::time::Duration;

/// For how long a stalled connection passes nothing on.
pub const STALL: Duration = Duration::from_secs(5);

/// A connection between the gateway and a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    Issuer,
    Upstream,
    Redis,
}

impl Link {
    pub const ALL: [Self; 3] = [Self::Issuer, Self::Upstream, Self::Redis];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The port is closed, and all connections are reset.
    Refused,
    /// Connections are reset when a request arrives.
    ResetBefore,
    /// Connections are reset after a part of the answer.
    ResetWhile,
    /// Connections go silent after a part of the answer.
    SilentWhile,
    /// Connections are reset right after the answer, which may be during the next request.
    ResetAfter,
    /// The server is gone, and nothing says so. Connections of this time stay silent for ever.
    HalfOpen,
    /// The answer comes with one byte a second.
    Trickle,
    /// The answer is random bytes.
    Garbage,
    /// What is sent arrives 5 s later, in both directions.
    Stall,
    /// The server has a certificate that the gateway does not trust.
    WrongCertificate,
    /// The server answers the first message of TLS with random bytes.
    TlsGarbage,
    /// The name of the server is not found.
    Dns,
    /// The HTTP/2 server ends connections, with and without an answer to the open requests.
    GoAway,
    /// The HTTP/2 server refuses each second request.
    RefusedStream,
}

impl Fault {
    /// Those of a connection with HTTP/1.1 or RESP, without TLS.
    pub const PLAIN: [Self; 9] = [
        Self::Refused,
        Self::ResetBefore,
        Self::ResetWhile,
        Self::SilentWhile,
        Self::ResetAfter,
        Self::HalfOpen,
        Self::Trickle,
        Self::Garbage,
        Self::Stall,
    ];

    /// Those of any connection with TLS. The upstream's has HTTP/2.
    pub const TLS: [Self; 4] = [Self::WrongCertificate, Self::TlsGarbage, Self::Dns, Self::HalfOpen];

    /// Those of HTTP/2.
    pub const HTTP2: [Self; 5] = [Self::GoAway, Self::RefusedStream, Self::Stall, Self::ResetBefore, Self::SilentWhile];

    pub fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::ResetBefore => "reset before the answer",
            Self::ResetWhile => "reset while answering",
            Self::SilentWhile => "silent while answering",
            Self::ResetAfter => "reset after the answer",
            Self::HalfOpen => "half-open",
            Self::Trickle => "one byte a second",
            Self::Garbage => "garbage",
            Self::Stall => "5 s stalls",
            Self::WrongCertificate => "untrusted certificate",
            Self::TlsGarbage => "garbage in the TLS handshake",
            Self::Dns => "name not found",
            Self::GoAway => "GOAWAY",
            Self::RefusedStream => "REFUSED_STREAM",
        }
    }

    /// Returns whether a token request that meets it may have been answered, for all that the gateway knows. It may then be a wrong
    /// password, so the next one waits for 5 s.
    pub fn may_be_a_refusal(self) -> bool {
        matches!(self, Self::ResetBefore | Self::ResetWhile | Self::Garbage)
    }

    /// Returns whether open connections end when the fault begins.
    pub fn ends_open_connections(self) -> bool {
        matches!(self, Self::Refused | Self::WrongCertificate | Self::TlsGarbage | Self::Dns)
    }
}
