//! Whether the transport to a URL is secure enough for secrets.

use std::net::{Ipv4Addr, Ipv6Addr};

use http::Uri;

/// Returns whether secrets may be sent to `uri`: over TLS, or to this machine (RFC 6750 §5.3, RFC 6749 §3.2).
pub(crate) fn is_secure(uri: &Uri) -> bool {
    match uri.scheme_str() {
        Some(scheme) if scheme.eq_ignore_ascii_case("https") => true,
        Some(scheme) if !scheme.eq_ignore_ascii_case("http") => false,
        _ => uri.host().is_some_and(is_loopback),
    }
}

/// Accepts exact names and addresses only: `127.0.0.1.example.org` is another host.
pub(crate) fn is_loopback(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback());
    }
    host.eq_ignore_ascii_case("localhost") || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_exact() {
        for local in ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "[::1]"] {
            assert!(is_loopback(local), "{local}");
        }
        for remote in [
            "127.0.0.1.example.org",
            "localhost.example.org",
            "xlocalhost",
            "128.0.0.1",
            "[::2]",
            "0.0.0.0",
            "::1",
            "127.1",
            "",
        ] {
            assert!(!is_loopback(remote), "{remote}");
        }
    }

    #[test]
    fn tls_and_loopback_are_secure() {
        let secure = |uri: &str| is_secure(&uri.parse().unwrap());
        assert!(secure("https://example.org/token") && secure("http://127.0.0.1:1/token"));
        assert!(!secure("http://example.org/token") && !secure("http://127.0.0.1.example.org/token"));
    }

    #[test]
    fn another_scheme_is_not_secure_for_any_host() {
        for uri in ["ftp://localhost/", "ws://127.0.0.1/", "wss://example.org/", "unix://2f746d70/", "example.org:443"]
        {
            assert!(!is_secure(&uri.parse().unwrap()), "{uri}");
        }
        let shouted = http::uri::Builder::new().scheme("HTTPS").authority("example.org").path_and_query("/");
        assert!(is_secure(&shouted.build().unwrap()));
    }
}
