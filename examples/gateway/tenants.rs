//! A token for each tenant. A header of the request names the tenant.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use http::{HeaderMap, HeaderName};
use tower_bearer::{
    BearerAuthLayer, Error, TokenPool, TokenSource,
    config::{CacheConfig, TokenConfig},
    grant::HttpClient,
    pool::{Shown, TokenPoolBuilder},
};

use crate::{headers::take_only, identity::Identity, store::Store};

#[derive(Clone)]
pub struct Tenants {
    pub pool: TokenPool<Shown<String>>,
    pub header: HeaderName,
    names: Vec<String>,
}

impl Tenants {
    /// `bounded` sets the bounds of the pool. The settings of each tenant must be known to be right.
    pub fn new(
        header: HeaderName,
        tokens: BTreeMap<String, TokenConfig>,
        cache: CacheConfig,
        http: HttpClient,
        store: Option<Store>,
        bounded: impl FnOnce(TokenPoolBuilder<Shown<String>>) -> TokenPoolBuilder<Shown<String>>,
    ) -> Self {
        let names = tokens.keys().cloned().collect();
        let pool = TokenPool::builder(move |Shown(name): &Shown<String>| {
            let token = tokens.get(name).ok_or_else(|| Error::terminal("this tenant is not in the file"))?;
            let source = token.source_with(http.clone())?;
            Ok(cache.builder(match &store {
                Some(store) => store.share(source, Some(name)).boxed(),
                None => source,
            }))
        });
        Self { pool: bounded(pool).show_keys().build(), header, names }
    }

    /// Takes the header out of a request. Returns `None` if it is missing or given twice, or if the tenant is not known.
    pub fn take(&self, headers: &mut HeaderMap) -> Option<Identity> {
        let value = take_only(headers, &self.header)?;
        let name = value.to_str().ok().filter(|name| self.names.iter().any(|known| known == name))?;
        Some(Identity::Tenant(Shown(name.to_owned())))
    }

    pub fn layer(&self) -> BearerAuthLayer {
        BearerAuthLayer::with_pool(self.pool.clone(), |head| match head.extensions().get()? {
            Identity::Tenant(name) => Some(Cow::Borrowed(name)),
            Identity::User(_) => None,
        })
    }

    /// Returns the names of the tenants that failed to get a token the last time, in order.
    pub fn failing(&self) -> Vec<String> {
        let failing = self.pool.iter().filter(|(_, cache)| cache.status().failures > 0);
        let mut names: Vec<_> = failing.map(|(Shown(name), _)| name).collect();
        names.sort();
        names
    }

    /// Returns how long no token is requested for the tenant.
    pub fn retry_in(&self, name: &str) -> Option<Duration> {
        self.pool.get(name)?.status().retry_in
    }
}
