//! The section `[store]` of a `--config` file.

use std::{
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use toml::de::DeTable;
use tower_bearer::{
    config::{SecretPlace, Span, TextOrPlace},
    store::{SealingKey, SealingKeys, SharedStore},
};
use tower_bearer_redis::{RedisStore, RedisStoreBuilder, RedisStoreError};

use crate::{
    cli::CliError,
    config_values::{certificates, wrong},
    store::Store,
};

pub const HELP: &str = r#"
With [store], gateways share their tokens by Redis or Valkey: one of them asks the authorization server, and all have the token. Only
`url` and `keys` are required. While the store does not answer, each gateway asks for itself, unless a refresh token is all that it has.
With `revoke_on_exit`, a gateway that ends revokes the token for all.

  [store]
  url = "redis://redis.example.org"  # or { env = "…" } or { file = "…" }; several with commas; rediss:// with TLS
  cluster = false                    # true if one URL is that of a cluster; several are in any case, without `sentinel`
  # sentinel = "mymaster"            # the URLs are those of sentinels, which know the master by this name
  user = "tokens"
  password = { file = "redis-password" } # read for each connection
  # ca_file = "redis-ca.pem"         # trust only these certificates [those of the system]
  prefix = "tower-bearer"            # of all names in the store
  keys = [{ file = "sealing-key" }]  # 32 bytes, `openssl rand -base64 32`; the first one seals, all of them open
  # names_key = { file = "old-key" } # names the records; when `keys` change, keep the earlier first key here [the first of `keys`]
  # name = "ada"                     # for grant = "refresh_token": a name that only gateways with the same tokens give
  deadline = "250ms"                 # how long a call may take
  lease = "5s"                       # after this time, another gateway takes over from one that died
  wait = "8s"                        # how long to wait for another gateway; less than cache.renewal_deadline
"#;

const DEADLINES: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(60);
const LEASES: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(600);

/// The store by which gateways share their tokens.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreSection {
    url: Option<TextOrPlace>,
    #[serde(default)]
    cluster: bool,
    sentinel: Option<String>,
    user: Option<String>,
    password: Option<SecretPlace>,
    ca_file: Option<PathBuf>,
    prefix: Option<String>,
    #[serde(default)]
    keys: Vec<SecretPlace>,
    names_key: Option<SecretPlace>,
    name: Option<String>,
    deadline: Option<Span>,
    lease: Option<Span>,
    wait: Option<Span>,
}

impl StoreSection {
    /// `needs_name` is the section of a token that needs a name, if there is one.
    ///
    /// # Errors
    /// When a setting is wrong, or a secret cannot be read.
    pub fn store(self, needs_name: Option<&str>, folder: &Path) -> Result<Store, CliError> {
        if self.name.as_ref().is_some_and(String::is_empty) {
            return Err(wrong("store.name", "this is empty; give a name, or remove the key"));
        }
        if let (None, Some(token)) = (&self.name, needs_name) {
            let problem = format!(
                "this key is missing, and {token}.grant = \"refresh_token\" does not tell whose tokens these are; give a name that \
                 only gateways with the same tokens give"
            );
            return Err(wrong("store.name", &problem));
        }
        let keys = self.sealing_keys(folder)?;
        let deadline = within("store.deadline", self.deadline, 250, &DEADLINES, r#""1ms" to "1m""#)?;
        let lease = within("store.lease", self.lease, 5_000, &LEASES, r#""100ms" to "10m""#)?;
        let wait = within("store.wait", self.wait, 8_000, &LEASES, r#""100ms" to "10m""#)?;
        if wait <= lease {
            let problem = format!(
                "this is not longer than `lease` ({}), so nobody would wait until another gateway takes over; give a longer \
                 duration",
                humantime::format_duration(lease)
            );
            return Err(wrong("store.wait", &problem));
        }
        let redis = self.servers(deadline, folder)?;
        let shared = SharedStore::builder(redis.clone(), keys).deadline(deadline).lease(lease).wait(wait).build();
        Ok(Store::new(shared, redis, self.name))
    }

    fn sealing_keys(&self, folder: &Path) -> Result<SealingKeys, CliError> {
        let read = |key: &str, place: &SecretPlace| {
            let text = place.clone().with_file_in(folder).read().map_err(|error| wrong(key, &error.to_string()))?;
            SealingKey::parse(text).map_err(|error| wrong(key, &error.to_string()))
        };
        let keys = self.keys.iter().enumerate().map(|(index, place)| read(&format!("store.keys[{index}]"), place));
        let mut keys = keys.collect::<Result<Vec<_>, _>>()?.into_iter();
        let seals = keys.next().ok_or_else(|| {
            let problem = r#"this key is missing, or is empty; give [{ file = "…" }] with 32 bytes that `openssl rand -base64 32` makes"#;
            wrong("store.keys", problem)
        })?;
        let keys = keys.fold(SealingKeys::new(seals), SealingKeys::opens_with);
        let names = self.names_key.as_ref().map(|place| read("store.names_key", place)).transpose()?;
        Ok(names.into_iter().fold(keys, SealingKeys::names_with))
    }

    /// Builds the store after each setting, so that an error is that of the last one.
    fn servers(&self, deadline: Duration, folder: &Path) -> Result<RedisStore, CliError> {
        if self.cluster && self.sentinel.is_some() {
            return Err(wrong("store.sentinel", "`cluster` is set as well; remove one of them"));
        }
        if self.sentinel.as_ref().is_some_and(String::is_empty) {
            return Err(wrong(
                "store.sentinel",
                "this is empty; give the name of the master, as the sentinels know it",
            ));
        }
        if let (Some(TextOrPlace::Text(_)), Some(_), None) = (&self.url, &self.user, &self.password) {
            let problem =
                r#"this key is missing, and without it `user` would not log in; give { file = "…" } or { env = "…" }"#;
            return Err(wrong("store.password", problem));
        }
        let url = self.url(folder)?;
        let arranged = || self.arranged(RedisStore::builder(&url)).timeout(deadline);
        arranged().build().map_err(|error| refused("store.url", &error))?;
        let prefixed = || self.prefix.iter().fold(arranged(), RedisStoreBuilder::prefix);
        prefixed().build().map_err(|error| refused("store.prefix", &error))?;
        let mut store = prefixed();
        if let Some(path) = &self.ca_file {
            store = store.tls_roots(certificates("store.ca_file", &folder.join(path))?);
        }
        if let Some(user) = &self.user {
            store = store.user(user);
        }
        if let Some(password) = &self.password {
            let password = password.clone().with_file_in(folder);
            password.read().map_err(|error| wrong("store.password", &error.to_string()))?;
            store = store.password_from(move || {
                let password = password.clone();
                async move { Ok(tokio::task::spawn_blocking(move || password.read()).await??) }
            });
        }
        store.build().map_err(|error| refused("store.ca_file", &error))
    }

    fn url(&self, folder: &Path) -> Result<String, CliError> {
        match &self.url {
            Some(TextOrPlace::Text(url)) if has_password(url) => Err(wrong(
                "store.url",
                r#"a password must not be in the settings; give `user` and `password`, or the whole URL as { file = "…" } or { env = "…" }"#,
            )),
            Some(TextOrPlace::Text(url)) => Ok(url.clone()),
            Some(TextOrPlace::Place(place)) => {
                let url = place
                    .clone()
                    .with_file_in(folder)
                    .read()
                    .map_err(|error| wrong("store.url", &error.to_string()))?;
                Ok(url.expose().to_owned())
            }
            None => Err(wrong(
                "store.url",
                "this key is missing; give the URL of the server, such as \"redis://127.0.0.1:6379\"",
            )),
        }
    }

    fn arranged(&self, store: RedisStoreBuilder) -> RedisStoreBuilder {
        match &self.sentinel {
            Some(master) => store.sentinel(master),
            None if self.cluster => store.cluster(),
            None => store,
        }
    }
}

/// Returns the section of a token whose identity does not tell whose it is. The file may have other mistakes.
pub fn needs_name(file: &DeTable<'_>) -> Option<String> {
    let section = |name| file.get(name).map(toml::Spanned::get_ref);
    let grant = |token: Option<&toml::de::DeValue<'_>>| Some(token?.get("grant")?.get_ref().as_str()?.to_owned());
    let (common, identity) = (grant(section("token")), section("identity"));
    let is_unnamed = |grant: &Option<String>| grant.as_deref() == Some("refresh_token");
    let Some(tenants) = identity.and_then(|identity| identity.get("tenants")?.get_ref().as_table()) else {
        return is_unnamed(&common).then(|| "token".to_owned());
    };
    tenants.iter().find_map(|(name, tenant)| match grant(Some(tenant.get_ref())) {
        None => is_unnamed(&common).then(|| "token".to_owned()),
        own => is_unnamed(&own).then(|| format!("identity.tenants.{}", name.get_ref())),
    })
}

/// Returns whether one of the URLs has a password, also if it is not a valid URL.
fn has_password(urls: &str) -> bool {
    let login = |url: &str| url.rsplit_once('@').is_some_and(|(login, _)| login.contains(':'));
    urls.split("://").skip(1).any(login) || urls.contains("pass=") || urls.contains("password=")
}

/// The error does not show the URL.
fn refused(key: &str, error: &RedisStoreError) -> CliError {
    let text = error.to_string();
    let problem = text.strip_prefix("the settings of the Redis store are wrong: ").unwrap_or(&text);
    wrong(key, &format!("{}; correct it", problem.replace("tls_roots", "ca_file")))
}

fn within(
    key: &str,
    given: Option<Span>,
    default: u64,
    range: &RangeInclusive<Duration>,
    shown: &str,
) -> Result<Duration, CliError> {
    let Span(span) = given.unwrap_or(Span(Duration::from_millis(default)));
    if !range.contains(&span) {
        return Err(wrong(key, &format!("this is too short or too long; give a duration from {shown}")));
    }
    Ok(span)
}
