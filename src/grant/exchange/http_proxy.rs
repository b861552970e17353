//! Which proxy the ready-made client uses for a URL.

use std::{fmt, io};

use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};

use crate::{error::Error, secret_string::SecretString, transport::is_loopback};

/// Where the proxy's URL comes from. `Debug` does not show it, because it may have a password in it.
#[derive(Debug, Default)]
pub(crate) enum ProxySetting {
    #[default]
    Environment,
    Url(SecretString),
    Off,
}

/// The rules by which a request goes through a proxy.
pub(crate) struct ProxyRules {
    matcher: Matcher,
    loopback: bool,
}

/// A proxy over http or https.
pub(crate) struct Proxy {
    pub(crate) url: Uri,
    /// A `Proxy-Authorization` header.
    pub(crate) authorization: Option<HeaderValue>,
}

impl ProxyRules {
    /// # Errors
    /// When the URL of the proxy is wrong.
    pub(crate) fn new(setting: &ProxySetting, loopback: bool) -> Result<Option<Self>, Error> {
        let matcher = match setting {
            ProxySetting::Off => return Ok(None),
            ProxySetting::Environment => Matcher::from_env(),
            ProxySetting::Url(url) => {
                let matcher = Matcher::builder().all(url.expose().to_owned()).build();
                let usable = matcher.intercept(&Uri::from_static("https://auth.example.org/"));
                if usable.is_none_or(|proxy| supported(&proxy).is_err()) {
                    return Err(Error::config(
                        "the proxy's URL cannot be used: give an http or https URL, such as \
                         http://proxy.example.org:3128",
                    ));
                }
                matcher
            }
        };
        Ok(Some(Self { matcher, loopback }))
    }

    /// Returns the proxy for a URL. Returns `None` if the connection is direct.
    ///
    /// # Errors
    /// When the environment names a kind of proxy that is not supported. A direct connection could then be what the proxy is
    /// there to prevent.
    pub(crate) fn proxy_for(&self, url: &Uri) -> io::Result<Option<Proxy>> {
        let is_direct = !self.loopback && url.host().is_some_and(is_loopback);
        let intercept = if is_direct { None } else { self.matcher.intercept(url) };
        intercept.as_ref().map(supported).transpose()
    }
}

fn supported(proxy: &Intercept) -> io::Result<Proxy> {
    if !matches!(proxy.uri().scheme_str(), Some("http" | "https")) {
        return Err(io::Error::other(
            "the environment names a SOCKS proxy, which this client does not support: set HTTPS_PROXY to an http or https \
             proxy, list the server in NO_PROXY, or call `no_proxy` on the client's builder",
        ));
    }
    Ok(Proxy { url: proxy.uri().clone(), authorization: proxy.basic_auth().cloned() })
}

impl fmt::Debug for ProxyRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyRules").field("loopback", &self.loopback).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(url: &str) -> Result<Option<ProxyRules>, Error> {
        ProxyRules::new(&ProxySetting::Url(url.into()), false)
    }

    fn proxy(url: &str, to: &str) -> Option<String> {
        let proxy = rules(url).unwrap().unwrap().proxy_for(&to.parse().unwrap()).unwrap();
        proxy.map(|proxy| proxy.url.to_string())
    }

    #[test]
    fn a_proxy_is_for_every_host_but_loopback() {
        let url = "http://me:s3cret@proxy.test:3128";
        assert_eq!(proxy(url, "https://auth.test/token").as_deref(), Some("http://proxy.test:3128/"));
        assert_eq!(proxy("proxy.test:3128", "http://auth.test/").as_deref(), Some("http://proxy.test:3128/"));
        for local in ["https://localhost/", "http://127.0.0.1:1/", "https://[::1]/"] {
            assert_eq!(proxy(url, local), None, "{local}");
        }
    }

    #[test]
    fn a_wrong_url_is_an_error_that_does_not_show_it() {
        for url in ["", "ftp://s3cret.test", "socks5://s3cret.test:1080", "http://s3cret test", "/s3cret"] {
            let error = rules(url).unwrap_err();
            assert!(error.is_config() && !error.to_string().contains("s3cret"), "{url}: {error}");
        }
    }

    #[test]
    fn a_socks_proxy_is_an_error_and_not_a_direct_connection() {
        let rules = ProxyRules { matcher: Matcher::builder().all("socks5://p.test:1080").build(), loopback: false };
        assert!(rules.proxy_for(&Uri::from_static("https://auth.test/")).is_err());
        assert!(rules.proxy_for(&Uri::from_static("https://localhost/")).unwrap().is_none());
    }
}
