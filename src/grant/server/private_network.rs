//! Hosts that only this machine or a private network can reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Names that are reserved for a machine or a private network (RFC 6761 §6.3, RFC 6762 §3, RFC 8375, and ICANN's `.internal`).
const PRIVATE_SUFFIXES: [&str; 4] = ["localhost", "local", "internal", "home.arpa"];

/// Returns whether a host of a URL is an address, or a name, that does not belong to the public Internet. A public name may
/// still have a private address.
pub(super) fn is_private_host(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return address.parse().map_or(true, |address| is_private(IpAddr::V6(address)));
    }
    if let Ok(address) = host.parse() {
        return is_private(IpAddr::V4(address));
    }
    // Resolvers read `127.1` and `0x7f000001` as addresses too.
    let is_number = |label: &str| label.starts_with("0x") || label.bytes().all(|byte| byte.is_ascii_digit());
    let (before, last) = host.rsplit_once('.').unwrap_or(("", &host));
    let is_below = |suffix: &str| host.strip_suffix(suffix).is_some_and(|name| name.is_empty() || name.ends_with('.'));
    before.is_empty() || is_number(last) || PRIVATE_SUFFIXES.into_iter().any(is_below)
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_private_v4(address),
        IpAddr::V6(address) => embedded_v4(address).map_or_else(|| is_private_v6(address), is_private_v4),
    }
}

/// The blocks that are not globally reachable, from IANA's registry for special purposes (RFC 6890).
fn is_private_v4(address: Ipv4Addr) -> bool {
    match address.octets() {
        [0 | 10 | 127, ..] | [169, 254, ..] | [192, 168, ..] | [192, 0, 0, _] | [198, 18..=19, ..] => true,
        [100, second, ..] => (64..128).contains(&second),
        [172, second, ..] => (16..32).contains(&second),
        [first, ..] => first >= 224,
    }
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    // All public addresses are in 2000::/3. 2002::/16 (6to4) leads to an IPv4 address, and 2001::/23 is for protocols.
    match address.segments() {
        [0x2002, ..] => true,
        [0x2001, second, ..] => second < 0x200,
        [first, ..] => first & 0xe000 != 0x2000,
    }
}

/// Returns the IPv4 address that an IPv6 address stands for: mapped (RFC 4291 §2.5.5.2), or translated (RFC 6052 §2.1).
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [.., a, b] = address.segments();
    let is_translated = address.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0];
    address.to_ipv4_mapped().or_else(|| is_translated.then(|| Ipv4Addr::from_bits(u32::from(a) << 16 | u32::from(b))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_known_in_every_form() {
        for host in [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0x7f.0.0.1",
            "0177.0.0.1",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.1.1.",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "[::1]",
            "[::]",
            "[fd00::1]",
            "[fe80::1]",
            "[::ffff:10.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "[::127.0.0.1]",
            "[ff02::1]",
            "[fe80::1%25eth0]",
        ] {
            assert!(is_private_host(host), "{host}");
        }
        for host in ["1.1.1.1", "172.32.0.1", "100.128.0.1", "192.0.2.1", "[2606:4700::1111]", "[::ffff:1.1.1.1]"] {
            assert!(!is_private_host(host), "{host}");
        }
    }

    #[test]
    fn private_names_are_reserved_or_have_one_label() {
        for host in [
            "localhost",
            "LocalHost.",
            "a.localhost",
            "vault",
            "printer.local",
            "metadata.google.internal",
            "nas.home.arpa",
            "",
            ".",
        ] {
            assert!(is_private_host(host), "{host}");
        }
        for host in ["example.org", "localhost.example.org", "mylocal.example", "notinternal.org", "10.example.org"] {
            assert!(!is_private_host(host), "{host}");
        }
    }
}
