//! The section `[identity]` of a `--config` file.

use std::{collections::BTreeMap, path::Path, time::Duration};

use http::HeaderName;
use serde::Deserialize;
use tower_bearer::{
    config::{CacheConfig, Span, TokenConfig},
    grant::HttpClient,
    pool::{TokenPoolBuilder, UserPool},
};

use crate::{
    cli::CliError,
    config_values::{in_file, wrong},
    headers,
    store::Store,
    tenants::Tenants,
    token::Tokens,
    users::Users,
};

pub const HELP: &str = r#"
With [identity], a header names the tenant whose token is sent. It is not passed on. Without it, or with another name, the answer
is 403, and nothing is sent. Set the header in a proxy that knows its users: the gateway believes it.

  [identity]
  header = "x-tenant"
  name = "tenants"                   # of the tokens in log lines
  max = 100000                       # how many tenants have a token at once
  idle = "1h"                        # how long an unused token is kept
  renewals_at_once = 64              # how many token requests are in progress at once
  [identity.tenants.acme]            # replaces what [token] says
  username = "acme"
  password = { env = "ACME_PASSWORD" }

With `subject_token` in place of `header` and `tenants`, this header has the token of the user, which is exchanged for the API's. It
is not passed on. In `authorization` it is a Bearer token; in another header, it is the whole value, with or without `Bearer`.
Without it, or when it has expired or is refused, the answer is 401, and nothing is sent.

    [token]
    url = "https://auth.example.org/token"
    grant = "token_exchange"         # or jwt_bearer, where the user's token is the assertion
    client_id = "gateway"
    client_secret = { env = "GATEWAY_SECRET" }
    subject_token_type = "access_token"
    actor_token = { file = "actor" } # the gateway's own token, if it acts by its own name
    actor_token_type = "jwt"
    audience = "https://api.example.org"
    resource = "https://api.example.org/v1"
    scope = "patient/*.rs"
    [identity]
    subject_token = "authorization"
"#;

/// How a request says whose token it needs.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentitySection {
    header: Option<String>,
    subject_token: Option<String>,
    name: Option<String>,
    max: Option<usize>,
    idle: Option<Span>,
    renewals_at_once: Option<usize>,
    #[serde(default)]
    tenants: BTreeMap<String, TokenConfig>,
}

/// Where a request says it.
enum Place {
    /// The header with the name of the tenant.
    Tenant(HeaderName),
    /// The header with the token of the user.
    SubjectToken(HeaderName),
}

/// What the caches of all identities are made with.
pub struct Common {
    pub cache: CacheConfig,
    pub http: HttpClient,
    pub store: Option<Store>,
}

/// How the pool is called, how many identities have a token, for how long, and how many tokens are requested at once.
struct Bounds {
    name: Option<String>,
    max: Option<usize>,
    idle: Option<Duration>,
    renewals_at_once: Option<usize>,
}

impl IdentitySection {
    /// `token` is the section `[token]`.
    ///
    /// # Errors
    /// When a setting of the section, of a tenant or of the users' grant is wrong.
    pub fn tokens(self, token: Option<&TokenConfig>, common: Common, folder: &Path) -> Result<Tokens, CliError> {
        let (place, bounds) = (self.place()?, self.bounds()?);
        match place {
            Place::Tenant(header) => self.tenants(header, &bounds, token, common, folder).map(Tokens::Tenants),
            Place::SubjectToken(header) => self.users(header, &bounds, token, common).map(Tokens::Users),
        }
    }

    fn tenants(
        self,
        header: HeaderName,
        bounds: &Bounds,
        token: Option<&TokenConfig>,
        common: Common,
        folder: &Path,
    ) -> Result<Tenants, CliError> {
        let Common { cache, http, store } = common;
        if self.tenants.is_empty() {
            return Err(wrong(
                "identity.tenants",
                "there are no tenants; add a section for each, such as [identity.tenants.acme]",
            ));
        }
        // The tenants may have all of it.
        let token = token.cloned().unwrap_or_default();
        let mut tokens = BTreeMap::new();
        for (name, tenant) in self.tenants {
            if name.is_empty() {
                return Err(wrong("identity.tenants.\"\"", "the name of this tenant is empty; give it a name"));
            }
            let tenant = token.replaced_by(&tenant.with_files_in(folder));
            tenant.source_with(http.clone()).map_err(in_file)?;
            tenant.check_secrets().map_err(in_file)?;
            tokens.insert(name, tenant);
        }
        Ok(Tenants::new(header, tokens, cache, http, store, |pool| bounds.apply(pool)))
    }

    fn users(
        self,
        header: HeaderName,
        bounds: &Bounds,
        token: Option<&TokenConfig>,
        common: Common,
    ) -> Result<Users, CliError> {
        let Common { cache, http, store } = common;
        if !self.tenants.is_empty() {
            return Err(wrong(
                "identity.tenants",
                "this is of no use with `subject_token`; remove it, or use `header` in place of `subject_token`",
            ));
        }
        let token = token.ok_or_else(|| {
            wrong(
                "token",
                "this section is missing; say how a user's token is exchanged, with grant = \"token_exchange\"",
            )
        })?;
        let users = token.for_users_with(http).map_err(in_file)?;
        token.check_secrets().map_err(in_file)?;
        let mut pool = UserPool::builder(users).pool(|pool| bounds.apply(pool)).cache(move |user| cache.apply(user));
        if let Some(store) = store {
            pool = pool.source(move |user| store.share(user, None));
        }
        Ok(Users::new(header, pool.build()))
    }

    fn place(&self) -> Result<Place, CliError> {
        match (&self.header, &self.subject_token) {
            (Some(_), Some(_)) => Err(wrong(
                "identity.subject_token",
                "`header` is set as well; remove one of them: `header` is for tenants, `subject_token` for users",
            )),
            (Some(name), None) => header("identity.header", name, "x-tenant").map(Place::Tenant),
            (None, Some(name)) => header("identity.subject_token", name, "authorization").map(Place::SubjectToken),
            (None, None) => Err(wrong(
                "identity.header",
                "this key is missing; give the header with the tenant's name, or `subject_token` with the header of the user's \
                 token",
            )),
        }
    }

    fn bounds(&self) -> Result<Bounds, CliError> {
        if self.max == Some(0) {
            return Err(wrong("identity.max", "this is 0, so no token could be kept; give a larger number"));
        }
        if self.renewals_at_once == Some(0) {
            let problem = "this is 0, so no token could be requested; give a larger number";
            return Err(wrong("identity.renewals_at_once", problem));
        }
        if self.name.as_ref().is_some_and(String::is_empty) {
            return Err(wrong("identity.name", "this is empty; give a name, or remove the key"));
        }
        let (name, idle) = (self.name.clone(), self.idle.map(|Span(idle)| idle));
        Ok(Bounds { name, max: self.max, idle, renewals_at_once: self.renewals_at_once })
    }
}

impl Bounds {
    fn apply<K>(&self, mut pool: TokenPoolBuilder<K>) -> TokenPoolBuilder<K> {
        if let Some(name) = &self.name {
            pool = pool.name(name.as_str());
        }
        if let Some(max) = self.max {
            pool = pool.max_identities(max);
        }
        if let Some(idle) = self.idle {
            pool = pool.idle(idle);
        }
        if let Some(max) = self.renewals_at_once {
            pool = pool.max_renewals(max);
        }
        pool
    }
}

fn header(key: &str, name: &str, example: &str) -> Result<HeaderName, CliError> {
    let problem = format!("this is not the name of a header; give one such as \"{example}\"");
    let header = name.parse().map_err(|_| wrong(key, &problem))?;
    if headers::is_of_http(&header) {
        return Err(wrong(key, &format!("HTTP itself uses this header; give another one such as \"{example}\"")));
    }
    Ok(header)
}
