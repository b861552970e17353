//! What the upstream learns of the user, and the user of the upstream's address.

use std::net::IpAddr;

use http::{
    HeaderMap, HeaderName, HeaderValue, Uri,
    header::{CONTENT_LOCATION, FORWARDED, HOST, LOCATION},
    uri::Authority,
};

use crate::{
    base::Base,
    cli::{CliError, Options},
};

pub const HELP: &str = "  --forwarded FORM           tell the upstream who asked: x-forwarded (X-Forwarded-For, -Host, -Proto), forwarded
                             (RFC 7239), both, remove (such fields of users too) or keep (what users send) [keep]
  --trust-forwarded          add to such fields of users, and do not replace them; only behind another proxy that sets them
  --rewrite-location         change Location and Content-Location below the upstream's URL to the gateway's own URL
";

pub const OPTIONS: [&str; 1] = ["forwarded"];

pub const FLAGS: [&str; 2] = ["trust-forwarded", "rewrite-location"];

const X_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Other fields that say the same, and that servers believe.
static OTHERS: [HeaderName; 4] = [
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-prefix"),
    HeaderName::from_static("x-forwarded-server"),
    HeaderName::from_static("x-real-ip"),
];

/// The gateway accepts connections without TLS.
const SCHEME: &str = "http";

/// The options.
#[derive(Clone, Copy, Default)]
pub struct Addresses {
    form: Option<Form>,
    trust: bool,
    rewrite_location: bool,
}

/// What is wrong with the settings.
pub enum Wrong {
    Form,
    /// There is nothing that it applies to.
    Trust,
}

pub const FORMS: &str = "x-forwarded, forwarded, both, remove or keep";

/// Which fields the gateway sends.
#[derive(Clone, Copy)]
struct Form {
    x_forwarded: bool,
    forwarded: bool,
}

/// Who asked, and for which host.
pub struct Asked {
    peer: IpAddr,
    host: Option<String>,
}

impl Asked {
    fn new(peer: IpAddr, target: &Uri, headers: &HeaderMap) -> Self {
        // The host of the target precedes `Host` (RFC 9112 §3.2.2). HTTP/2 has it there.
        let in_target = target.authority().map(Authority::as_str);
        let host = in_target.or_else(|| headers.get(HOST)?.to_str().ok());
        // Without a user.
        let host = host.and_then(|host| host.rsplit('@').next()).filter(|host| !host.is_empty());
        Self { peer: peer.to_canonical(), host: host.map(str::to_owned) }
    }
}

impl Addresses {
    pub fn from_options(options: &Options) -> Result<Self, CliError> {
        let (trust, rewrite_location) = (options.flag("trust-forwarded"), options.flag("rewrite-location"));
        Self::new(options.text("forwarded")?.as_deref(), trust, rewrite_location).map_err(|wrong| {
            CliError::usage(match wrong {
                Wrong::Form => format!("--forwarded must be {FORMS}"),
                Wrong::Trust => {
                    "--trust-forwarded is of no use alone: give --forwarded with x-forwarded, forwarded or both"
                        .to_owned()
                }
            })
        })
    }

    pub fn new(form: Option<&str>, trust: bool, rewrite_location: bool) -> Result<Self, Wrong> {
        let fields = |x_forwarded, forwarded| Some(Form { x_forwarded, forwarded });
        let form = match form.unwrap_or("keep") {
            "keep" => None,
            "remove" => fields(false, false),
            "x-forwarded" => fields(true, false),
            "forwarded" => fields(false, true),
            "both" => fields(true, true),
            _ => return Err(Wrong::Form),
        };
        if trust && form.is_none_or(|form| !form.x_forwarded && !form.forwarded) && !rewrite_location {
            return Err(Wrong::Trust);
        }
        Ok(Self { form, trust, rewrite_location })
    }

    /// Reads who asks, before the gateway changes the headers. The host is read only if an option needs it.
    pub fn asked(self, peer: IpAddr, target: &Uri, headers: &HeaderMap) -> Asked {
        if self.form.is_none() && !self.rewrite_location {
            return Asked { peer, host: None };
        }
        Asked::new(peer, target, headers)
    }

    /// Returns the URL at which the user sees the gateway, without a path. Returns `None` if it is not needed.
    pub fn seen_url(self, asked: &Asked, headers: &HeaderMap) -> Option<String> {
        if !self.rewrite_location {
            return None;
        }
        let first = |name| headers.get(name)?.to_str().ok()?.split(',').next().map(str::trim).map(str::to_owned);
        let trusted = |name| first(name).filter(|value| self.trust && is_plain(value));
        let host = trusted(X_HOST).or_else(|| asked.host.clone()).filter(|host| is_plain(host));
        // Without a host, the path alone is right too.
        let scheme = trusted(X_PROTO).unwrap_or_else(|| SCHEME.to_owned());
        Some(host.map(|host| format!("{scheme}://{host}")).unwrap_or_default())
    }

    /// Tells the upstream who asked.
    pub fn prepare_request(self, headers: &mut HeaderMap, asked: &Asked) {
        let Some(form) = self.form else { return };
        if !self.trust || !form.x_forwarded && !form.forwarded {
            for name in [X_FOR, X_HOST, X_PROTO, FORWARDED].iter().chain(&OTHERS) {
                headers.remove(name);
            }
        }
        let host = asked.host.as_deref();
        if form.x_forwarded {
            append(headers, X_FOR, &asked.peer.to_string());
            for (name, value) in [(X_HOST, host), (X_PROTO, Some(SCHEME))] {
                let value = value.and_then(|value| HeaderValue::from_str(value).ok());
                if let Some(value) = value.filter(|_| !headers.contains_key(&name)) {
                    headers.insert(name, value);
                }
            }
        }
        if form.forwarded {
            append(headers, FORWARDED, &forwarded(asked.peer, host));
        }
    }

    /// Changes the upstream's URL to the gateway's, which [`seen_url`](Self::seen_url) has returned.
    pub fn prepare_response(headers: &mut HeaderMap, base: &Base, seen: &str) {
        for name in [LOCATION, CONTENT_LOCATION] {
            let below = headers.get(&name).and_then(|value| base.below(value.to_str().ok()?));
            let changed = below.and_then(|below| HeaderValue::from_str(&format!("{seen}{below}")).ok());
            if let Some(changed) = changed {
                headers.insert(name, changed);
            }
        }
    }
}

/// Adds a member to a list that may have several lines, and makes it one line.
fn append(headers: &mut HeaderMap, name: HeaderName, member: &str) {
    let lines = headers.get_all(&name).into_iter().map(HeaderValue::as_bytes);
    let members: Vec<&[u8]> = lines.filter(|line| !line.is_empty()).chain([member.as_bytes()]).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&members.join(&b", "[..])) {
        headers.insert(name, joined);
    }
}

/// Returns a member of `Forwarded` (RFC 7239 §4).
fn forwarded(peer: IpAddr, host: Option<&str>) -> String {
    let peer = match peer {
        IpAddr::V4(peer) => peer.to_string(),
        IpAddr::V6(peer) => format!("\"[{peer}]\""),
    };
    let host = host.filter(|host| is_plain(host)).map(|host| format!(";host=\"{host}\"")).unwrap_or_default();
    format!("for={peer}{host};proto={SCHEME}")
}

/// Returns whether a text has only the characters of a scheme, a host and a port.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~:[]%+".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(form: (bool, bool), trust: bool, peer: &str, lines: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut headers: HeaderMap = lines
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap()))
            .collect();
        let asked = Asked::new(peer.parse().unwrap(), &Uri::from_static("/x"), &headers);
        headers.remove(HOST);
        let form = Some(Form { x_forwarded: form.0, forwarded: form.1 });
        Addresses { form, trust, rewrite_location: false }.prepare_request(&mut headers, &asked);
        let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
        let mut sent: Vec<_> = headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        sent.sort();
        sent
    }

    fn lines(lines: &[(&str, &str)]) -> Vec<(String, String)> {
        lines.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    const SPOOFED: [(&str, &str); 5] = [
        ("host", "gw.test:8080"),
        ("x-forwarded-for", "1.1.1.1"),
        ("x-real-ip", "1.1.1.1"),
        ("x-forwarded-proto", "https"),
        ("forwarded", "for=1.1.1.1"),
    ];

    #[test]
    fn what_a_user_says_of_itself_is_replaced() {
        assert_eq!(
            sent((true, false), false, "10.0.0.7", &SPOOFED),
            lines(&[
                ("x-forwarded-for", "10.0.0.7"),
                ("x-forwarded-host", "gw.test:8080"),
                ("x-forwarded-proto", "http")
            ])
        );
        assert_eq!(
            sent((false, true), false, "2001:db8::1", &SPOOFED),
            lines(&[("forwarded", "for=\"[2001:db8::1]\";host=\"gw.test:8080\";proto=http")])
        );
        assert_eq!(sent((false, false), true, "10.0.0.7", &SPOOFED), lines(&[]));
    }

    #[test]
    fn what_a_trusted_proxy_says_is_kept_and_its_address_added() {
        let before = [
            ("host", "gw.test"),
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-for", "2.2.2.2"),
            ("x-forwarded-proto", "https"),
            ("forwarded", "for=1.1.1.1"),
        ];
        assert_eq!(
            sent((true, true), true, "::ffff:10.0.0.7", &before),
            lines(&[
                ("forwarded", "for=1.1.1.1, for=10.0.0.7;host=\"gw.test\";proto=http"),
                ("x-forwarded-for", "1.1.1.1, 2.2.2.2, 10.0.0.7"),
                ("x-forwarded-host", "gw.test"),
                ("x-forwarded-proto", "https"),
            ])
        );
    }

    #[test]
    fn a_host_cannot_add_parameters() {
        let odd = [("host", "a\";for=1.1.1.1;x=\"")];
        assert_eq!(sent((false, true), false, "10.0.0.7", &odd), lines(&[("forwarded", "for=10.0.0.7;proto=http")]));
    }

    #[test]
    fn the_gateways_url_is_what_its_user_asked_for() {
        let seen = |trust, host: &'static str, proto: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static(host));
            let asked = Asked::new(IpAddr::from([10, 0, 0, 7]), &Uri::from_static("/x"), &headers);
            if let Some(proto) = proto {
                headers.insert(X_PROTO, HeaderValue::from_static(proto));
                headers.insert(X_HOST, HeaderValue::from_static("public.test, inner.test"));
            }
            Addresses { form: None, trust, rewrite_location: true }.seen_url(&asked, &headers).unwrap()
        };
        assert_eq!(seen(false, "gw.test:8080", None), "http://gw.test:8080");
        assert_eq!(seen(false, "gw.test:8080", Some("https")), "http://gw.test:8080");
        assert_eq!(seen(true, "gw.test:8080", Some("https")), "https://public.test");
        assert_eq!(seen(false, "a/b", None), "", "a host that is not one");
    }
}
